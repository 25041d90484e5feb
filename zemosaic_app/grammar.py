"""The grammar of the command line: commands, their arguments and their help."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from zemosaic_app.commands import (
    run_any,
    run_calibrate,
    run_classic,
    run_compare,
    run_completion,
    run_demo,
    run_export,
    run_fetch_catalogue,
    run_grid,
    run_gui,
    run_patch,
    run_plan,
    run_report,
    run_simulate,
    run_solve,
    run_watch,
)
from zemosaic_app.completion import SHELLS
from zemosaic_app.exit_codes import WRONG_USAGE
from zemosaic_app.options import add_setting_options, gigabytes
from zemosaic_app.suggestions import did_you_mean
from zemosaic_app.watch_command import add_watch_arguments
from zemosaic_engine import __version__
from zemosaic_engine.settings import OUTPUT_FORMATS

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


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    commands: Mapping[str, argparse.ArgumentParser] = MappingProxyType({})

    def error(self, message: str) -> NoReturn:
        """End with one line that says what is wrong."""
        self.exit(WRONG_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def what_is_unknown(words: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """The first option that does not exist, and what may have been meant; else the words that are too many."""
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    if not option:
        return "unrecognized arguments: " + " ".join(words)
    return f"there is no option {option}{did_you_mean(option, _options_of(parser))}"


def misplaced_option(words: Sequence[str], parser: Parser) -> str:
    """The first option before the command that only stands behind one; empty if there is none."""
    before = (word.partition("=")[0] for word in takewhile(lambda word: word.startswith("-"), words))
    own = _options_of(parser)
    of_commands = {option for command in parser.commands.values() for option in _options_of(command)}
    return next((option for option in before if option not in own and option in of_commands), "")


def _options_of(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings]


def build_parser() -> Parser:
    """The whole grammar of the command line; the options of ``grid`` come from `GridSettings`."""
    parser = Parser(
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

    gui = _add_command(commands, "gui", run_gui, "open the window")
    gui.add_argument(
        "input", type=Path, metavar="INPUT", nargs="?", help="folder with the subs or their stack_plan.csv"
    )
    gui.add_argument("output", type=Path, metavar="OUTPUT", nargs="?", help="folder for the mosaic")
    gui.add_argument("--tk", action="store_true", help="the plain window, which needs nothing but Python's own Tk")
    gui.add_argument("--language", choices=LANGUAGES, default="", help="[default: that of the system]")

    _add_plan(commands)
    _add_solve(commands)
    _add_calibrate(commands)

    report = _add_command(commands, "report", run_report, "make the report of a run anew from its files")
    report.add_argument("output", type=Path, metavar="OUTPUT", help="output folder of the run")
    report.add_argument("--language", choices=LANGUAGES, default="en", help="[default: %(default)s]")

    _add_export(commands)
    _add_fetch_catalogue(commands)

    compare = _add_command(commands, "compare", run_compare, "set two mosaics of one field side by side")
    compare.add_argument("first", type=Path, metavar="A.fits", help="a mosaic; the other is brought to its grid")
    compare.add_argument("second", type=Path, metavar="B.fits", help="another mosaic of the same sky")
    compare.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for comparison.txt, .json and .png; made if missing"
    )

    _add_simulated(commands)
    _add_patch(commands)

    completion = _add_command(commands, "completion", run_completion, "print what makes a shell complete the commands")
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.commands = commands.choices
    return parser


def _add_runs(commands: Any) -> None:
    grid = _add_command(commands, "grid", run_grid, "make a mosaic of a folder of subs")
    _add_examples(
        grid, "subs/ mosaic/", "subs/ mosaic/ --darks darks/ --flats flats/", "subs/ mosaic/ --outputs fits,tiff,map"
    )
    grid.usage = "%(prog)s [--tiles] [--fresh] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    grid.add_argument("--tiles", action="store_true", help="INPUT holds finished tiles: only scale and join them")
    _add_run_arguments(grid, without="classic")

    classic = _add_command(commands, "classic", run_classic, "make a mosaic of one master tile a pointing")
    _add_examples(classic, "subs/ mosaic/", "subs/ mosaic/ --settings mosaic.toml", "subs/ mosaic/ --coverage-renorm")
    classic.usage = "%(prog)s [--fresh] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    _add_run_arguments(classic)

    run = _add_command(commands, "run", run_any, "make a mosaic in the mode that the folder asks for")
    _add_examples(run, "subs/ mosaic/", "subs/ mosaic/ --settings mosaic.toml", "subs/ mosaic/ --fresh")
    run.usage = "%(prog)s [--fresh] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    _add_run_arguments(run)

    watch = _add_command(commands, "watch", run_watch, "make a mosaic that grows while the telescope writes subs")
    _add_examples(
        watch, "subs/ mosaic/", "subs/ mosaic/ --quiet-minutes 30 --end", "subs/ mosaic/ --darks darks/ --flats flats/"
    )
    add_watch_arguments(watch)
    _add_run_arguments(watch, without="classic")


def _add_simulated(commands: Any) -> None:
    simulate = _add_command(commands, "simulate", run_simulate, "make a survey of subs with known truth")
    simulate.add_argument("output", type=Path, metavar="OUT", help="folder for the subs; made if missing")
    simulate.add_argument(
        "--preset", choices=SIMULATED, default="small", help="size, or a trouble to make [default small]"
    )
    simulate.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another sky [default 1]")

    demo = _add_command(commands, "demo", run_demo, "simulate a small survey, make its mosaic, compare with the truth")
    demo.add_argument("output", type=Path, metavar="OUT", help="folder for the subs and the mosaic; made if missing")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another sky [default 1]")


def _add_patch(commands: Any) -> None:
    patch = _add_command(commands, "patch", run_patch, "put Grid Mode into the folder of an existing ZeMosaic")
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
        commands, "plan", run_plan, "write the stack plan of a folder of subs and tell what their mosaic will be"
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
    solve = _add_command(commands, "solve", run_solve, "find where on the sky the subs of a folder lie, and list it")
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
    calibrate = _add_command(commands, "calibrate", run_calibrate, "make the masters of a folder of calibration frames")
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
    export = _add_command(commands, "export", run_export, "make files of other formats of a finished run's mosaic")
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
        commands, "fetch-catalogue", run_fetch_catalogue, "fetch the Gaia stars of a field, for reference_catalogue"
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
