"""Speed, memory and quality of a whole run, and of its peers on the same subs in the same run.

::

    python -m benchmarks.engine bench                the survey `bench`, three runs, then its peers where installed
    python -m benchmarks.engine deep --memory 2GB    250, 500, 1000 and 2000 subs over one pointing, then 5,000 over 30
    python -m benchmarks.engine tiles                315 finished tiles in strips, then SWarp and Montage on them
    python -m benchmarks.engine giga --memory 3GB    a canvas of 1.2 gigapixels with finished tiles on its diagonals

`bench` simulates 108 subs of 1080x1920 (3x3 panels) and times the command ``zemosaic grid`` as a person would start
it, compiled kernels in their cache; then SWarp, Siril and Montage (see `benchmarks.peers`). Widths of stars come from
Gaussian fits at the simulated positions. The noise is that of 4x4 block means against what inverse-variance weighting
of the simulated noise allows at each of them.

`deep` links subs to a few simulated files and gives each a moment and a plate solution of its own (see
`benchmarks.linked`). What 20,000 subs over 30 pointings would take is told from 1,250 and 5,000 of them, phase by
phase: as a straight line through both, or growing once more by the same factor, whichever is more.

`tiles` makes 15 strips of 21 tiles of one colour, 512x1024 pixels each, turned by up to half a degree, each with a
gain, a level and a slope of its own, and times ``zemosaic grid --tiles``.

`giga` does so with tiles of 2048x2048 pixels along the diagonals of a large square (`--gigapixels`), and prints the
peak of memory beside its goal. The mosaic takes 20 bytes a pixel of the canvas on the disk while it is made.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from benchmarks.costs import CommandError, Cost, cost_of, median_cost
from benchmarks.linked import link_subs
from benchmarks.oracle import true_sub
from benchmarks.peers import debayer, montage_is_there, run_montage, run_siril, run_swarp, siril_program, swarp_program
from zemosaic_engine.mosaic.files import MOSAIC_NAME
from zemosaic_engine.mosaic.reader import Mosaic, read_mosaic
from zemosaic_engine.simulate.scene import tangent_plane
from zemosaic_engine.simulate.survey import PRESETS, SurveyTruth, load_truth, make_scene, simulate_survey
from zemosaic_engine.simulate.truth import compare_mosaic

FloatArray = NDArray[np.float64]

_BLOCK_PX = 4
_APART = 4  # blocks; beyond the reach of interpolation
_EVERY = 24  # rows of blocks that are looked at: enough for a median
_SHARE = {"R": 0.25, "G": 0.5, "B": 0.25}  # of the pixels of a Bayer sensor
_DEEP = (250, 500, 1000, 2000)
_DIFFERENT = 8  # simulated subs of the deep run; the others are hard links to them
_POINTINGS, _DIFFERENT_THERE = (5, 6), 4  # rows and columns, and simulated subs of each of them
_FOURFOLD = 4  # more subs are foretold
_STRIPS, _TILES_IN_STRIP, _TILE_SHAPE = 15, 21, (1024, 512)
_TILE_STEP = 0.85  # of a side
_LARGE_TILE_PX = 2048
_GIGA_GOAL_GB = 3.0


def grid_command(subs: Path, output: Path, *options: str) -> list[str]:
    """The command that is measured."""
    return [sys.executable, "-m", "zemosaic_app.cli", "grid", str(subs), str(output), *options]


# --- quality


def noise_ratios(mosaic: Mosaic, truth: SurveyTruth) -> list[float]:
    """Noise of block means over the limit of inverse-variance weighting, per channel."""
    report = compare_mosaic(mosaic, truth)
    scene = truth.scene.render_planes(mosaic.wcs, mosaic.shape, float(np.median(report.fwhm_px)))
    rows, columns = (side // _BLOCK_PX for side in mosaic.shape)
    y, x = (_BLOCK_PX * (place + 0.5) - 0.5 for place in np.mgrid[0:rows:_EVERY, 0:columns])
    certainty = _best_certainty(mosaic, truth, x, y)
    ratios = []
    for channel, plane in enumerate(mosaic.planes):
        away = scene[channel] * report.gain[channel] < np.median(scene[channel]) * report.gain[channel] + 20.0
        left = np.where(away, plane / np.float32(report.gain[channel]) - scene[channel], np.float32(np.nan))
        cut = left[: rows * _BLOCK_PX, : columns * _BLOCK_PX].reshape(rows, _BLOCK_PX, columns, _BLOCK_PX)
        means = cut[::_EVERY].mean(axis=(1, 3), dtype=np.float64)  # NaN where a pixel is not to be used
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = 1.0 / certainty[channel]
            pull = (means[:, _APART:] - means[:, :-_APART]) / np.sqrt(variance[:, _APART:] + variance[:, :-_APART])
        pull = pull[np.isfinite(pull)]
        ratios.append(float(1.4826 * np.median(np.abs(pull - np.median(pull)))))
    return ratios


def _best_certainty(mosaic: Mosaic, truth: SurveyTruth, x: FloatArray, y: FloatArray) -> FloatArray:
    """Inverse variance of the best mean over blocks at (x, y), in ADU of the scene, shape (3, rows, columns)."""
    total = np.zeros((3, *x.shape))
    sky = mosaic.wcs.all_pix2world(np.stack([x.ravel(), y.ravel()], axis=1), 0)
    scale = float(np.mean(np.sqrt(np.abs(np.linalg.det(mosaic.wcs.pixel_scale_matrix))))) * 3600.0
    for index in range(len(truth.subs)):
        sub = true_sub(truth, index, scale)
        height, width = sub.shape
        place = truth.wcs(index).all_world2pix(sky, 0).reshape(*x.shape, 2)
        inside = (place[..., 0] > 0) & (place[..., 0] < width - 1) & (place[..., 1] > 0) & (place[..., 1] < height - 1)
        half = np.hypot(height, width) / 2.0
        u, v = (place[..., 0] - (width - 1) / 2.0) / half, (place[..., 1] - (height - 1) / 2.0) / half
        flat, level = sub.flat(u, v), sub.sky_over_gain(u, v)
        spec = truth.spec
        pixels = _BLOCK_PX**2 * _pixel_ratio(truth, index, scale)
        for channel, share in enumerate(_SHARE.values()):
            light = np.maximum(level[..., channel] * sub.gain[channel] * flat, 0.0)
            variance = light / spec.electrons_per_adu + spec.read_noise_adu**2 + 1.0 / 12.0
            with np.errstate(invalid="ignore"):
                weight = pixels * share * (flat * sub.gain[channel]) ** 2 / variance
            total[channel] += np.where(inside, weight, 0.0)
    return total


def _pixel_ratio(truth: SurveyTruth, index: int, scale_arcsec: float) -> float:
    """Pixels of a sub per pixel of the mosaic."""
    matrix = truth.wcs(index).pixel_scale_matrix
    return scale_arcsec**2 / (abs(float(np.linalg.det(matrix))) * 3600.0**2)


# --- the two benchmarks


def bench(folder: Path, preset: str, runs: int, limit_s: float, *, peers: bool) -> None:
    """Our runs of one survey, and those of its peers."""
    subs = folder / "subs"
    if not subs.exists():
        subs.mkdir(parents=True)
        simulate_survey(subs, PRESETS[preset])
    truth = load_truth(subs)
    ours = time_runs(subs, folder, runs)
    print_quality("ZeMosaic", read_mosaic(folder / "run_0" / "mosaic_grid.fits"), truth)
    if peers:
        bench_peers(subs, truth, folder, ours, limit_s)


def time_runs(subs: Path, folder: Path, runs: int, *options: str) -> Cost:
    """The median of some runs, ``run_0`` and so on in the folder, after one that is not counted."""
    warm = folder / "warm"
    cost_of(grid_command(subs, warm, *options), folder)  # compiles the kernels where that was not done before
    shutil.rmtree(warm)
    costs = []
    for number in range(runs):
        output = folder / f"run_{number}"
        shutil.rmtree(output, ignore_errors=True)
        costs.append(cost_of(grid_command(subs, output, *options), folder))
        print(f"ZeMosaic, run {number + 1}: {costs[-1].text()}", flush=True)
    ours = median_cost(costs)
    print(f"ZeMosaic, median of {runs}: {ours.text()}")
    print_phases(folder / "run_0" / "zemosaic.log")
    return ours


def bench_peers(subs: Path, truth: SurveyTruth, folder: Path, ours: Cost, limit_s: float) -> None:
    """The same subs by others."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        planes = Path(name)
        seconds = debayer(subs, planes)
        print(f"Debayering for SWarp and Montage: {seconds:.1f} s", flush=True)

        def swarp(work: Path) -> None:
            cost, mosaic = run_swarp(planes, work)
            print_peer("SWarp", cost, ours)
            print(f"       with the debayering {(cost.seconds + seconds) / ours.seconds:.1f} times the time")
            print_quality("SWarp", mosaic, truth)

        def siril(work: Path) -> None:
            cost, stacked = run_siril(truth, work)
            print_peer(f"Siril, {stacked} subs panel by panel, no mosaic", cost, ours)

        def montage(work: Path) -> None:
            print_peer("Montage, one of three channels", run_montage(planes, work, "G", limit_s), ours)

        there = {swarp: swarp_program() is not None, siril: siril_program() is not None, montage: montage_is_there()}
        try_peers(there, folder)


def try_peers(there: Mapping[Callable[[Path], None], bool], folder: Path) -> None:
    """Run the peers that are there, one after the other, each in an empty folder; one that fails is named."""
    for peer in (peer for peer, is_there in there.items() if is_there):
        with tempfile.TemporaryDirectory(dir=folder) as work:
            try:
                peer(Path(work))
            except CommandError as error:
                print(f"No figures of a peer: {error}", flush=True)


def print_peer(name: str, cost: Cost, ours: Cost) -> None:
    """The cost of a peer, and how many times ours it is."""
    print(f"{name}: {cost.text()}: {cost.seconds / ours.seconds:.1f} times the time, "
          f"{cost.cpu_seconds / ours.cpu_seconds:.1f} times the processors", flush=True)  # fmt: skip


def print_phases(log: Path) -> None:
    """Times of the phases of a run, from its log."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if re.search(r"Time of phase|Peak memory", line):
            print("   ", line.split("[GRID] ")[-1])


def print_quality(name: str, mosaic: Mosaic, truth: SurveyTruth) -> None:
    """Widths of stars and noise of a mosaic."""
    report = compare_mosaic(mosaic, truth)
    widths = " ".join(f"{width / report.seeing_px:.3f}" for width in report.fwhm_px)
    ratios = " ".join(f"{ratio:.3f}" for ratio in noise_ratios(mosaic, truth))
    print(f"{name}: FWHM over the seeing {widths}; noise of 4x4 block means over the limit {ratios}", flush=True)


def linked_run(
    folder: Path, source: Path, count: int, memory: str, options: list[str]
) -> tuple[Cost, dict[str, float]]:
    """Cost of a run of links to the files of `source`, and the seconds of its phases."""
    subs, output = folder / f"subs_{count}", folder / f"out_{count}"
    for place in (subs, output):
        shutil.rmtree(place, ignore_errors=True)
    link_subs(sorted(source.glob("sub_*.fits")), subs, count)
    program = [sys.executable, "-P", str(Path(__file__).with_name("linked.py"))]
    cost = cost_of([*program, str(subs), str(output), "--memory", memory, *options], folder, limit_s=6 * 3600.0)
    shutil.rmtree(subs)
    log = (output / "zemosaic.log").read_text(encoding="utf-8")
    phases = {name: float(seconds) for name, seconds in re.findall(r"Time of phase (.+?): ([\d.]+) s", log)}
    return cost, phases


def deep(folder: Path, preset: str, memory: str, counts: tuple[int, ...], options: list[str]) -> None:
    """Many subs over one pointing."""
    source = simulated(folder / "few", preset, panels=(1, 1), subs_per_panel=_DIFFERENT)
    print(f"subs   seconds  s/sub   processors  a sub   growth   peak   (--memory {memory} {' '.join(options)})")
    least = None
    for count in counts:
        cost, _ = linked_run(folder, source, count, memory, options)
        a_sub = cost.cpu_seconds / count
        least = a_sub if least is None else least
        print(f"{count:5d} {cost.seconds:8.1f} {cost.seconds / count:7.3f} {cost.cpu_seconds:10.1f} {a_sub:8.3f} "
              f"{100 * (a_sub / least - 1):+6.0f} % {cost.peak_bytes / 1e9:6.2f} GB", flush=True)  # fmt: skip


def simulated(folder: Path, preset: str, **changes: Any) -> Path:
    """The folder with the files of a survey of one night, simulated unless it is there."""
    if not folder.exists():
        folder.mkdir(parents=True)
        simulate_survey(folder, PRESETS[preset].model_copy(update={"nights": 1, **changes}))
    return folder


def wide(folder: Path, preset: str, memory: str, count: int, options: list[str]) -> None:
    """Many subs over many pointings, and what four times as many would take."""
    source = simulated(folder / "pointings", preset, panels=_POINTINGS, subs_per_panel=_DIFFERENT_THERE)
    found = [linked_run(folder, source, n, memory, options) for n in (count // _FOURFOLD, count)]
    (few, phases_few), (many, phases) = found
    title = f"{_POINTINGS[0] * _POINTINGS[1]} pointings, --memory {memory} {' '.join(options)}"
    print(f"{title:34s}{count // _FOURFOLD:10d} {count:9d} {_FOURFOLD * count:9d} subs (foretold)")
    rows = [(name, phases_few.get(name, 0.0), seconds, "s") for name, seconds in phases.items()]
    rows += [("all", few.seconds, many.seconds, "s"), ("of processors", few.cpu_seconds, many.cpu_seconds, "s")]
    rows += [("peak", few.peak_bytes / 1e9, many.peak_bytes / 1e9, "GB")]
    for name, one, other, unit in rows:
        print(f"  {name:32s}{one:10.2f} {other:9.2f} {foretold(one, other):9.2f} {unit}")
    print(f"  {'processors a sub':32s}{_FOURFOLD * few.cpu_seconds / count:10.3f} {many.cpu_seconds / count:9.3f} "
          f"{foretold(few.cpu_seconds, many.cpu_seconds) / (_FOURFOLD * count):9.3f} s", flush=True)  # fmt: skip


def foretold(one: float, other: float) -> float:
    """What follows `one` and `other`, each of four times as many subs as the one before."""
    line = other + _FOURFOLD * (other - one)
    return max(line, other * other / one if one > 0.0 else line, other)


def make_tiles(
    folder: Path, places: Mapping[str, tuple[float, float]], shape: tuple[int, int], panels: tuple[int, int]
) -> None:
    """Write finished tiles of one colour.

    Parameters
    ----------
    folder : Path
        Is made.
    places : mapping of str to tuple of float
        How far (across, along) each tile lies from the middle in pixels, by its name; those of planes of a peer.
    shape : tuple of int
        Of a tile.
    panels : tuple of int
        Of the survey `bench`, whose stars are shown: as many as hold all tiles.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    height, width = shape
    spec = PRESETS["bench"].but(panels=panels)
    scene, scale = make_scene(spec, 1), spec.telescopes[0].scale_arcsec
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    for name, (across, along) in places.items():
        turn = np.radians(random.uniform(-0.5, 0.5))
        wcs = tangent_plane(spec.center_deg)
        # Montage takes the scale from CDELT.
        wcs.wcs.cdelt = [-scale / 3600.0, scale / 3600.0]
        wcs.wcs.pc = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        wcs.wcs.crpix = [0.5 * width - along + random.uniform(-9, 9), 0.5 * height - across + random.uniform(-9, 9)]
        wcs.wcs.set()
        light = scene.render_planes(wcs, shape, 2.5)[1] * np.exp(0.1 * random.normal())
        light += 300.0 + 30.0 * random.normal() + 4.0 * (random.normal() * u + random.normal() * v)
        light += 3.0 * random.standard_normal(shape)
        fits.PrimaryHDU(light.astype(np.float32), header=wcs.to_header()).writeto(folder / f"{name}.fits")


def strips() -> dict[str, tuple[float, float]]:
    """The tiles of `tiles`, as `make_tiles` takes them."""
    height, width = _TILE_SHAPE
    return {
        f"tile_{strip:02d}_{number:02d}_G": (
            (strip - 0.5 * (_STRIPS - 1)) * _TILE_STEP * height,
            (number - 0.5 * (_TILES_IN_STRIP - 1)) * _TILE_STEP * width,
        )
        for strip, number in np.ndindex(_STRIPS, _TILES_IN_STRIP)
    }


def diagonals(gigapixels: float) -> dict[str, tuple[float, float]]:
    """Tiles along both diagonals of a square of so many gigapixels, as `make_tiles` takes them."""
    step = _TILE_STEP * _LARGE_TILE_PX
    count = 2 * round(0.5 * (np.sqrt(1e9 * gigapixels) - _LARGE_TILE_PX) / step) + 1  # odd: they share the middle
    away = (np.arange(count) - count // 2) * step
    one = {f"tile_0_{number:02d}_G": (float(place), float(place)) for number, place in enumerate(away)}
    other = {f"tile_1_{number:02d}_G": (float(place), -float(place)) for number, place in enumerate(away) if place}
    return one | other


def giga(folder: Path, gigapixels: float, memory: str, options: list[str]) -> None:
    """A canvas that is larger than the memory, most of it empty."""
    source, output = folder / "large_tiles", folder / "out_giga"
    if not source.exists():
        panels = round(np.sqrt(1e9 * gigapixels) / 850.0), round(np.sqrt(1e9 * gigapixels) / 1500.0)
        make_tiles(source, diagonals(gigapixels), (_LARGE_TILE_PX, _LARGE_TILE_PX), panels)
    shutil.rmtree(output, ignore_errors=True)
    cost = cost_of(grid_command(source, output, "--tiles", "--memory", memory, *options), folder)
    with fits.open(output / MOSAIC_NAME) as hdus:
        height, width = hdus[0].shape
    print(f"{width} x {height} pixels, {1e-9 * height * width:.2f} gigapixels, {len(list(source.iterdir()))} tiles "
          f"(--memory {memory} {' '.join(options)})")  # fmt: skip
    print(f"{cost.text()}, goal {_GIGA_GOAL_GB:g} GB")
    print_phases(output / "zemosaic.log")
    shutil.rmtree(output)


def tiles(folder: Path, runs: int, limit_s: float, *, peers: bool) -> None:
    """Our runs of finished tiles, and those of the peers that take such."""
    source = folder / "tiles"
    if not source.exists():
        make_tiles(source, strips(), _TILE_SHAPE, (9, 10))
    ours = time_runs(source, folder, runs, "--tiles")

    def swarp(work: Path) -> None:
        print_peer("SWarp", run_swarp(source, work, "G")[0], ours)

    def montage(work: Path) -> None:
        print_peer("Montage", run_montage(source, work, "G", limit_s), ours)

    if peers:
        try_peers({swarp: swarp_program() is not None, montage: montage_is_there()}, folder)


def main() -> None:
    """Run the benchmark that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("bench", "deep", "tiles", "giga"))
    parser.add_argument("--folder", type=Path, help="kept afterwards; a temporary one otherwise")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="bench", help="survey of `bench`, and subs of `deep`"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0, help="limit for each step of Montage")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--counts", type=int, nargs="*", default=list(_DEEP), help="subs of `deep`")
    parser.add_argument("--wide", type=int, default=5000, help="subs of `deep` over many pointings; 0 for none")
    parser.add_argument("--wide-memory", default="3GB")
    parser.add_argument("--gigapixels", type=float, default=1.2)
    known, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (known.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if known.which == "bench":
            bench(folder, known.preset, known.runs, 60.0 * known.minutes, peers=not known.no_peers)
        elif known.which == "tiles":
            tiles(folder, known.runs, 60.0 * known.minutes, peers=not known.no_peers)
        elif known.which == "giga":
            giga(folder, known.gigapixels, known.memory, options)
        else:
            deep(folder, known.preset, known.memory, tuple(known.counts), options)
            if known.wide:
                wide(folder, known.preset, known.wide_memory, known.wide, options)


if __name__ == "__main__":
    main()
