"""Other mosaickers on the subs of a simulated survey: SWarp, Siril and Montage, where they are installed.

Each is given what its users give it, and runs with as many threads as it takes. SWarp and Montage know no Bayer
matrix: they get three planes a sub, debayered bilinearly, which is timed apart. Siril before 1.2 aligns subs by their
stars only, on one reference: it cannot join panels, so it stacks panel by panel and makes no mosaic.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks.costs import Cost, cost_of, total_cost
from zemosaic_engine.mosaic.reader import Mosaic, read_mosaic
from zemosaic_engine.simulate.survey import SurveyTruth
from zemosaic_engine.subs.frames import read_sub_info

_SWARP = {
    "COMBINE_TYPE": "CLIPPED", "RESAMPLING_TYPE": "LANCZOS3", "SUBTRACT_BACK": "Y", "VERBOSE_TYPE": "QUIET",
    "WRITE_XML": "N", "DELETE_TMPFILES": "Y", "FSCALASTRO_TYPE": "NONE", "MEM_MAX": "1024", "COMBINE_BUFSIZE": "1024",
}  # fmt: skip

_SIRIL = """requires 1.0.0
setext fits
convert light -debayer -out=planes
cd planes
register light
stack r_light rej winsorized 3 3 -norm=addscale -out=stacked
close
"""


def swarp_program() -> str | None:
    """Path of SWarp; Debian spells it with two capitals."""
    return shutil.which("SWarp") or shutil.which("swarp")


def siril_program() -> str | None:
    """Path of Siril without a window."""
    return shutil.which("siril-cli")


def montage_is_there() -> bool:
    """Whether Montage's programs are on the path."""
    return all(shutil.which(name) for name in ("mImgtbl", "mProjExec", "mDiffFitExec", "mBgModel", "mAdd"))


def debayer(subs: Path, folder: Path) -> float:
    """Write three planes a sub, interpolated bilinearly; the seconds that it took."""
    from scipy.ndimage import convolve

    kernel = np.array([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]], dtype=np.float32)
    began = time.perf_counter()
    for path in sorted(subs.glob("sub_*.fits")):
        info = read_sub_info(path)
        with fits.open(path, memmap=False) as hdus:
            mosaic, header = hdus[0].data.astype(np.float32), hdus[0].header
        for letter in "RGB":
            there = np.zeros(mosaic.shape, dtype=np.float32)
            for site, colour in enumerate(info.bayer or ""):
                if colour == letter:
                    there[site // 2 :: 2, site % 2 :: 2] = 1.0
            plane = convolve(mosaic * there, kernel, mode="mirror") / convolve(there, kernel, mode="mirror")
            cards = header.copy()
            for name in ("BZERO", "BSCALE", "BAYERPAT"):
                cards.remove(name, ignore_missing=True)
            fits.PrimaryHDU(plane.astype(np.float32), header=cards).writeto(folder / f"{path.stem}_{letter}.fits")
    return time.perf_counter() - began


def run_swarp(planes: Path, folder: Path, letters: str = "RGB") -> tuple[Cost, Mosaic]:
    """A mosaic of some channels by SWarp."""
    costs, first = [], letters[0]
    for letter in letters:
        named = {"IMAGEOUT_NAME": f"{letter}.fits", "WEIGHTOUT_NAME": f"{letter}_weight.fits"}
        options = {**named, **_SWARP, "NTHREADS": str(os.cpu_count())}
        files = sorted(planes.glob(f"*_{letter}.fits"))
        if letter != first:  # on its pixels
            header = fits.getheader(folder / f"{first}.fits")
            header.totextfile(folder / f"{letter}.head", overwrite=True)
        words = (text for key, value in options.items() for text in (f"-{key}", value))
        costs.append(cost_of([str(swarp_program()), *files, *words], folder))
    data = []
    for letter in letters:
        plane, weight = fits.getdata(folder / f"{letter}.fits"), fits.getdata(folder / f"{letter}_weight.fits")
        data.append(np.where(weight > 0, plane, np.nan).astype(np.float32))
    fits.PrimaryHDU(np.stack(data), header=fits.getheader(folder / f"{first}.fits")).writeto(folder / "all.fits")
    return total_cost(costs), read_mosaic(folder / "all.fits")


def run_siril(truth: SurveyTruth, folder: Path) -> tuple[Cost, int]:
    """The panels stacked one after the other, and the number of subs that went in."""
    panels = defaultdict(list)
    for index, panel in enumerate(truth.subs["panel"]):
        panels[int(panel)].append(truth.path(index))
    script = folder / "panel.ssf"
    script.write_text(_SIRIL, encoding="utf-8")
    costs, stacked = [], 0
    for panel, paths in panels.items():
        place = folder / f"panel_{panel}"
        (place / "planes").mkdir(parents=True)
        for path in paths:
            (place / path.name).symlink_to(path)
        costs.append(cost_of([str(siril_program()), "-d", place, "-s", script], place))
        said = (place / "output.txt").read_text(encoding="utf-8", errors="replace")
        stacked += sum(int(number) for number in re.findall(r"stacking complete\. (\d+) images", said))
        shutil.rmtree(place)
    return total_cost(costs), stacked


def run_montage(planes: Path, folder: Path, letter: str, limit_s: float) -> Cost:
    """One channel by Montage: Lanczos projection, planes matched to the overlaps, median.

    Raises
    ------
    CommandError
        After `limit_s` seconds for one of its steps, or where one fails.
    """
    for name in ("raw", "projected", "differences", "corrected"):
        (folder / name).mkdir()
    for path in planes.glob(f"*_{letter}.fits"):
        (folder / "raw" / path.name).symlink_to(path)
    recipe = """
        mImgtbl raw raw.tbl
        mMakeHdr raw.tbl mosaic.hdr
        mProjExec -q -p raw raw.tbl mosaic.hdr projected stats.tbl
        mImgtbl projected projected.tbl
        mOverlaps projected.tbl overlaps.tbl
        mDiffFitExec -p projected overlaps.tbl mosaic.hdr differences fits.tbl
        mBgModel projected.tbl fits.tbl corrections.tbl
        mBgExec -p projected projected.tbl corrections.tbl corrected
        mImgtbl corrected corrected.tbl
        mAdd -p corrected -a median corrected.tbl mosaic.hdr mosaic.fits
    """
    return total_cost([cost_of(line.split(), folder, limit_s) for line in recipe.strip().splitlines()])
