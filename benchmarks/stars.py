"""The figures and pictures of docs/stars.md, from small simulated surveys.

python -m benchmarks.stars [NAME ...]

Each part of the page is made by one function, which returns Markdown for the marks ``NAME: begin`` and ``NAME: end`` of
the page and writes its pictures to docs/images. Without names all parts are made.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import star_parts, star_shapes
from benchmarks.tables import renew_between

PAGE = Path(__file__).parents[1] / "docs" / "stars.md"
IMAGES = PAGE.parent / "images"

#: A part of the page: it may use the folder, writes pictures to the second one, and returns Markdown.
Part = Callable[[Path, Path], str]
PARTS: dict[str, Part] = {
    "rejection": star_parts.rejection,
    "colours": star_shapes.colours,
    "saturated": star_shapes.saturated,
    "undersampled": star_shapes.undersampled,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *PARTS], metavar="NAME", help=f"of {', '.join(PARTS)}")
    for name in parser.parse_args().names or PARTS:
        with tempfile.TemporaryDirectory(prefix="zemosaic-stars-") as folder:
            renew_between(PAGE, PARTS[name](Path(folder), IMAGES), name)
        print(f"{name}: written to {PAGE}", flush=True)


if __name__ == "__main__":
    main()
