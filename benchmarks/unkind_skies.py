"""What pedestals, glow and curved skies leave in the background, on made-up measurements without pixels.

    python -m benchmarks.unkind_skies [--seeds N ...]

3x3 panels, 54 subs of three nights. *Planes* are exact gains, skies, gradients and illumination that know nothing of
the trouble; *survey* is what the solve finds. Both without the noise of pixels: RMS after one plane, worst channel,
mean over the seeds. Gains: largest error of any sub and channel.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up import MadeUp, Troubles, make_up_survey
from zemosaic_engine.photometry.calibration import PATTERN_TERMS, SubCalibration
from zemosaic_engine.survey.solve import solve_survey

TROUBLES = {
    "none": Troubles(),
    "pedestal of 300 ADU, 6 % of vignetting": Troubles(vignetting=0.06, pedestal_adu=300.0),
    "pedestal of 2048 ADU, 25 % of vignetting": Troubles(vignetting=0.25, pedestal_adu=2048.0),
    "glow of 60 ADU in a corner": Troubles(glow_adu=60.0),
    "glow of 190 ADU in a corner": Troubles(glow_adu=190.0),
    "sky curved by 3 %": Troubles(curvature=0.03),
    "pedestal of 300 ADU and glow of 190 ADU": Troubles(vignetting=0.06, pedestal_adu=300.0, glow_adu=190.0),
}


def planes_only(made: MadeUp, vignetting: float) -> list[SubCalibration]:
    """Exact calibrations of a survey but for what is neither plane nor vignetting."""
    sky = made.sky / made.gain
    pattern = np.zeros((3, len(PATTERN_TERMS)))
    pattern[:, [PATTERN_TERMS.index("u2"), PATTERN_TERMS.index("v2")]] = -vignetting
    return [
        SubCalibration.exact(1.0 / gain, -level, -level[:, None] * gradient, pattern)
        for gain, level, gradient in zip(made.gain, sky, made.gradient, strict=True)
    ]


def measure(troubles: Troubles, seed: int) -> NDArray[np.float64]:
    """Background by planes and by the survey (ADU), largest error of a gain (percent), pedestal (ADU)."""
    made = make_up_survey((3, 3), 6, 3, seed=seed, troubles=troubles)
    solution = solve_survey(made.subs)
    away = np.log(np.array([c.gain for c in solution.calibrations]) * made.gain)
    away -= away.mean(axis=0)
    before = made.background_error(planes_only(made, troubles.vignetting)).max()
    after = made.background_error(solution.calibrations).max()
    return np.array([before, after, 100.0 * np.abs(away).max(), solution.patterns[0].pedestal.mean()])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unkind_skies", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="N")
    chosen = parser.parse_args(arguments)
    print("| trouble | planes (ADU) | survey (ADU) | largest error of a gain | pedestal found (ADU) |")
    print("| --- | --- | --- | --- | --- |")
    for name, troubles in TROUBLES.items():
        before, after, gain, pedestal = np.mean([measure(troubles, seed) for seed in chosen.seeds], axis=0)
        print(f"| {name} | {before:.2f} | {after:.2f} | {gain:.2f} % | {pedestal:.0f} |", flush=True)


if __name__ == "__main__":
    main()
