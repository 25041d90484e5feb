"""Processor time that calibration frames cost a run.

``python -m benchmarks.calibration FOLDER [--panels 2 2 --subs 9 --frames 12]`` simulates a survey of full-size subs
with their calibration frames in FOLDER and makes its mosaic without them, with them, and with masters made before.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import zemosaic_utils
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, Telescope, simulate_survey
from zemosaic_worker import RunOrder, run


def made(folder: Path, name: str, subs: Path, **settings: object) -> float:
    """Processor time of a run in seconds."""
    output = folder / name
    shutil.rmtree(output, ignore_errors=True)
    before = time.process_time()
    run(RunOrder(subs, output, GridSettings(**settings), "grid"), lambda event: None, CancelToken())
    return time.process_time() - before


def main() -> None:
    """Simulate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--panels", type=int, nargs=2, default=(2, 2))
    parser.add_argument("--shape", type=int, nargs=2, default=(1920, 1080), help="height and width of a sub")
    parser.add_argument("--subs", type=int, default=9, help="of each panel")
    parser.add_argument("--frames", type=int, default=12, help="of each of the four kinds")
    args = parser.parse_args()
    kinds = dict.fromkeys(("biases", "darks", "flats", "dark_flats"), args.frames)
    telescope = Telescope(shape=(args.shape[0], args.shape[1]))
    spec = PRESETS["uncalibrated"].but(
        panels=args.panels, subs_per_panel=args.subs, telescopes=(telescope.model_dump(),), stars_per_mpx=800.0,
        calibration=kinds,
    )  # fmt: skip
    subs = args.folder / "survey"
    if not (subs / "truth").is_dir():
        simulate_survey(subs, spec)
    masters = args.folder / "masters"
    shutil.rmtree(masters, ignore_errors=True)
    made(args.folder, "warm", subs, calibration="off")  # compiles, and reads the files once
    without = made(args.folder, "without", subs, calibration="off")
    with_frames = made(args.folder, "with_frames", subs)
    before = time.process_time()
    zemosaic_utils.make_masters(subs, masters, GridSettings(), lambda event: None, CancelToken())
    making = time.process_time() - before
    alone = args.folder / "alone"
    alone.mkdir(exist_ok=True)
    for path in [*subs.glob("sub_*.fits"), subs / "stack_plan.csv"]:
        if not (alone / path.name).exists():
            (alone / path.name).hardlink_to(path)
    with_masters = made(args.folder, "with_masters", alone, calibration_dir=str(masters))
    count = args.panels[0] * args.panels[1] * args.subs
    print(f"{count} subs, {4 * args.frames} calibration frames; processor seconds")
    print(f"without calibration                {without:8.1f}")
    print(f"with masters made before           {with_masters:8.1f}  {100 * (with_masters / without - 1):+.1f} %")
    print(f"with frames, masters made on the way {with_frames:6.1f}  {100 * (with_frames / without - 1):+.1f} %")
    print(f"making the masters alone           {making:8.1f}  {making / (4 * args.frames):.2f} s a frame")


if __name__ == "__main__":
    main()
