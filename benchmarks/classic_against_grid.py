"""The classic flow against Grid Mode, on simulated surveys and on real subs.

    python -m benchmarks.classic_against_grid [--seeds N ...] [--out DIR] [--data DIR] [--docs FILE]

Each survey (`zemosaic simulate --preset small --seed N`) is made into a mosaic by both flows, and by the classic flow
without its renormalisation by the coverage; every mosaic is compared with the truth, and the two flows with
each other, as `zemosaic compare` does. With ``--data``, the Seestar subs of M 94 in that folder are compared too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.tables import renew
from zemosaic_compare import Comparison, compare
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.simulate.truth import TruthReport, compare_with_truth
from zemosaic_worker import RunOrder, RunOutcome, run

FLOWS = (
    ("Grid Mode", "grid", GridSettings()),
    ("classic", "classic", GridSettings()),
    ("classic, no renorm", "classic", GridSettings(coverage_renorm=False)),
)


def say_nothing(event: object) -> None:
    """A sink for nobody."""


def make(source: Path, output: Path, mode: str, settings: GridSettings) -> RunOutcome:
    return run(RunOrder(source, output, settings, mode), say_nothing, CancelToken())


def against_truth(found: Sequence[tuple[str, int, TruthReport]]) -> str:
    """One row a flow, RMS over channels and seeds."""
    head = (
        "| flow | background, one free plane (ADU) | free quadratic (ADU) | star scale between regions (mmag) "
        "| star by star (mmag) | FWHM / seeing | pixel noise (ADU) | missing (%) | outliers |"
    )
    rows = [head, "|" + " --- |" * 9]
    for name, *_ in FLOWS:
        mine = [report for flow, _, report in found if flow == name]
        cells = [
            f"{_rms(report.low_frequency_plane_adu for report in mine):.2f}",
            f"{_rms(report.low_frequency_quadratic_adu for report in mine):.2f}",
            f"{_rms(report.zero_point_region_mmag for report in mine):.1f}",
            f"{_rms(report.zero_point_mmag for report in mine):.1f}",
            f"{np.mean([np.mean(report.fwhm_px) / report.seeing_px for report in mine]):.3f}",
            f"{_rms(report.noise_adu for report in mine):.1f}",
            f"{np.mean([100.0 * report.nan_share for report in mine]):.3f}",
            f"{np.mean([report.outliers for report in mine]):.0f}",
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _rms(values: Iterable[Sequence[float]]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate([np.asarray(value, dtype=float) for value in values])))))


def side_by_side(name: str, comparison: Comparison, folder: Path) -> str:
    """What `zemosaic compare` says, with short names of the files."""
    text = comparison.text().replace(f"{folder}/", "")
    return f"**{name}**\n\n```text\n{text}\n```"


def pair(name: str, grid: RunOutcome, classic: RunOutcome, folder: Path, output: Path) -> str:
    comparison = compare(grid.grid.mosaic, classic.grid.mosaic, output, say_nothing, CancelToken())
    return side_by_side(name, comparison, folder)


def simulated(seeds: Sequence[int], folder: Path) -> str:
    found, texts = [], []
    for seed in seeds:
        survey = folder / f"small_{seed}"
        truth = simulate_survey(survey, PRESETS["small"], seed)
        outcomes = {}
        for name, mode, settings in FLOWS:
            output = folder / f"{name.replace(' ', '_').replace(',', '')}_{seed}"
            outcomes[name] = make(survey, output, mode, settings)
            report = compare_with_truth(outcomes[name].grid.mosaic, truth)
            found.append((name, seed, report))
            print(f"seed {seed}, {name}:\n{report.text()}", flush=True)
        texts.append(
            pair(f"Seed {seed}", outcomes["Grid Mode"], outcomes["classic"], folder, folder / f"compare_{seed}")
        )
    return f"{against_truth(found)}\n\n{texts[0]}"


def real(data: Path, folder: Path) -> str:
    source = data / "seestar_m94"
    grid, classic = (make(source, folder / f"m94_{mode}", mode, GridSettings()) for mode in ("grid", "classic"))
    return pair("Seestar subs of M 94", grid, classic, folder, folder / "compare_m94")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--out", type=Path, help="folder for all that is made, and of what was made before; a temporary one if left out"
    )
    parser.add_argument("--data", type=Path, help="folder of real subs")
    parser.add_argument("--docs", type=Path, help="document whose tables are renewed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        parts = [simulated(args.seeds, folder)]
        if args.data is not None:
            parts.append(real(args.data, folder))
        text = "\n\n".join(parts) + "\n"
    print(text)
    if args.docs is not None:
        renew(args.docs, text)


if __name__ == "__main__":
    main()
