"""``zemosaic grid`` on a survey whose subs are hard links to a few files: each link is a sub of its own.

    python -m benchmarks.linked SUBS OUTPUT [options of zemosaic grid]

A link gets a moment of its own, and its plate solution an error of its own, both from its number. The search for
exposures that lie in a folder twice is left out. All else is what it is for as many files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from zemosaic_app import cli
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.fits.reader import StoredImage
from zemosaic_engine.subs import finding, folder
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub, sub_of_image

_APART_S = 12
_ERROR_DEG = 3.0 / 3600.0


def link_subs(originals: Sequence[Path], subs: Path, count: int) -> None:
    """Fill a new folder with links, so many a file that their counts differ by one at most."""
    subs.mkdir()
    for number in range(count):
        os.link(originals[number * len(originals) // count], subs / f"sub_{number:05d}.fits")


def _header_of_link(path: Path, header: HeaderCards) -> HeaderCards:
    """The header with a moment and an error of its own."""
    number = int(re.findall(r"\d+", path.stem)[-1])
    moment = datetime.fromisoformat(header.text("DATE-OBS")[:10] + "T20:00:00") + timedelta(seconds=_APART_S * number)
    away = np.random.default_rng(number).normal(0.0, _ERROR_DEG, 2)
    dec = header.number("CRVAL2")
    moved = {
        "DATE-OBS": moment.isoformat(timespec="milliseconds"),
        "CRVAL1": header.number("CRVAL1") + float(away[0] / np.cos(np.radians(dec))),
        "CRVAL2": dec + float(away[1]),
    }
    return HeaderCards({**header, **moved})


def _sub_of_link(path: Path, image: StoredImage, *, saturation_adu: float = 0.0) -> SubInfo | UnsolvedSub:
    """As `sub_of_image`, of a link."""
    header = _header_of_link(path, image.header)
    return sub_of_image(path, replace(image, header=header), saturation_adu=saturation_adu)


def main(arguments: list[str]) -> int:
    """Run Grid Mode on links."""
    folder.sub_of_image = _sub_of_link
    finding.find_doubles = lambda subs, check=lambda: None: []
    return cli.main(["grid", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
