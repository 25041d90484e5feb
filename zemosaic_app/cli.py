"""The command line: ``zemosaic run | grid | classic | watch | gui | plan | solve | calibrate | report | ...``.

Nothing heavy is imported before a command runs: ``zemosaic --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from types import FrameType, MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from zemosaic_app.completion import SHELLS, complete, script
from zemosaic_app.console import Verbosity, duration_text, open_console, printable, terminal_stream, write_line
from zemosaic_app.options import add_setting_options, gigabytes
from zemosaic_app.suggestions import did_you_mean
from zemosaic_app.watch_command import add_watch_arguments, watch_folder
from zemosaic_engine import __version__
from zemosaic_engine.errors import Cancelled, RunError, SettingsError, ZeMosaicError
from zemosaic_engine.events import CancelToken, Event, LogLine, PhaseStarted, Progress, Sink
from zemosaic_engine.machine.address_space import check_address_space
from zemosaic_engine.settings import (
    OUTPUT_FORMATS,
    GridSettings,
    build_settings,
    load_settings_file,
    setting_fields,
)

if TYPE_CHECKING:
    from zemosaic_engine.simulate.survey import SurveyTruth
    from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub
    from zemosaic_worker import RunOutcome

_PATIENCE_S = 10.0  # for the report of a run that was stopped
DONE, FAILED, WRONG_USAGE, INCOMPLETE, STOPPED = 0, 1, 2, 3, 130

#: Names of `zemosaic_engine.simulate.survey.PRESETS`, which is not imported for the help.
SIMULATED = (
    "tiny", "small", "bench", "pedestal", "glow", "dust", "moon", "clouds", "dark-subtracted", "registered", "unit",
    "comet", "uncalibrated",
)  # fmt: skip

_EXIT_CODES = (
    "exit codes: 0 done; 1 the run failed; 2 wrong usage or settings; "
    "3 done, but subs or tiles were left out; 130 stopped"
)
#: Settings of `zemosaic plan`.
_OF_PLANNING = ("filter", "recursive", "plate_solve", "star_catalogue_dir", "pixel_scale_arcsec", "threads")
#: Settings of `zemosaic solve`.
_OF_SOLVING = ("filter", "recursive", "plate_solve", "star_catalogue_dir", "threads")
#: Settings of `zemosaic calibrate`.
_OF_CALIBRATING = ("saturation_adu", "pedestal", "darks", "flats", "biases", "dark_flats", "threads")
_FORMAT_HELP = {
    "fits": "mosaic.fit, for processing: without NaN, from 0 to 1",
    "tiff": "mosaic.tif: 32-bit float, linear",
    "tiff16": "mosaic_16bit.tif: 16 bits, linear",
    "tiff_stretched": "mosaic_stretched.tif: 16 bits, stretched as the picture",
    "jpeg": "mosaic_grid.jpg: the picture",
    "hips": "hips/: the mosaic as a HiPS, for Aladin and other programs",
    "map": "map/index.html: the mosaic at full size as a map, in a browser",
}
#: Of the windows and the report; what each is called stands in their texts.
LANGUAGES = ("en", "de", "es", "fr")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process if left out.

    Returns
    -------
    int
        0 done, 1 the run failed, 2 wrong usage or settings, 3 done but incomplete, 130 stopped.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:
        complete(parser)
    if not given:
        parser.print_help()
        return WRONG_USAGE
    command = next((word for word in given if not word.startswith("-")), "")
    if misplaced := _misplaced(given, parser):
        parser.error(f"the option {misplaced} stands behind the command: zemosaic COMMAND {misplaced}")
    if command and command not in parser.commands:
        parser.error(f"there is no command {command!r}{did_you_mean(command, parser.commands)}")
    args, unknown = parser.parse_known_args(given)
    if unknown:
        args.parser.error(_what_is_unknown(unknown, args.parser))
    if not args.debug:
        sys.excepthook = _report_unforeseen
    try:
        check_address_space()
        code: int = args.run(args)
    except SettingsError as error:
        return _fail(error, WRONG_USAGE, args.debug)
    except (Cancelled, KeyboardInterrupt) as error:
        again = " The same command goes on where it was." if args.goes_on else ""
        return _leave(_fail((str(error) or "Stopped.") + again, STOPPED, False))
    except ZeMosaicError as error:
        return _fail(error, FAILED, args.debug)
    except MemoryError:
        return _fail("Not enough memory; lower --memory-gb or --threads.", FAILED, args.debug)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}.", FAILED, args.debug)
    return code


# --- the grammar


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    commands: Mapping[str, argparse.ArgumentParser] = MappingProxyType({})

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _what_is_unknown(words: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """The first option that does not exist, and what may have been meant; else the words that are too many."""
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    if not option:
        return "unrecognized arguments: " + " ".join(words)
    return f"there is no option {option}{did_you_mean(option, _options_of(parser))}"


def _misplaced(words: Sequence[str], parser: _Parser) -> str:
    """The first option before the command that only stands behind one; empty if there is none."""
    before = (word.partition("=")[0] for word in takewhile(lambda word: word.startswith("-"), words))
    own = _options_of(parser)
    of_commands = {option for command in parser.commands.values() for option in _options_of(command)}
    return next((option for option in before if option not in own and option in of_commands), "")


def _options_of(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings]


def build_parser() -> _Parser:
    """The whole grammar of the command line; the options of ``grid`` come from `GridSettings`."""
    parser = _Parser(
        prog="zemosaic",
        description="Photometrically even colour mosaics from smart-telescope subs.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"zemosaic {__version__}")
    for names in (("-q", "--quiet"), ("-v", "--verbose"), ("--debug",)):
        parser.add_argument(*names, action="store_true", help=argparse.SUPPRESS, default=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    _add_runs(commands)

    gui = _add_command(commands, "gui", _run_gui, "open the window")
    gui.add_argument(
        "input", type=Path, metavar="INPUT", nargs="?", help="folder with the subs or their stack_plan.csv"
    )
    gui.add_argument("output", type=Path, metavar="OUTPUT", nargs="?", help="folder for the mosaic")
    gui.add_argument("--tk", action="store_true", help="the plain window, which needs nothing but Python's own Tk")
    gui.add_argument("--language", choices=LANGUAGES, default="", help="[default: that of the system]")

    _add_plan(commands)
    _add_solve(commands)
    _add_calibrate(commands)

    report = _add_command(commands, "report", _run_report, "make the report of a run anew from its files")
    report.add_argument("output", type=Path, metavar="OUTPUT", help="output folder of the run")
    report.add_argument("--language", choices=LANGUAGES, default="en", help="[default: %(default)s]")

    _add_export(commands)
    _add_fetch_catalogue(commands)

    compare = _add_command(commands, "compare", _run_compare, "set two mosaics of one field side by side")
    compare.add_argument("first", type=Path, metavar="A.fits", help="a mosaic; the other is brought to its grid")
    compare.add_argument("second", type=Path, metavar="B.fits", help="another mosaic of the same sky")
    compare.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for comparison.txt, .json and .png; made if missing"
    )

    _add_simulated(commands)
    _add_patch(commands)

    completion = _add_command(commands, "completion", _run_completion, "print what makes a shell complete the commands")
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.commands = commands.choices
    return parser


def _add_runs(commands: Any) -> None:
    grid = _add_command(commands, "grid", _run_grid, "make a mosaic of a folder of subs")
    _add_examples(
        grid, "subs/ mosaic/", "subs/ mosaic/ --darks darks/ --flats flats/", "subs/ mosaic/ --outputs fits,tiff,map"
    )
    grid.usage = "%(prog)s [--tiles] [--fresh] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    grid.add_argument("--tiles", action="store_true", help="INPUT holds finished tiles: only scale and join them")
    _add_run_arguments(grid, without="classic")

    classic = _add_command(commands, "classic", _run_classic, "make a mosaic of one master tile a pointing")
    _add_examples(classic, "subs/ mosaic/", "subs/ mosaic/ --settings mosaic.toml", "subs/ mosaic/ --coverage-renorm")
    classic.usage = "%(prog)s [--fresh] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    _add_run_arguments(classic)

    run = _add_command(commands, "run", _run_any, "make a mosaic in the mode that the folder asks for")
    _add_examples(run, "subs/ mosaic/", "subs/ mosaic/ --settings mosaic.toml", "subs/ mosaic/ --fresh")
    run.usage = "%(prog)s [--fresh] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    _add_run_arguments(run)

    watch = _add_command(commands, "watch", _run_watch, "make a mosaic that grows while the telescope writes subs")
    _add_examples(
        watch, "subs/ mosaic/", "subs/ mosaic/ --quiet-minutes 30 --end", "subs/ mosaic/ --darks darks/ --flats flats/"
    )
    add_watch_arguments(watch)
    _add_run_arguments(watch, without="classic")


def _add_simulated(commands: Any) -> None:
    simulate = _add_command(commands, "simulate", _run_simulate, "make a survey of subs with known truth")
    simulate.add_argument("output", type=Path, metavar="OUT", help="folder for the subs; made if missing")
    simulate.add_argument(
        "--preset", choices=SIMULATED, default="small", help="size, or a trouble to make [default small]"
    )
    simulate.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another sky [default 1]")

    demo = _add_command(commands, "demo", _run_demo, "simulate a small survey, make its mosaic, compare with the truth")
    demo.add_argument("output", type=Path, metavar="OUT", help="folder for the subs and the mosaic; made if missing")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another sky [default 1]")


def _add_patch(commands: Any) -> None:
    patch = _add_command(commands, "patch", _run_patch, "put Grid Mode into the folder of an existing ZeMosaic")
    patch.add_argument("folder", type=Path, metavar="DIR", help="folder of that ZeMosaic, with its zemosaic_worker.py")
    patch.add_argument("--revert", action="store_true", help="take it out again and restore every byte")
    patch.add_argument("--dry-run", action="store_true", help="only say what would be done")
    patch.add_argument(
        "--python",
        type=Path,
        metavar="FILE",
        help="Python of that ZeMosaic [default: that of a venv there, or this one]",
    )
    patch.add_argument(
        "--keep-changed",
        action="store_true",
        help="files changed since they were put in: back them up (with --revert: leave them) instead of stopping",
    )


def _add_plan(commands: Any) -> None:
    plan = _add_command(
        commands, "plan", _run_plan, "write the stack plan of a folder of subs and tell what their mosaic will be"
    )
    _add_examples(plan, "subs/", "--advice subs/", "--advice --depth 30 --output advice.csv subs/")
    plan.add_argument("input", type=Path, metavar="INPUT", help="folder with the subs")
    plan.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="plan to write [default INPUT/stack_plan.csv]; with --advice a table of the panels [default none]",
    )
    plan.add_argument(
        "--advice",
        action="store_true",
        help="write no plan: solve what is not solved, and say which panels are thin or missing for an even depth, and "
        "how many subs they need at which place",
    )
    plan.add_argument(
        "--depth",
        type=float,
        metavar="MINUTES",
        default=0.0,
        help="with --advice: exposure that every panel should have [minutes; default that of the deeper panels]",
    )
    add_setting_options(plan, only=_OF_PLANNING)


def _add_solve(commands: Any) -> None:
    solve = _add_command(commands, "solve", _run_solve, "find where on the sky the subs of a folder lie, and list it")
    solve.add_argument("input", type=Path, metavar="INPUT", help="folder with the subs or their stack_plan.csv")
    solve.add_argument(
        "--write", type=Path, metavar="DIR", help="write copies of the subs with their solutions there; made if missing"
    )
    solve.add_argument(
        "--cards", action="store_true", help="with --write: no copies, only headers (NAME.wcs), as solve-field does"
    )
    solve.add_argument("--settings", type=Path, metavar="FILE", help="TOML or JSON file of settings")
    add_setting_options(solve, only=_OF_SOLVING)
    solve.set_defaults(goes_on=True)


def _add_calibrate(commands: Any) -> None:
    calibrate = _add_command(
        commands, "calibrate", _run_calibrate, "make the masters of a folder of calibration frames"
    )
    calibrate.add_argument("input", type=Path, metavar="INPUT", help="folder with darks, flats, biases, dark-flats")
    calibrate.add_argument("output", type=Path, metavar="OUTPUT", help="folder for the masters; made if missing")
    calibrate.add_argument("--settings", type=Path, metavar="FILE", help="TOML or JSON file of settings")
    add_setting_options(calibrate, only=_OF_CALIBRATING)


def _add_command(commands: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=_EXIT_CODES, allow_abbrev=False
    )
    # SUPPRESS keeps a --debug given before the command.
    for names, told in (
        (("-q", "--quiet"), "show warnings and the result only"),
        (("-v", "--verbose"), "show every line of the log but DEBUG"),
        (("--debug",), "show DEBUG lines too, and tracebacks of errors"),
    ):
        parser.add_argument(*names, action="store_true", default=argparse.SUPPRESS, help=told)
    parser.set_defaults(run=run, goes_on=False, parser=parser)
    return parser


def _add_examples(parser: argparse.ArgumentParser, *arguments: str) -> None:
    """Let the help of a command begin with examples."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    lines = "".join(f"\n  {parser.prog} {words}" for words in arguments)
    parser.description = f"{parser.description}\n\nexamples:{lines}"
    parser.epilog = "\n".join(textwrap.wrap(_EXIT_CODES, 79))


def _add_export(commands: Any) -> None:
    export = _add_command(commands, "export", _run_export, "make files of other formats of a finished run's mosaic")
    export.add_argument("output", type=Path, metavar="OUTPUT", help="output folder of the run")
    for name in OUTPUT_FORMATS:
        export.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=_FORMAT_HELP[name])
    export.add_argument(
        "--crop",
        choices=("none", "covered", "largest_rectangle"),
        default="none",
        help="part of the mosaic [default none]",
    )


def _add_fetch_catalogue(commands: Any) -> None:
    fetch = _add_command(
        commands, "fetch-catalogue", _run_fetch_catalogue, "fetch the Gaia stars of a field, for reference_catalogue"
    )
    fetch.add_argument(
        "input", type=Path, metavar="INPUT", help="output folder of a run, a mosaic, or a folder of solved subs"
    )
    fetch.add_argument("output", type=Path, metavar="FILE.ecsv", help="catalogue to write")
    fetch.add_argument(
        "--faintest", type=float, default=16.0, metavar="MAG", help="faintest stars, in G [mag; default 16]"
    )
    fetch.add_argument("--again", action="store_true", help="ask the archive although the file is there")
    fetch.add_argument(
        "--server", default="", metavar="URL", help="another TAP service with gaiadr3.gaia_source [default ESA's]"
    )


def _add_run_arguments(parser: argparse.ArgumentParser, without: str = "") -> None:
    parser.add_argument("input", type=Path, metavar="INPUT", help="folder with the subs or their stack_plan.csv")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder for the mosaic; made if missing")
    parser.add_argument("--fresh", action="store_true", help="start over: use nothing that an earlier run did")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="TOML or JSON file of settings; options win over it"
    )
    parser.set_defaults(goes_on=True)
    add_setting_options(parser, without)
    parser.add_argument(
        "--no-calibration",
        dest="calibration",
        action="store_const",
        const="off",
        default=argparse.SUPPRESS,
        help="the same as --calibration off",
    )
    parser.add_argument(
        "--memory",
        dest="memory_gb",
        type=gigabytes,
        default=argparse.SUPPRESS,
        metavar="SIZE",
        help="the same as --memory-gb, with a unit: 2GB, 1500MB",
    )


def _settings_of(args: argparse.Namespace) -> GridSettings:
    from_file = load_settings_file(args.settings) if getattr(args, "settings", None) is not None else {}
    names = [field.name for field in setting_fields()]
    from_options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    return build_settings(from_file, from_options, file_name=str(getattr(args, "settings", "")))


# --- the commands


def _run_grid(args: argparse.Namespace) -> int:
    settings = _settings_of(args)
    with _watched(args) as (sink, cancel):
        from zemosaic_app.report import run_and_report
        from zemosaic_worker import RunOrder

        order = RunOrder(args.input, args.output, settings, "grid", args.tiles, args.fresh)
        outcome = run_and_report(order, sink, cancel)
    _say_what_was_made(outcome, tiles_only=args.tiles)
    return DONE if outcome.is_complete else INCOMPLETE


def _run_classic(args: argparse.Namespace) -> int:
    return _run_order(args, "classic")


def _run_any(args: argparse.Namespace) -> int:
    return _run_order(args, "")


def _run_order(args: argparse.Namespace, mode: str) -> int:
    settings = _settings_of(args)
    with _watched(args) as (sink, cancel):
        from zemosaic_app.report import run_and_report
        from zemosaic_worker import RunOrder

        order = RunOrder(args.input, args.output, settings, mode, fresh=args.fresh)
        outcome = run_and_report(order, sink, cancel)
    _say_what_was_made(outcome)
    return DONE if outcome.is_complete else INCOMPLETE


def _run_watch(args: argparse.Namespace) -> int:
    settings = _settings_of(args)
    with _watched(args) as (sink, cancel):
        outcome = watch_folder(args, settings, sink, cancel)
    _say_what_was_made(outcome)
    return DONE if outcome.is_complete else INCOMPLETE


def _run_gui(args: argparse.Namespace) -> int:
    from zemosaic_app.windows import open_window

    return open_window("tk" if args.tk else "qt", args.input, args.output, args.language)


def _run_plan(args: argparse.Namespace) -> int:
    if args.advice:
        return _run_advice(args)
    settings = _settings_of(args)
    phase = "reading headers"
    with _watched(args) as (sink, cancel):
        from zemosaic_utils import write_plan

        def on_file(done: int, total: int) -> None:
            cancel.check()
            sink(Progress(phase, done, total))

        sink(PhaseStarted(phase, 1, 1.0))
        outcome = write_plan(args.input, args.output, on_file, recursive=settings.recursive)
        from zemosaic_engine.subs.finding import found_text

        cost = _cost_lines(outcome.found.subs, settings)
    for error in outcome.found.rejected:
        _say(f"WARN: set aside: {error}")
    for note in outcome.notes:
        _say(f"WARN: {note}")
    if outcome.backup is not None:
        _say(f"The plan that was there is kept as {outcome.backup}")
    _say(f"Found {found_text(args.input, outcome.found)}")
    _say(f"{outcome.subs} subs in {outcome.plan}")
    for line in cost:
        if line.removeprefix("WARN: ") not in outcome.notes:
            _say(line)
    if outcome.rejected_table is not None:
        _say(f"{len(outcome.found.rejected)} files were set aside, see {outcome.rejected_table}")
    return INCOMPLETE if outcome.found.rejected else DONE


def _cost_lines(subs: Sequence[SubInfo | UnsolvedSub], settings: GridSettings) -> list[str]:
    """What the mosaic of these subs will be and cost, or why that is not known yet."""
    from zemosaic_app.planning import foresee, plan_lines

    try:
        return list(plan_lines(foresee(subs, settings)))
    except (SettingsError, RunError) as error:  # the plan is written all the same
        return [f"WARN: {error}"]


def _run_advice(args: argparse.Namespace) -> int:
    settings = _settings_of(args)
    if not 0.0 <= args.depth < float("inf"):
        raise SettingsError(f"--depth is {args.depth:g}; it must be a number of minutes above 0.")
    with _watched(args) as (sink, cancel):
        from zemosaic_app.planning import need_lines, plan_lines, plan_mosaic
        from zemosaic_engine.canvas.advice import write_advice

        plan = plan_mosaic(args.input, settings, sink, cancel, 60.0 * args.depth)
        if args.output is not None and plan.advice is not None:
            write_advice(args.output, plan.advice)
    for error in plan.rejected:
        _say(f"WARN: set aside: {error}")
    for line in (*plan_lines(plan), *need_lines(plan)):
        _say(line)
    if args.output is not None and plan.advice is not None:
        _say(f"Table of the panels: {args.output}")
    return INCOMPLETE if plan.rejected else DONE


def _run_solve(args: argparse.Namespace) -> int:
    settings = _settings_of(args)
    with _watched(args) as (sink, cancel):
        from zemosaic_engine.solving.session import listed, outcome_text
        from zemosaic_utils import solve_folder

        outcome = solve_folder(args.input, args.write, settings, sink, cancel, cards_only=args.cards)
        lines, summary = listed(outcome.solved, args.input), outcome_text(outcome.solved)
    for error in outcome.rejected:
        _say(f"WARN: set aside: {error}")
    for note in outcome.notes:
        _say(f"WARN: {note}")
    for line in lines:
        _say(line)
    if outcome.already:
        _say(f"{outcome.already} subs have a solution in their header; --plate-solve all solves them anew")
    if outcome.solved:
        _say(summary)
    if args.write is not None:
        _say(f"{outcome.written} files in {args.write}")
    is_complete = not outcome.rejected and all(result.info is not None for result in outcome.solved)
    return DONE if is_complete else INCOMPLETE


def _run_calibrate(args: argparse.Namespace) -> int:
    settings = _settings_of(args)
    with _watched(args) as (sink, cancel):
        from zemosaic_utils import make_masters

        outcome = make_masters(args.input, args.output, settings, sink, cancel)
    for name, path in outcome.masters:
        _say(f"{name}: {path}")
    for name, reason in outcome.without:
        _say(f"WARN: no master of {name}: {reason}")
    _say(f"{len(outcome.masters)} masters in {args.output}")
    return INCOMPLETE if outcome.without or outcome.left_out else DONE


def _run_report(args: argparse.Namespace) -> int:
    with _watched(args):
        from zemosaic_app.report import write_report

        page = write_report(args.output, args.language)
    _say(f"Report: {page}")
    return DONE


def _run_export(args: argparse.Namespace) -> int:
    formats = [name for name in OUTPUT_FORMATS if getattr(args, name)]
    if not formats:
        raise SettingsError(
            "Name a format: " + ", ".join(f"--{name.replace('_', '-')}" for name in OUTPUT_FORMATS) + "."
        )
    with _watched(args) as (_, cancel):
        from zemosaic_export import export

        made = export(args.output, formats, args.crop, cancel)
    if "map" in made:
        from .report import write_report

        write_report(args.output)  # it has the page of the map
    for path in made.values():
        _say(f"Written: {path}")
    return DONE


def _run_fetch_catalogue(args: argparse.Namespace) -> int:
    with _watched(args) as (_, cancel):
        from zemosaic_fetch import SERVER, fetch_catalogue

        fetched = fetch_catalogue(
            args.input,
            args.output,
            faintest_mag=args.faintest,
            again=args.again,
            server=args.server or SERVER,
            check=cancel.check,
        )
    ra, dec = fetched.center_deg
    what = "already there" if fetched.was_there else "fetched"
    _say(f"{fetched.stars} Gaia stars within {fetched.radius_deg:.2f} degrees of {ra:.4f} {dec:+.4f} {what}")
    _say(f"Catalogue: {fetched.path} (use it with --reference-catalogue)")
    return DONE


def _run_compare(args: argparse.Namespace) -> int:
    with _watched(args) as (sink, cancel):
        from zemosaic_compare import PICTURE_NAME, compare

        comparison = compare(args.first, args.second, args.output, sink, cancel)
    for line in comparison.text().splitlines():
        _say(line)
    if args.output is not None:
        _say(f"Picture: {args.output / PICTURE_NAME}")
    return DONE


def _run_simulate(args: argparse.Namespace) -> int:
    with _watched(args) as (sink, cancel):
        _simulate(args.output, args.preset, args.seed, sink, cancel)
    _say(f"Simulated survey '{args.preset}' (seed {args.seed}) in {args.output}")
    return DONE


def _simulate(folder: Path, preset: str, seed: int, sink: Sink, cancel: CancelToken) -> SurveyTruth:
    from zemosaic_engine.clock import RunClock, with_time_left
    from zemosaic_engine.simulate.survey import PRESETS, simulate_survey

    def tell(event: Event) -> None:
        cancel.check()
        sink(event)

    return simulate_survey(folder, PRESETS[preset], seed, with_time_left(tell, RunClock()))


def _run_demo(args: argparse.Namespace) -> int:
    with _watched(args) as (sink, cancel):
        from zemosaic_app.demo import run_demo

        demo = run_demo(args.output, args.seed, sink, cancel)
    _say("How far the mosaic is from the simulated sky:")
    for line in demo.truth.text().splitlines():
        _say(f"  {line}")
    _say_what_was_made(demo.outcome)
    _say(f"  subs      {demo.survey}")
    return DONE if demo.outcome.is_complete else INCOMPLETE


def _run_completion(args: argparse.Namespace) -> int:
    write_line(terminal_stream(), script(args.shell))
    return DONE


def _run_patch(args: argparse.Namespace) -> int:
    import zemosaic_patch

    how = {"dry_run": args.dry_run, "adopt": args.keep_changed}
    would = "would be " if args.dry_run else ""
    if args.revert:
        outcome = zemosaic_patch.revert(args.folder, _say, **how)
        for note in outcome.notes:
            _say(f"WARN: {note}")
        restored, removed = outcome.count("restore"), outcome.count("remove")
        _say(f"Grid Mode {would}taken out of {outcome.host}: {restored} files restored, {removed} removed")
        return DONE
    python = zemosaic_patch.host_python(zemosaic_patch.find_host(args.folder), args.python)
    environment = zemosaic_patch.check_environment(python)
    outcome = zemosaic_patch.patch(args.folder, _say, **how)
    written = outcome.count("add", "replace", "upgrade")
    _say(f"Grid Mode {would}put into {outcome.host}: {written} files written, {outcome.count('keep')} were up to date")
    advice = environment.advice()
    if not advice and not args.dry_run:
        problem = zemosaic_patch.import_problem(outcome.host, python)
        advice = [f"{python} cannot import it there: {problem}"] if problem else []
    for line in advice or [f"{python} has all that it needs"]:
        _say(f"WARN: {line}" if advice else line)
    if args.python is None and python == Path(sys.executable):
        _say("That is the Python of this command; if that ZeMosaic runs with another one, name it with --python")
    if not args.dry_run:
        _say(f"To undo: zemosaic patch {args.folder} --revert")
    return INCOMPLETE if advice else DONE


def _say_what_was_made(outcome: RunOutcome, *, tiles_only: bool = False) -> None:
    from zemosaic_app.report import PAGE_NAME

    grid = outcome.grid
    subs = "" if tiles_only else f"{grid.subs_used} subs, "
    _say(f"Done in {duration_text(outcome.seconds)}: {subs}{grid.tiles} tiles")
    _say(f"  mosaic    {grid.mosaic}")
    _say(f"  coverage  {grid.coverage}")
    _say(f"  picture   {outcome.preview}")
    _say(f"  log       {outcome.log}")
    page = outcome.report_path.with_name(PAGE_NAME)
    _say(f"  report    {page if page.is_file() else outcome.report_path}")
    if grid.rejected:
        _say(f"  {len(grid.rejected)} files were set aside, see {outcome.rejected_table}")
    if grid.tiles_left_out:
        _say(f"  {len(grid.tiles_left_out)} tiles were left out: {', '.join(grid.tiles_left_out)}")


# --- what every command needs


def _say(text: str) -> None:
    write_line(terminal_stream(), printable(text))


@contextlib.contextmanager
def _watched(args: argparse.Namespace) -> Iterator[tuple[Sink, CancelToken]]:
    """A console for a run, and a token that Ctrl-C raises."""
    cancel = CancelToken()
    with (
        open_console(terminal_stream(), _verbosity(args)) as console,
        _stop_on_signal(cancel),
    ):
        console(PhaseStarted("starting", 1, 1.0))  # libraries take a second to load
        with _quiet_libraries(console):
            yield console, cancel


def _verbosity(args: argparse.Namespace) -> Verbosity:
    """What of a run is shown: the most that was asked for."""
    for asked, shown in (
        (args.debug, Verbosity.DEBUG),
        (args.verbose, Verbosity.VERBOSE),
        (args.quiet, Verbosity.QUIET),
    ):
        if asked:
            return shown
    return Verbosity.NORMAL


@contextlib.contextmanager
def _stop_on_signal(cancel: CancelToken) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the run to stop, the second kills the process.

    Where the disk of the output does not answer, not even the report of the run can be written: the process ends then.
    """

    def give_up() -> None:
        os.write(2, b"zemosaic: stopped; the output folder does not answer, the report of the run was not written.\n")
        os._exit(STOPPED)

    last_resort = threading.Timer(_PATIENCE_S, give_up)
    last_resort.daemon = True

    def stop(number: int, frame: FrameType | None) -> None:
        if not cancel.is_cancelled:
            cancel.cancel()
            last_resort.start()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # os.write, because the interrupted code may hold the lock of a stream.
        with contextlib.suppress(OSError):  # nobody may be there to read it
            os.write(2, b"\nStopping after the current step; press Ctrl-C again to kill.\n")
            if sys.stdout is not None and sys.stdout.isatty():
                os.write(1, b"\x1b[?25h")  # a killed process cannot bring the hidden cursor back

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        last_resort.cancel()
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_libraries(sink: Sink) -> Iterator[None]:
    """Warnings of libraries become DEBUG lines instead of noise between ours."""

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        sink(LogLine(f"{Path(filename).name}:{lineno}: {category.__name__}: {message}", "DEBUG", source=""))

    with warnings.catch_warnings():
        import astropy  # noqa: F401  (its logger takes over showwarning when it is imported)

        warnings.showwarning = show
        yield


def _leave(code: int) -> int:
    """End the process at once if an abandoned computation would keep it alive."""
    from zemosaic_engine.machine.threads import work_left_behind

    if work_left_behind():
        for stream in (terminal_stream(), terminal_stream(errors=True)):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    return code


def _fail(problem: BaseException | str, code: int, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exc()
    write_line(terminal_stream(errors=True), f"zemosaic: {printable(str(problem))}")
    return code


def _report_unforeseen(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """Print one line for an unexpected error; the process still ends with code 1."""
    place = traceback.extract_tb(at)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    write_line(
        terminal_stream(errors=True),
        f"zemosaic: unforeseen {kind.__name__} at {where}: {printable(str(error))} "
        "(the log, or the same command with --debug, tells more)",
    )


if __name__ == "__main__":
    sys.exit(main())
