"""How long a run of many subs and tiles takes to plan: made-up headers, no pixel read, and headers read from disk.

python -m benchmarks.planning [--subs 20000] [--tiles 4000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_engine.canvas.footprints import Footprint, footprint_of
from zemosaic_engine.canvas.plan import plan_canvas, split_by_agreement
from zemosaic_engine.canvas.tile_layout import grid_tiles
from zemosaic_engine.geometry import partition
from zemosaic_engine.photometry.overlap_fits import OverlapFit
from zemosaic_engine.subs.frames import SubInfo, read_sub_info
from zemosaic_engine.subs.hot_pixels import choose_subs
from zemosaic_engine.tiles.overlaps import find_overlaps
from zemosaic_engine.tiles.scaling import PairFit, solve_tile_scaling
from zemosaic_engine.tiles.tile import Tile, TileHealth

SHAPE = (1920, 1080)
SCALE_ARCSEC = 2.39


def made_up_infos(
    count: int, panels_a_side: int = 30, seed: int = 1, scale_arcsec: float = SCALE_ARCSEC
) -> list[SubInfo]:
    """Subs of a square survey, dithered and rotated, one telescope, each with a WCS of its own."""
    rng = np.random.default_rng(seed)
    fov_deg = SHAPE[1] * scale_arcsec / 3600.0
    infos = []
    for number in range(count):
        row, column = divmod(number * panels_a_side**2 // count, panels_a_side)
        dec = (row - 0.5 * panels_a_side) * 0.8 * fov_deg + rng.normal(0, 0.01)
        ra = (column - 0.5 * panels_a_side) * 0.8 * fov_deg / np.cos(np.radians(dec)) + 180.0 + rng.normal(0, 0.01)
        turn = np.radians(rng.uniform(0, 360))
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.crpix = [0.5 * (SHAPE[1] + 1), 0.5 * (SHAPE[0] + 1)]
        wcs.wcs.cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale_arcsec / 3600.0
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        infos.append(
            SubInfo(
                path=Path(f"sub_{number:05d}.fits"), hdu=0, shape=SHAPE, channels=3, bayer="GRBG", wcs=wcs,
                pixel_scale_arcsec=scale_arcsec * (1.0 + 1e-4 * rng.normal()), center_deg=(ra, dec), exposure_s=10.0,
                camera="made up", date_obs=f"2026-01-{1 + number % 28:02d}T{number % 24:02d}:00:00",
            )
        )  # fmt: skip
    return infos


def made_up_tiles(per_side: int, side_px: int = 200, channels: int = 3, *, on_canvas: bool = True) -> list[Tile]:
    """A square of tiles without files."""
    health = TileHealth(1.0, np.full(channels, 1000.0), np.full(channels, 5.0), 100.0)
    boxes = partition((per_side * side_px, per_side * side_px), (side_px, side_px), 20.0)
    wcs = made_up_infos(1)[0].wcs
    return [Tile(f"tile_{n:04d}", Path("none"), wcs, b.outer, b.inner, on_canvas, health) for n, b in enumerate(boxes)]


def timed(name: str, function: Callable[[], Any]) -> Any:
    begin, cpu = time.perf_counter(), time.process_time()
    result = function()
    print(f"{name:38s} {time.perf_counter() - begin:8.2f} s   (CPU {time.process_time() - cpu:.2f} s)", flush=True)
    return result


def written_sub(folder: Path) -> Path:
    """A plain Bayer sub on disk, whose header is read again and again."""
    header = made_up_infos(1)[0].wcs.to_header()
    header["BAYERPAT"], header["EXPTIME"] = "GRBG", 10.0
    path = folder / "sub.fits"
    fits.PrimaryHDU(np.zeros(SHAPE, dtype=np.int16), header).writeto(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subs", type=int, default=20_000)
    parser.add_argument("--tiles", type=int, default=4_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = written_sub(Path(folder))
        timed(f"headers of {arguments.subs} subs", lambda: [read_sub_info(path) for _ in range(arguments.subs)])
    infos = timed(f"making up {arguments.subs} headers (not counted)", lambda: made_up_infos(arguments.subs))
    kept, _ = timed("split_by_agreement", lambda: split_by_agreement(infos, 3.0))
    canvas = timed("plan_canvas", lambda: plan_canvas(kept, 0.0, 1e6))
    print(f"  canvas {canvas.shape[1]} x {canvas.shape[0]}")
    footprints: list[Footprint] = timed("footprints", lambda: [footprint_of(info, canvas) for info in kept])
    factor = np.sqrt(canvas.shape[0] * canvas.shape[1] / arguments.tiles / np.prod(SHAPE))
    layouts = timed("tile layout", lambda: grid_tiles(kept, footprints, canvas, float(factor), 20.0))
    print(f"  {len(layouts)} tiles, {sum(len(layout.subs) for layout in layouts)} pieces of subs")
    timed("hot pixels: choice of subs", lambda: choose_subs(kept))
    tiles = made_up_tiles(round(np.sqrt(arguments.tiles)))
    overlaps = timed(f"overlaps of {len(tiles)} tiles", lambda: find_overlaps(tiles))
    print(f"  {len(overlaps)} overlaps")
    fit = OverlapFit(gain_error=0.01, offset_error=1.0, pixels=5000, stars=10)
    pairs = [PairFit(o.first, o.second, 5000, (fit, fit, fit)) for o in overlaps]
    timed("solve of tile scales", lambda: solve_tile_scaling(pairs, list(range(len(tiles))), 3))


if __name__ == "__main__":
    main()
