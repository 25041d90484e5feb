"""Survey photometry against the truth and against an oracle that is told it.

    python -m benchmarks.survey_photometry [--quick] [--surveys NAME ...] [--seeds N ...] [--out DIR] [--docs FILE]
    python -m benchmarks.survey_photometry --data DIR

Each survey is simulated and made into a mosaic three times: with ``photometry=survey``, with
``photometry=tiles``, and by the oracle, which is the same pipeline handed the true gains,
skies, gradients and vignetting. Every finished run is kept in ``DIR/results.json``, from which
the tables are made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import grid_mode
from benchmarks import tables
from benchmarks.agreement import Watch, agreement, sub_steps, watched_solve
from benchmarks.measures import background_blocks, extended_light, large_scale, large_scale_design, star_colours
from benchmarks.oracle import oracle_calibrations
from benchmarks.surveys import SURVEYS, Survey, quick
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.mosaic.reader import read_mosaic
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import SurveyTruth
from zemosaic_engine.simulate.truth import compare_with_truth

MODES = ("survey", "tiles", "oracle")
_REAL_DATA = (("seestar_m94", False), ("twomass_m17", True), ("twomass_orion", True))


@dataclass(frozen=True)
class Run:
    """A finished mosaic, with what the run said and how long it took."""

    outcome: grid_mode.GridOutcome
    request: grid_mode.GridRequest
    lines: list[str]
    seconds: float
    watch: Watch


def run_pipeline(
    source: Path, output: Path, *, oracle: SurveyTruth | None = None, tiles_only: bool = False, **settings: Any
) -> Run:
    """One run of Grid Mode over a folder, handed the truth if there is an `oracle`."""
    lines: list[str] = []

    def sink(event: object) -> None:
        if isinstance(event, LogLine):
            lines.append(event.line)

    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    cancel = CancelToken()
    chosen = GridSettings(threads=2, **settings)
    began = time.perf_counter()
    request = grid_mode.prepare_request(source, output, chosen, sink, cancel, tiles_only=tiles_only)
    scale = float(np.median([info.pixel_scale_arcsec for info in request.infos]))
    request = replace(request, settings=chosen.model_copy(update={"pixel_scale_arcsec": scale}))
    if oracle is not None:
        request = replace(request, calibrations=oracle_calibrations(oracle, scale))
    with watched_solve() as watch:
        outcome = grid_mode.build_mosaic(request, sink, cancel)
    return Run(outcome, request, lines, time.perf_counter() - began, watch)


def seam_sigma(run: Run) -> float:
    """Median seam step of the channel in which it is largest, in sigma of the sky, after all scaling."""
    steps = [value for name, value in run.outcome.metrics.items() if name.startswith("seam_step_sigma_after")]
    finite = [value for value in steps if np.isfinite(value)]
    return max(finite) if finite else float("nan")


def judge(run: Run, truth: SurveyTruth) -> dict[str, Any]:
    """The figures of one mosaic, and of the solve behind it if there was one."""
    report = compare_with_truth(run.outcome.mosaic, truth)
    mosaic = read_mosaic(run.outcome.mosaic)
    colours = star_colours(mosaic, truth, report)
    blocks = background_blocks(mosaic, truth, report)
    design = large_scale_design(blocks.xy, mosaic.shape)
    found = {
        "seconds": run.seconds,
        "subs_used": run.outcome.subs_used,
        "low_frequency": report.low_frequency_plane_adu,
        "low_frequency_quadratic": report.low_frequency_quadratic_adu,
        "block_noise": report.block_noise_adu,
        "region": report.zero_point_region_mmag,
        "region_noise": report.zero_point_region_noise_mmag,
        "star": report.zero_point_mmag,
        "star_noise": report.zero_point_noise_mmag,
        "colour": colours.region,
        "colour_noise": colours.region_noise,
        "seam_sigma": seam_sigma(run),
        "large_scale": large_scale(blocks.error, design).tolist(),
        "extended": extended_light(blocks, mosaic.shape).tolist(),
        "outliers": report.outliers,
    }
    if run.watch.solution is not None:
        scale = run.request.settings.pixel_scale_arcsec
        figures, predictor = agreement(run.watch, run.request.infos, truth, scale)
        # The noise of the blocks themselves is in every amplitude as well.
        noise = np.array(report.block_noise_adu) / np.sqrt(len(blocks.xy))
        predicted = np.hypot(predictor.on(mosaic.wcs, mosaic.shape, blocks.xy), noise)
        found["agreement"] = {**figures, "large_scale_error": predicted.tolist()}
    return found


def measure(name: str, survey: Survey, seed: int, out: Path, modes: Sequence[str]) -> dict[str, Any]:
    """Simulate a survey and run the pipeline over it in every mode."""
    folder = out / "subs"
    shutil.rmtree(folder, ignore_errors=True)
    truth = survey.simulate(folder, seed)
    found: dict[str, Any] = {}
    for mode in modes:
        target = out / mode
        photometry = "survey" if mode == "oracle" else mode
        run = run_pipeline(folder, target, oracle=truth if mode == "oracle" else None, photometry=photometry)
        found[mode] = judge(run, truth)
        if "agreement" in found[mode]:
            found["agreement"] = found[mode].pop("agreement")
        (out / f"{mode}.log").write_text("\n".join(run.lines) + "\n", encoding="utf-8")
        print(tables.line(name, seed, mode, found[mode]), flush=True)
    return found


def measure_real(folder: Path, out: Path) -> dict[str, dict[str, float]]:
    """Seam steps on real data, by photometry."""
    found: dict[str, dict[str, float]] = {}
    for name, tiles_only in _REAL_DATA:
        if not (folder / name).is_dir():
            print(f"{name}: not in {folder}")
            continue
        for mode in ("survey", "tiles"):
            run = run_pipeline(folder / name, out / "real", tiles_only=tiles_only, photometry=mode)
            before = [v for k, v in run.outcome.metrics.items() if k.startswith("seam_step_sigma_before")]
            found.setdefault(name, {})[mode] = seam_sigma(run)
            found[name][f"{mode} before"] = max(before)
            found[name][f"{mode} seconds"] = run.seconds
            if run.watch.solution is not None:
                found[name]["between subs"] = max(sub_steps(run.watch), default=float("nan"))
            (out / f"{name}_{mode}.log").write_text("\n".join(run.lines) + "\n", encoding="utf-8")
            print(f"{name} {mode}: median seam {max(before):.3f} -> {seam_sigma(run):.3f} sigma, {run.seconds:.0f} s")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.survey_photometry", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the pixels and one seed, for a first look")
    parser.add_argument("--surveys", nargs="+", choices=SURVEYS, default=list(SURVEYS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default 1 2 3; with --quick 1")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--out", type=Path, help="where subs, mosaics and results go; default a temporary folder")
    parser.add_argument("--docs", type=Path, help="document whose tables are to be renewed")
    parser.add_argument("--data", type=Path, help="folder of real data: measure its seams")
    chosen = parser.parse_args(arguments)
    out = chosen.out or Path(tempfile.mkdtemp(prefix="survey_photometry_"))
    out.mkdir(parents=True, exist_ok=True)
    store = out / "results.json"
    results: dict[str, Any] = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    if chosen.data is not None:
        results["real"] = measure_real(chosen.data, out)
        store.write_text(json.dumps(results, indent=1), encoding="utf-8")
    else:
        began = time.perf_counter()
        for name in chosen.surveys:
            survey = quick(SURVEYS[name]) if chosen.quick else SURVEYS[name]
            for seed in chosen.seeds or ([1] if chosen.quick else [1, 2, 3]):
                found = measure(name, survey, seed, out, chosen.modes)
                results.setdefault("surveys", {}).setdefault(name, {}).setdefault(str(seed), {}).update(found)
                store.write_text(json.dumps(results, indent=1), encoding="utf-8")
        results["minutes"] = (time.perf_counter() - began) / 60.0
    text = tables.render(results)
    print(text)
    store.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if chosen.docs is not None:
        tables.renew(chosen.docs, text)


if __name__ == "__main__":
    main()
