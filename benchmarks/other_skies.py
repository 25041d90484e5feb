"""Surveys that are unusual but must come out right: the mosaic against the truth, beside the run that is told it.

    python -m benchmarks.other_skies [--skies NAME ...] [--seed N]

2x3 panels of small sensors, 24 subs of two nights. Background: RMS of blocks of 16 px after one plane, over the
channels. Stars: scatter of their fluxes around the truth. Each for the survey photometry and for the run that is told
the truth.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.survey_photometry import run_pipeline
from zemosaic_engine.simulate.survey import SurveySpec, SurveyTruth, Telescope, simulate_survey
from zemosaic_engine.simulate.truth import compare_with_truth

_SENSOR = Telescope(shape=(480, 320))
_USUAL = SurveySpec(panels=(2, 3), subs_per_panel=4, nights=2, telescopes=(_SENSOR,), stars_per_mpx=2500.0)


def _two(**second: object) -> SurveySpec:
    """The nights take turns with two telescopes, of which the second differs."""
    return _USUAL.model_copy(update={"telescopes": (_SENSOR, _SENSOR.model_copy(update=second))})


SKIES: dict[str, SurveySpec] = {
    "usual": _USUAL,
    "RA 0h": _USUAL.but(center_deg=(0.0, 40.0)),
    "pole": _USUAL.but(center_deg=(40.0, 89.8)),
    "islands": _USUAL.but(overlap=-0.3),
    "6 % overlap": _USUAL.but(overlap=0.06),
    "10 s and 60 s": _two(name="long", exposure_s=60.0),
    "FWHM 2.5 and 6 px": _two(name="soft", fwhm_px=6.0),
    "bright core": _USUAL.but(nebula_adu=8000.0),
    "black-clipped": _USUAL.but(sky_adu=6.0, gradient=0.0),
    "a star per 14 px": _USUAL.but(stars_per_mpx=5100.0),
    "few common stars": _USUAL.but(stars_per_mpx=120.0),
    "mirrored and not": _two(name="mirrored", mirrored=True),
}


def measure(folder: Path, spec: SurveySpec, seed: int) -> list[tuple[float, float]]:
    """Background (ADU) and scatter of stars (mmag), by the survey and by the run that is told the truth."""
    truth = simulate_survey(folder / "subs", spec, seed)
    return [_judged(folder, truth, oracle) for oracle in (None, truth)]


def _judged(folder: Path, truth: SurveyTruth, oracle: SurveyTruth | None) -> tuple[float, float]:
    run = run_pipeline(folder / "subs", folder / "out", oracle=oracle)
    report = compare_with_truth(run.outcome.mosaic, truth)
    parts = (report.low_frequency_plane_adu, report.zero_point_mmag)
    background, stars = (float(np.sqrt(np.mean(np.square(part)))) for part in parts)
    return background, stars


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.other_skies", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--skies", nargs="+", choices=SKIES, default=list(SKIES), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    print("| sky | background: survey (ADU) | told the truth | stars: survey (mmag) | told the truth |")
    print("| --- | --- | --- | --- | --- |")
    for name in chosen.skies:
        with tempfile.TemporaryDirectory() as folder:
            (background, stars), (least, noise) = measure(Path(folder), SKIES[name], chosen.seed)
        print(f"| {name} | {background:.2f} | {least:.2f} | {stars:.1f} | {noise:.1f} |", flush=True)


if __name__ == "__main__":
    main()
