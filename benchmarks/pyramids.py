"""Processor time, memory and size of the map and the HiPS of a mosaic of many megapixels.

    python -m benchmarks.pyramids FOLDER map 25 100
    python -m benchmarks.pyramids FOLDER hips 25

The mosaic is a made-up sky of stars with a corner that no sub covers, written piece by piece, so that the memory is
that of the export. Each export runs in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_engine.mosaic.files import MOSAIC_NAME
from zemosaic_engine.mosaic.mask import Flag

_STRIP = 500
_MEASURED = """
import resource, sys
from pathlib import Path
from zemosaic_export import export
def peak():  # of this program alone: ru_maxrss begins with that of its parent
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
export(Path(sys.argv[1]), [sys.argv[2]])
used = resource.getrusage(resource.RUSAGE_SELF)
print(before, peak(), used.ru_utime + used.ru_stime)
"""


def write_sky(folder: Path, megapixels: float, scale_arcsec: float = 2.4) -> Path:
    """A mosaic as a run leaves it, without its weight and coverage."""
    side = round((megapixels * 1e6) ** 0.5)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [83.8, -5.4], [side / 2, side / 2]
    wcs.wcs.cdelt = [-scale_arcsec / 3600, scale_arcsec / 3600]
    shape = (3, side, side)
    structure = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 3), ("NAXIS1", side), ("NAXIS2", side), ("NAXIS3", 3)]
    header = fits.Header([*structure, ("EXTEND", True), ("OBJECT", "Made-up sky"), *wcs.to_header().cards])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MOSAIC_NAME
    random = np.random.default_rng(1)
    profile = np.exp(-((np.mgrid[-6:7, -6:7] ** 2).sum(axis=0)) / 6.5)
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        size = 4 * int(np.prod(shape))
        file.truncate(file.tell() + size + -size % 2880)
    data = np.memmap(path, ">f4", "r+", offset=len(header.tostring()), shape=shape)
    for top in range(0, side, _STRIP):
        strip = random.normal(1000.0, 30.0, (3, min(_STRIP, side - top), side)).astype(np.float32)
        for x, y in random.integers(6, (side - 7, strip.shape[1] - 7), (side // 4, 2)):
            strip[:, y - 6 : y + 7, x - 6 : x + 7] += np.float32(10 ** random.uniform(2, 4)) * profile
        data[:, top : top + _STRIP] = strip
    corner = (slice(0, side // 5), slice(0, side // 5))
    data[(slice(None), *corner)] = np.nan
    data.flush()
    mask = np.zeros(shape[1:], dtype=np.uint8)
    mask[corner] = Flag.OUTSIDE
    fits.append(path, mask, fits.Header([("EXTNAME", "MASK")]))
    return path


def main() -> int:
    """Make the mosaics one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made and removed")
    parser.add_argument("format", choices=("map", "hips"))
    parser.add_argument("megapixels", type=float, nargs="+")
    arguments = parser.parse_args()
    print("| megapixels | processor time | more memory | files | size |\n|---|---|---|---|---|")
    for megapixels in arguments.megapixels:
        write_sky(arguments.folder, megapixels)
        command = [sys.executable, "-c", _MEASURED, str(arguments.folder), arguments.format]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout.split()
        before, after, seconds = (float(value) for value in told)
        files = [path for path in (arguments.folder / arguments.format).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        memory, size = (after - before) / 1e6, size / 1e6
        print(f"| {megapixels:g} | {seconds:.0f} s | {memory:.0f} MB | {len(files)} | {size:.0f} MB |")
        shutil.rmtree(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
