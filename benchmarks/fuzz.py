"""Hostile files and texts by the thousand: none may crash the program, hold it up or raise what is not ours.

::

    python -m benchmarks.fuzz --cases 2000             some minutes of one core; part of .ci/run
    python -m benchmarks.fuzz --cases 20000 --folders 100      a night
    python -m benchmarks.fuzz --cases 2000 --kinds image notes     of these kinds only
    python -m benchmarks.fuzz --case sub-123           one of them again, with its traceback

Half of the cases are FITS subs, the rest images of other formats, plans, settings, catalogues, notes of telescopes and
state. Each has a name, from which alone it is made. They are worked off by a process of its own, so that a crash or a
hang is seen and named. Ends with exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from zemosaic_engine.errors import SettingsError, SubError, SubFault, ZeMosaicError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.machine.memory import peak_rss_bytes
from zemosaic_engine.settings import GridSettings, build_settings, load_settings_file
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import run_grid

from .mutators import Samples, mutated_image, mutated_record, mutated_sub, mutated_text, samples_of
from .survival import science

HANG_S = 5.0  # of processor time, so that a busy machine is no hang
_PATIENCE_S = 120.0  # by the clock
PEAK_BYTES = 1.5e9
_KINDS = ("sub", "sub", "sub", "sub", "sub", "sub", "plan", "settings", "catalogue", "state", "image", "notes")


def prepare(folder: Path) -> Path:
    """A survey and the finished run of it, from which the cases are made."""
    simulate_survey(folder / "survey", PRESETS["tiny"], seed=1)
    run_grid(folder / "survey", folder / "out", GridSettings(), lambda event: None, CancelToken())
    return folder


def name_of(number: int, kinds: Sequence[str] = _KINDS) -> str:
    """Name of a case by its number."""
    return f"{kinds[number % len(kinds)]}-{number}"


# --- one case


def try_case(name: str, samples: Samples, work: Path) -> str:
    """What comes of a case: "used", "refused", or what is wrong with it."""
    kind, choice = name.partition("-")[0], random.Random(name)
    try:
        return _TRIALS[kind](samples, choice, work)
    except SubFault as error:
        return f"fault: {error.reason}"
    except (SubError, SettingsError) as error:
        return _told(str(error))
    except MemoryError:
        return "memory: MemoryError"
    except ZeMosaicError as error:
        return f"foreign: {type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"foreign: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"


def _told(text: str) -> str:
    """A refusal is one line of decent length without control characters."""
    if len(text) > 1000:
        return f"sentence of {len(text)} characters: {text[:100]}"
    return "refused" if text.isprintable() else f"sentence with control characters: {text!r}"


def _sub(samples: Samples, choice: random.Random, work: Path) -> str:
    from zemosaic_engine.resume.sub_digests import SubDigests
    from zemosaic_engine.subs.frames import load_frame, read_sub_info

    name, data = mutated_sub(samples, choice)
    (work / name).write_bytes(data)
    info = read_sub_info(work / name)
    SubDigests(None).digest(info)
    load_frame(info)
    return "used"


def _plan(samples: Samples, choice: random.Random, work: Path) -> str:
    from zemosaic_engine.subs.stack_plan import read_stack_plan, select_filter

    (work / "stack_plan.csv").write_bytes(mutated_text(samples.plan, choice))
    plan = read_stack_plan(work / "stack_plan.csv")
    select_filter(plan.rows)
    return next((told for told in map(_told, (str(e) for e in plan.missing)) if told != "refused"), "used")


def _settings(samples: Samples, choice: random.Random, work: Path) -> str:
    text = samples.settings
    path = work / "settings.toml"
    if choice.random() < 0.4:
        import tomllib

        text, path = json.dumps(tomllib.loads(text)), work / "settings.json"
    path.write_bytes(mutated_text(text, choice))
    build_settings(load_settings_file(path))
    return "used"


def _catalogue(samples: Samples, choice: random.Random, work: Path) -> str:
    from zemosaic_engine.catalogues.reference import read_catalogue

    (work / "stars.csv").write_bytes(mutated_text(samples.catalogue, choice))
    read_catalogue(work / "stars.csv", ("R", "G", "B"))
    return "used"


def _state(samples: Samples, choice: random.Random, work: Path) -> str:
    from zemosaic_engine.resume.records import DamagedRecord, decode
    from zemosaic_engine.resume.sub_digests import SubDigests
    from zemosaic_engine.survey.measurements import SubMeasurement
    from zemosaic_engine.survey.solve import SurveySolution
    from zemosaic_engine.tiles.tile import StackedTile

    name, data = mutated_record(samples, choice)
    (work / name).write_bytes(data)
    if name == "subs.journal":
        SubDigests(work / name)
        return "used"
    for kind in (SubMeasurement, SurveySolution, StackedTile):
        try:
            decode(data, kind)
        except DamagedRecord:
            continue
        return "used"
    return "refused"


def _image(samples: Samples, choice: random.Random, work: Path) -> str:
    from zemosaic_engine.subs import image_files
    from zemosaic_engine.subs.frames import read_sub

    name, data = mutated_image(samples, choice)
    (work / name).write_bytes(data)
    sub = read_sub(work / name)
    image_files.read_image(sub.path, sub.hdu)
    return "used"


def _notes(samples: Samples, choice: random.Random, work: Path) -> str:
    from zemosaic_engine.fits.headers import HeaderCards
    from zemosaic_engine.subs.sidecars import Sidecars

    (work / "shotsInfo.json").write_bytes(mutated_text(samples.notes, choice))
    Sidecars().completed(work / "a.fits", HeaderCards({}))
    return "used"


_TRIALS: dict[str, Callable[[Samples, random.Random, Path], str]] = {
    "sub": _sub,
    "image": _image,
    "plan": _plan,
    "settings": _settings,
    "catalogue": _catalogue,
    "notes": _notes,
    "state": _state,
}


# --- the process that works them off


def serve(folder: Path) -> None:
    """Try every case named on standard input; a line before and after each."""
    import warnings

    warnings.simplefilter("ignore")
    samples = samples_of(folder / "survey", folder / "out" / ".zemosaic")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    for line in sys.stdin:
        name = line.strip()
        print(json.dumps({"begins": name}), flush=True)
        began = time.process_time()
        result = try_case(name, samples, work)
        seconds = time.process_time() - began
        peak = peak_rss_bytes()
        print(json.dumps({"ends": name, "result": result, "seconds": seconds, "peak": peak}), flush=True)


class Found:
    """What came of the cases so far.

    Attributes
    ----------
    counts : Counter
        Of results.
    wrong : list of str
        One line for everything that must not be.
    slowest_s, peak_bytes : float
        Processor time of the slowest case, and the memory of the process.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s, self.peak_bytes = 0.0, 0.0

    def add(self, name: str, result: str, seconds: float, peak: float) -> None:
        """Note one case."""
        word = result.split(":")[0].split(" ")[0]
        self.counts[word] += 1
        self.slowest_s, self.peak_bytes = max(self.slowest_s, seconds), max(self.peak_bytes, peak)
        if word not in ("used", "refused"):
            self.wrong.append(f"{name}: {result}")
        if seconds > HANG_S:
            self.counts["hang"] += 1
            self.wrong.append(f"{name}: took {seconds:.1f} s")
        if peak > PEAK_BYTES and not any("memory of" in line for line in self.wrong):
            self.wrong.append(f"{name}: memory of {peak / 1e9:.2f} GB")


def work_off(names: list[str], folder: Path) -> Iterator[Found]:
    """Try the cases, in another process that is started again when one of them kills it."""
    found, left = Found(), list(names)
    while left:
        done = _in_one_process(left, folder, found)
        left = left[done:]
        yield found


_BATCH = 200


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.fuzz", "--serve", str(folder)]


def _in_one_process(names: list[str], folder: Path, found: Found) -> int:
    """Try the first of the cases; how many of them are done with."""
    batch = names[:_BATCH]
    with subprocess.Popen(_command(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        threading.Thread(target=_feed, args=(process, batch), daemon=True).start()
        done, began, timer = 0, "", None
        for line in process.stdout:
            if timer is not None:
                timer.cancel()
            told = json.loads(line)
            if "begins" in told:
                began = told["begins"]
                timer = threading.Timer(_PATIENCE_S, process.kill)
                timer.daemon = True
                timer.start()
            else:
                done, began = done + 1, ""
                found.add(told["ends"], told["result"], told["seconds"], told["peak"])
        code = process.wait()
    if began:
        found.add(began, f"crash: the process ended with {code}", 0.0, 0.0)
        done += 1
    elif done < len(batch):
        raise RuntimeError(f"the process ended with {code} between two cases")
    return done


def _feed(process: subprocess.Popen[str], names: list[str]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write("".join(f"{name}\n" for name in names))
        process.stdin.close()
    except OSError:
        return  # it died: the other side sees it


# --- folders


def try_folders(numbers: range, folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Runs of 16 good subs and two hostile ones: what is wrong so far, after each."""
    samples, wrong = samples_of(folder / "survey", folder / "out" / ".zemosaic"), []
    if numbers:
        run_grid(_good_subs(folder, "good"), folder / "wanted", GridSettings(), lambda event: None, CancelToken())
    wanted = science(folder / "wanted")
    for count in numbers:
        subs = _good_subs(folder, f"folder_{count}")
        hostile, tries = 0, 0
        while hostile < 2:
            name, data = mutated_sub(samples, random.Random(f"folder-{count}-{tries}"))
            tries += 1
            path = subs / f"hostile_{hostile}{name[1:]}"
            path.write_bytes(data)
            if _is_used(path) or _asks_for_a_filter(path):  # what was mutated is not what the mosaic is made of
                path.unlink()
            else:
                hostile += 1
        output = folder / f"out_{count}"
        try:
            run_grid(subs, output, GridSettings(), lambda event: None, CancelToken())
        except ZeMosaicError as error:
            wrong.append(f"folder {count}: {error}")
            yield count + 1, wrong
            continue
        with (output / "rejected_subs.csv").open(newline="") as file:
            rejected = sorted(Path(row["file_path"]).name for row in csv.DictReader(file))
        if rejected != sorted(path.name for path in subs.glob("hostile_*")):
            wrong.append(f"folder {count}: set aside are {rejected}")
        found = science(output)
        differing = {name for name in wanted | found if wanted.get(name) != found.get(name)} - {"rejected_subs.csv"}
        if differing:
            wrong.append(f"folder {count}: {', '.join(sorted(differing))} differ from the run without them")
        yield count + 1, wrong


def _good_subs(folder: Path, name: str) -> Path:
    """A folder with the good subs and no plan, in which others can be put."""
    (folder / name).mkdir()
    for good in sorted((folder / "survey").glob("*.fits")):
        (folder / name / good.name).symlink_to(good)
    return folder / name


def _is_used(path: Path) -> bool:
    from zemosaic_engine.subs.frames import load_frame, read_sub_info

    try:
        load_frame(read_sub_info(path))
    except SubError:
        return False
    return True


def _asks_for_a_filter(path: Path) -> bool:
    """True if its header tells another filter than that of the survey: a person is to choose before pixels are read."""
    from zemosaic_engine.subs.frames import read_sub

    try:
        return read_sub(path).filter != PRESETS["tiny"].filter
    except SubError:
        return False


def main(arguments: list[str] | None = None) -> int:
    """Try the cases, say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000, help="how many files and texts")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them, and of the folders")
    parser.add_argument("--kinds", nargs="+", choices=sorted(set(_KINDS)), default=_KINDS, help="what they are")
    parser.add_argument("--folders", type=int, default=0, help="how many runs of 16 good subs and 2 hostile ones")
    parser.add_argument("--case", default="", help="name of one case to be tried here")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve is not None:
        serve(options.serve)
        return 0
    with tempfile.TemporaryDirectory(prefix="zemosaic-fuzz-") as made:
        folder = prepare(Path(made))
        if options.case:
            samples = samples_of(folder / "survey", folder / "out" / ".zemosaic")
            print(try_case(options.case, samples, folder))
            return 0
        began = time.monotonic()
        found = Found()
        numbers = range(options.first, options.first + options.cases)
        for found in work_off([name_of(number, options.kinds) for number in numbers], folder):
            print(f"{found.counts.total()} of {options.cases}, {len(found.wrong)} wrong", flush=True)
        wrong = found.wrong
        print(
            f"{options.cases} cases in {time.monotonic() - began:.0f} s: "
            + ", ".join(f"{count} {word}" for word, count in found.counts.most_common())
            + f"; crashes {found.counts['crash']}, hangs over {HANG_S:g} s {found.counts['hang']}, "
            f"exceptions that are not ours {found.counts['foreign'] + found.counts['fault']}; "
            f"the slowest took {found.slowest_s:.2f} s of processor time, memory {found.peak_bytes / 1e9:.2f} GB"
        )
        of_folders: list[str] = []
        folders = range(options.first, options.first + options.folders)
        for done, of_folders in try_folders(folders, folder):
            print(f"{done - options.first} of {options.folders} folders, {len(of_folders)} wrong", flush=True)
        print("\n".join([*wrong, *of_folders]))
        return 1 if wrong or of_folders else 0


if __name__ == "__main__":
    sys.exit(main())
