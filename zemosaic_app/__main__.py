"""``python -m zemosaic_app`` is the command line."""

import sys

from zemosaic_app.cli import main

sys.exit(main())
