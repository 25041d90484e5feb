"""The command line: ``zemosaic run | grid | classic | watch | gui | plan | solve | calibrate | report | ...``.

Nothing heavy is imported before a command runs: ``zemosaic --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from zemosaic_app.completion import complete
from zemosaic_app.console import printable, terminal_stream, write_line
from zemosaic_app.exit_codes import FAILED, STOPPED, WRONG_USAGE
from zemosaic_app.grammar import build_parser, misplaced_option, what_is_unknown
from zemosaic_app.suggestions import did_you_mean
from zemosaic_engine.errors import Cancelled, SettingsError, ZeMosaicError
from zemosaic_engine.machine.address_space import check_address_space


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
    if misplaced := misplaced_option(given, parser):
        parser.error(f"the option {misplaced} stands behind the command: zemosaic COMMAND {misplaced}")
    if command and command not in parser.commands:
        parser.error(f"there is no command {command!r}{did_you_mean(command, parser.commands)}")
    args, unknown = parser.parse_known_args(given)
    if unknown:
        args.parser.error(what_is_unknown(unknown, args.parser))
    if not args.debug:
        sys.excepthook = _report_unforeseen
    try:
        check_address_space()
        code: int = args.run(args)
    except SettingsError as error:
        return _leave(_fail(error, WRONG_USAGE, args.debug))
    except (Cancelled, KeyboardInterrupt) as error:
        again = " The same command goes on where it was." if args.goes_on else ""
        return _leave(_fail((str(error) or "Stopped.") + again, STOPPED, False))
    except ZeMosaicError as error:
        return _leave(_fail(error, FAILED, args.debug))
    except MemoryError:
        return _leave(_fail("Not enough memory; lower --memory-gb or --threads.", FAILED, args.debug))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _leave(_fail(f"{error.strerror or error}{where}.", FAILED, args.debug))
    return code


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
