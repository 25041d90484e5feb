"""The picture and the report of a run inside an existing ZeMosaic, made by a process of their own.

``python -m zemosaic_app.host_pages OUTPUT PIXELS`` writes ``mosaic_grid.png``, whose longest side has at most so many
pixels, and ``report.html``. Where that is impossible, the last line of standard error says why, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Make both; return the exit code."""
    output, picture_px = Path(arguments[0]), int(arguments[1])
    try:
        from zemosaic_app.report import write_report
        from zemosaic_engine.errors import ZeMosaicError
        from zemosaic_engine.mosaic.files import MOSAIC_NAME
        from zemosaic_utils import write_preview
        from zemosaic_worker import PREVIEW_NAME
    except ImportError as error:
        print(f"the library {error.name} is missing", file=sys.stderr)
        return 1
    try:
        write_preview(output / MOSAIC_NAME, output / PREVIEW_NAME, picture_px)
        write_report(output)
    except (ZeMosaicError, OSError, ImportError) as error:
        print(str(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
