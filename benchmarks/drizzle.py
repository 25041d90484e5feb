"""What drizzle gains and costs: the survey `small`, interpolated and drizzled, held against the truth.

python -m benchmarks.drizzle [FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import zemosaic_worker
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic.reader import read_mosaic
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.simulate.truth import compare_mosaic

# Without colours from stars: their factors have an error of a percent, by which the light of stars would differ.
COMMON = {"colour": "sky"}
CASES = {
    "lanczos3": {"resample_kernel": "lanczos3"},
    "drizzle, pixfrac 1": {"resample_kernel": "drizzle"},
    "drizzle, pixfrac 0.8": {"resample_kernel": "drizzle", "drizzle_pixfrac": 0.8},
    "drizzle, pixfrac 0.5": {"resample_kernel": "drizzle", "drizzle_pixfrac": 0.5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="for the survey and the mosaics; a temporary one without")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = given or Path(temporary)
        truth = simulate_survey(folder / "subs", PRESETS["small"], seed=1)
        print(
            "| | FWHM / seeing, R G B | star light over lanczos3 | stars mmag | pixel noise | gaps % | outliers | s |"
        )
        print("|---|---|---|---|---|---|---|---|", flush=True)
        usual = None
        for name, chosen in CASES.items():
            begin = time.perf_counter()
            out = folder / name.replace(" ", "_").replace(",", "")
            zemosaic_worker.run_grid(
                folder / "subs", out, GridSettings(**COMMON, **chosen), lambda event: None, CancelToken()
            )
            seconds = time.perf_counter() - begin
            report = compare_mosaic(read_mosaic(out / "mosaic_grid.fits"), truth)
            usual = np.array(report.gain) if usual is None else usual
            cells = (
                " ".join(f"{w / report.seeing_px:.3f}" for w in report.fwhm_px),
                " ".join(f"{g:.4f}" for g in np.array(report.gain) / usual),
                " ".join(f"{z:.1f}" for z in report.zero_point_mmag),
                " ".join(f"{n:.1f}" for n in report.noise_adu),
                f"{100 * report.nan_share:.3f}",
                str(report.outliers),
                f"{seconds:.0f}",
            )
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
