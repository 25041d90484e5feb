"""Time and memory of the registration of a large survey, on star lists with known truth.

    python -m benchmarks.registration [--subs N] [--stars N] [--wild] [--profile]

The survey has panels that share a fifth with their neighbours, 50 subs each over ten nights, with a field rotation of
ten degrees a night. Headers are off by 2 arcsec and lack the distortion, which reaches 1.5 px; with `--wild` they are
off by up to 60 arcsec, 0.5 degrees and 1 % of the scale. What is counted is `solve_astrometry` alone, a catalogue
included.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.star_lists import Survey, rms
from zemosaic_engine.astrometry.results import CatalogueStars
from zemosaic_engine.astrometry.solution import solve_astrometry
from zemosaic_engine.machine.memory import peak_rss_bytes
from zemosaic_engine.simulate.survey import PRESETS, SurveySpec

_SUBS_A_PANEL = 50
_STARS_A_MPX = 150.0
_CATALOGUE_STARS_A_PANEL = 30
_MOST_SECONDS, _MOST_GB = 15.0, 1.0
_WILD = {"wcs_shift_arcsec": 60.0, "wcs_rotation_deg": 0.5, "wcs_scale_error": 0.01}


def spec_of(subs: int, *, wild: bool) -> SurveySpec:
    """The survey of so many subs."""
    panels = max(1, round(subs / _SUBS_A_PANEL))
    rows = max(1, round(math.sqrt(panels)))
    shape = (rows, max(1, round(panels / rows)))
    spec = PRESETS["bench"].but(
        panels=shape, subs_per_panel=max(1, subs // math.prod(shape)), nights=10, stars_per_mpx=_STARS_A_MPX,
        nebula="none", center_deg=(150.0, 20.0), wcs_error_arcsec=2.0, wcs_without_sip=True,
    )  # fmt: skip
    return spec.but(**_WILD) if wild else spec


def solve(subs: int, stars: int, *, wild: bool, profile: bool) -> dict[str, float]:
    """Make up star lists, register them, and compare with the truth."""
    # A small one first, so that neither imports nor compiling are counted.
    small = Survey(spec_of(20, wild=wild), brightest=stars)
    solve_astrometry(small.headers, small.shapes, small.cameras, small.stars)
    survey = Survey(spec_of(subs, wild=wild), brightest=stars)
    panels = math.prod(survey.truth.spec.panels)
    catalogue = CatalogueStars(*survey.catalogue_places(_CATALOGUE_STARS_A_PANEL * panels))
    before = peak_rss_bytes()
    began, clock = time.process_time(), time.perf_counter()
    if profile:
        import cProfile
        import pstats

        with cProfile.Profile(time.process_time) as watch:
            found = solve_astrometry(survey.headers, survey.shapes, survey.cameras, survey.stars, catalogue)
        pstats.Stats(watch, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    else:
        found = solve_astrometry(survey.headers, survey.shapes, survey.cameras, survey.stars, catalogue)
    seconds, wall, after = time.process_time() - began, time.perf_counter() - clock, peak_rss_bytes()
    some = range(0, survey.count, max(1, survey.count // 200))
    return {
        "subs": survey.count,
        "stars": float(np.median([len(each) for each in survey.stars])),
        "tied": float(found.tied.sum()),
        "anchored": found.catalogue_stars,
        "seconds": seconds,
        "wall": wall,
        "gigabytes": (after - before) / 1e9,
        "process_gigabytes": after / 1e9,
        "error_px": rms(survey.errors_px(lambda i: found.wcs.wcs(i, survey.shapes[i]), some)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the solution runs in a process of its own, whose peak of memory is its own; 0 if both are met."""
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registration", description=about)
    parser.add_argument("--subs", type=int, default=5000)
    parser.add_argument("--stars", type=int, default=80)
    parser.add_argument("--wild", action="store_true", help="headers that are far off")
    parser.add_argument("--profile", action="store_true", help="the functions that take the time, on standard error")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.here:
        print(json.dumps(solve(chosen.subs, chosen.stars, wild=chosen.wild, profile=chosen.profile)))
        return 0
    command = [sys.executable, "-m", "benchmarks.registration", "--here", *(arguments or sys.argv[1:])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    met = found["seconds"] < _MOST_SECONDS and found["process_gigabytes"] < _MOST_GB
    print(
        f"{found['subs']:.0f} subs x {found['stars']:.0f} stars, {found['tied']:.0f} tied, {found['anchored']:.0f} "
        f"catalogue stars: {found['seconds']:.1f} s of processor time ({found['wall']:.1f} s), "
        f"{found['gigabytes']:.2f} GB for the solution, {found['process_gigabytes']:.2f} GB for the whole process; "
        f"places to {found['error_px']:.3f} px; "
        f"needed < {_MOST_SECONDS:g} s and < {_MOST_GB:g} GB: {'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
