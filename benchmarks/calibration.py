"""Processor time that calibration frames cost a run.

``python -m benchmarks.calibration FOLDER [--panels 2 2 --subs 9 --frames 12]`` simulates a survey of full-size subs
with their calibration frames in FOLDER and makes its mosaic without them, with them, and with masters made before.
The runs alternate, `--repeat` times; each figure is a median, with the median of the differences within a round.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
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
    parser.add_argument("--repeat", type=int, default=5)
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
    masters, alone = args.folder / "masters", args.folder / "alone"
    alone.mkdir(exist_ok=True)
    for path in [*subs.glob("sub_*.fits"), subs / "stack_plan.csv"]:
        if not (alone / path.name).exists():
            (alone / path.name).hardlink_to(path)

    def making() -> float:
        shutil.rmtree(masters, ignore_errors=True)
        before = time.process_time()
        zemosaic_utils.make_masters(subs, masters, GridSettings(), lambda event: None, CancelToken())
        return time.process_time() - before

    making()
    made(args.folder, "warm", subs)  # compiles, and reads the files once
    rounds = []
    for number in range(args.repeat):
        without, with_frames = made(args.folder, "without", subs, calibration="off"), made(args.folder, "with", subs)
        with_masters = made(args.folder, "with_masters", alone, calibration_dir=str(masters))
        rounds.append((without, with_frames, making(), with_masters))
        print(f"round {number + 1}:", *(f"{seconds:.2f}" for seconds in rounds[-1]), flush=True)
    without, with_frames, alone_s, with_masters = (statistics.median(each) for each in zip(*rounds, strict=True))
    more = [statistics.median(100 * (one[place] / one[0] - 1) for one in rounds) for place in (1, 3)]
    count = args.panels[0] * args.panels[1] * args.subs
    print(f"{count} subs, {4 * args.frames} calibration frames; processor seconds, medians of {args.repeat} rounds")
    print(f"without calibration                {without:8.1f}")
    print(f"with masters made before           {with_masters:8.1f}  {more[1]:+.1f} %")
    print(f"with frames, masters made on the way {with_frames:6.1f}  {more[0]:+.1f} %")
    print(f"making the masters alone           {alone_s:8.1f}  {alone_s / (4 * args.frames):.2f} s a frame")


if __name__ == "__main__":
    main()
