"""CPU time of the kernels on one sub of 1080 x 1920 pixels, one thread, and of stacks: the best of some runs.

python -m benchmarks.kernels [--runs 5]
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

from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.fits.reader import read_image
from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels import combining
from zemosaic_engine.kernels.reference import CombineOptions, Psfs
from zemosaic_engine.kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper
from zemosaic_engine.resampling import drizzle
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.subs.demosaic import demosaic

from .planning import made_up_infos


def best(name: str, runs: int, function: Callable[[], Any]) -> tuple[Any, float]:
    """Print the least CPU time of some runs; what the last one made, and that time in seconds."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        result = function()
        times.append(time.process_time() - begin)
    print(f"{name:44s} {1000 * min(times):8.1f} ms", flush=True)
    return result, min(times)


def stack_of_noise(count: int, method: str, side: int, channels: int = 3) -> Callable[[], None]:
    """What stacks noise with a few outliers."""
    rng = np.random.default_rng(count)
    samples = rng.normal(1000, 30, (count, side, side, channels)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.01] += 500
    one, far = np.ones((count, channels), np.float32), np.tile(np.array([0, 0, 1e6], np.float32), (count, 4, 1))
    out = CombinedRows.empty((side, side, channels))
    boxes, start = np.tile([0, side, 0, side], (count, 1)), np.arange(count) * samples[0].size
    psfs = Psfs(np.full(count, 3.0, np.float32), np.zeros(count, np.float32))
    stack = SampleStack(samples.ravel(), start, boxes, one, 0 * one, one, 30 * one, None, psfs)
    taper, sky = Taper(far, 0.0, np.zeros((count, 5))), SkyLevel(np.full(channels, 1000.0, np.float32))
    options = CombineOptions(method)

    def combine() -> None:
        combining.combine_rows(stack, taper, sky, options, out)

    return combine


def time_rice(runs: int) -> None:
    """Print how long reading takes of a sub in three colours that is compressed by Rice's method, by its axes."""
    pixels = np.random.default_rng(1).normal(1000, 30, (1080, 1920, 3)).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        for name, image in (("planes", np.moveaxis(pixels, 2, 0).copy()), ("colours of pixels", pixels)):
            path = Path(folder) / f"{name}.fits"
            fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="RICE_1")]).writeto(path)
            best(f"read what Rice compressed, {name}", runs, lambda path=path: read_image(path, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    infos = made_up_infos(4, 1)
    canvas, info = plan_canvas(infos, 0.0, 1e4), infos[0]
    box = Box(0, canvas.shape[0], 0, canvas.shape[1])
    mosaic = np.random.default_rng(0).normal(1000, 30, info.shape).astype(np.float32)
    pixels, _ = best("demosaic", runs, lambda: demosaic(mosaic, "GRBG"))
    mapped, _ = best("map of nodes", runs, lambda: pixel_map(info.wcs, canvas.wcs, box, src_shape=info.shape))
    for kernel in ("nearest", "bilinear", "cubic", "lanczos3"):
        best(f"resample, {kernel}", runs, lambda kernel=kernel: resample(pixels, mapped, None, kernel))
    falls, _ = best("map of drops", runs, lambda: drizzle.drop_map(info.wcs, info.shape, canvas.wcs, canvas.shape))
    best("drop, pixfrac 1", runs, lambda: drizzle.drop(pixels, falls, box, 1.0, "GRBG"))
    time_rice(runs)
    for count, side in ((5, 256), (36, 256), (200, 128), (2000, 64)):
        for method in ("winsorized_sigma_clip", "kappa_sigma"):
            name = f"{method}, {count} samples"
            seconds = best(name, runs, stack_of_noise(count, method, side))[1]
            print(f"{'':44s} {1e9 * seconds / (count * side * side * 3):8.1f} ns a sample", flush=True)


if __name__ == "__main__":
    main()
