"""What the commands do, from their arguments to an exit code. Heavy modules are imported where they are needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zemosaic_app.command_session import say, watched
from zemosaic_app.completion import script
from zemosaic_app.console import duration_text, terminal_stream, write_line
from zemosaic_app.exit_codes import DONE, INCOMPLETE
from zemosaic_app.watch_command import watch_folder
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.events import CancelToken, Event, PhaseStarted, Progress, Sink
from zemosaic_engine.settings import OUTPUT_FORMATS, GridSettings, build_settings, load_settings_file, setting_fields

if TYPE_CHECKING:
    from zemosaic_engine.simulate.survey import SurveyTruth
    from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub
    from zemosaic_worker import RunOutcome


def settings_of(args: argparse.Namespace) -> GridSettings:
    """The settings that a command line asks for, those of its file among them."""
    from_file = load_settings_file(args.settings) if getattr(args, "settings", None) is not None else {}
    names = [field.name for field in setting_fields()]
    from_options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    return build_settings(from_file, from_options, file_name=str(getattr(args, "settings", "")))


def run_grid(args: argparse.Namespace) -> int:
    """``zemosaic grid``: a mosaic of a folder of subs, or of finished tiles."""
    settings = settings_of(args)
    with watched(args) as (sink, cancel):
        from zemosaic_app.report import run_and_report
        from zemosaic_worker import RunOrder

        order = RunOrder(args.input, args.output, settings, "grid", args.tiles, args.fresh)
        outcome = run_and_report(order, sink, cancel)
    _say_what_was_made(outcome, tiles_only=args.tiles)
    return DONE if outcome.is_complete else INCOMPLETE


def run_classic(args: argparse.Namespace) -> int:
    """``zemosaic classic``: a mosaic of one master tile a pointing."""
    return _run_order(args, "classic")


def run_any(args: argparse.Namespace) -> int:
    """``zemosaic run``: a mosaic in the mode that the folder asks for."""
    return _run_order(args, "")


def _run_order(args: argparse.Namespace, mode: str) -> int:
    settings = settings_of(args)
    with watched(args) as (sink, cancel):
        from zemosaic_app.report import run_and_report
        from zemosaic_worker import RunOrder

        order = RunOrder(args.input, args.output, settings, mode, fresh=args.fresh)
        outcome = run_and_report(order, sink, cancel)
    _say_what_was_made(outcome)
    return DONE if outcome.is_complete else INCOMPLETE


def run_watch(args: argparse.Namespace) -> int:
    """``zemosaic watch``: a mosaic that grows while subs arrive."""
    settings = settings_of(args)
    with watched(args) as (sink, cancel):
        outcome = watch_folder(args, settings, sink, cancel)
    _say_what_was_made(outcome)
    return DONE if outcome.is_complete else INCOMPLETE


def run_gui(args: argparse.Namespace) -> int:
    """``zemosaic gui``: the window."""
    from zemosaic_app.windows import open_window

    return open_window("tk" if args.tk else "qt", args.input, args.output, args.language)


def run_plan(args: argparse.Namespace) -> int:
    """``zemosaic plan``: the stack plan of a folder, or advice on its panels."""
    if args.advice:
        return _run_advice(args)
    settings = settings_of(args)
    phase = "reading headers"
    with watched(args) as (sink, cancel):
        from zemosaic_utils import write_plan

        def on_file(done: int, total: int) -> None:
            cancel.check()
            sink(Progress(phase, done, total))

        sink(PhaseStarted(phase, 1, 1.0))
        outcome = write_plan(args.input, args.output, on_file, recursive=settings.recursive)
        from zemosaic_engine.subs.finding import found_text

        cost = _cost_lines(outcome.found.subs, settings)
    for error in outcome.found.rejected:
        say(f"WARN: set aside: {error}")
    for note in outcome.notes:
        say(f"WARN: {note}")
    if outcome.backup is not None:
        say(f"The plan that was there is kept as {outcome.backup}")
    say(f"Found {found_text(args.input, outcome.found)}")
    say(f"{outcome.subs} subs in {outcome.plan}")
    for line in cost:
        if line.removeprefix("WARN: ") not in outcome.notes:
            say(line)
    if outcome.rejected_table is not None:
        say(f"{len(outcome.found.rejected)} files were set aside, see {outcome.rejected_table}")
    return INCOMPLETE if outcome.found.rejected else DONE


def _cost_lines(subs: Sequence[SubInfo | UnsolvedSub], settings: GridSettings) -> list[str]:
    """What the mosaic of these subs will be and cost, or why that is not known yet."""
    from zemosaic_app.planning import foresee, plan_lines

    try:
        return list(plan_lines(foresee(subs, settings)))
    except (SettingsError, RunError) as error:  # the plan is written all the same
        return [f"WARN: {error}"]


def _run_advice(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    if not 0.0 <= args.depth < float("inf"):
        raise SettingsError(f"--depth is {args.depth:g}; it must be a number of minutes above 0.")
    with watched(args) as (sink, cancel):
        from zemosaic_app.planning import need_lines, plan_lines, plan_mosaic
        from zemosaic_engine.canvas.advice import write_advice

        plan = plan_mosaic(args.input, settings, sink, cancel, 60.0 * args.depth)
        if args.output is not None and plan.advice is not None:
            write_advice(args.output, plan.advice)
    for error in plan.rejected:
        say(f"WARN: set aside: {error}")
    for line in (*plan_lines(plan), *need_lines(plan)):
        say(line)
    if args.output is not None and plan.advice is not None:
        say(f"Table of the panels: {args.output}")
    return INCOMPLETE if plan.rejected else DONE


def run_solve(args: argparse.Namespace) -> int:
    """``zemosaic solve``: where the subs of a folder lie."""
    settings = settings_of(args)
    with watched(args) as (sink, cancel):
        from zemosaic_engine.solving.session import listed, outcome_text
        from zemosaic_utils import solve_folder

        outcome = solve_folder(args.input, args.write, settings, sink, cancel, cards_only=args.cards)
        lines, summary = listed(outcome.solved, args.input), outcome_text(outcome.solved)
    for error in outcome.rejected:
        say(f"WARN: set aside: {error}")
    for note in outcome.notes:
        say(f"WARN: {note}")
    for line in lines:
        say(line)
    if outcome.already:
        say(f"{outcome.already} subs have a solution in their header; --plate-solve all solves them anew")
    if outcome.solved:
        say(summary)
    if args.write is not None:
        say(f"{outcome.written} files in {args.write}")
    is_complete = not outcome.rejected and all(result.info is not None for result in outcome.solved)
    return DONE if is_complete else INCOMPLETE


def run_calibrate(args: argparse.Namespace) -> int:
    """``zemosaic calibrate``: the masters of a folder of calibration frames."""
    settings = settings_of(args)
    with watched(args) as (sink, cancel):
        from zemosaic_utils import make_masters

        outcome = make_masters(args.input, args.output, settings, sink, cancel)
    for name, path in outcome.masters:
        say(f"{name}: {path}")
    for name, reason in outcome.without:
        say(f"WARN: no master of {name}: {reason}")
    say(f"{len(outcome.masters)} masters in {args.output}")
    return INCOMPLETE if outcome.without or outcome.left_out else DONE


def run_report(args: argparse.Namespace) -> int:
    """``zemosaic report``: the report of a run, made anew."""
    with watched(args):
        from zemosaic_app.report import write_report

        page = write_report(args.output, args.language)
    say(f"Report: {page}")
    return DONE


def run_export(args: argparse.Namespace) -> int:
    """``zemosaic export``: a finished mosaic in other formats."""
    formats = [name for name in OUTPUT_FORMATS if getattr(args, name)]
    if not formats:
        raise SettingsError(
            "Name a format: " + ", ".join(f"--{name.replace('_', '-')}" for name in OUTPUT_FORMATS) + "."
        )
    with watched(args) as (_, cancel):
        from zemosaic_export import export

        made = export(args.output, formats, args.crop, cancel)
    if "map" in made:
        from .report import write_report

        write_report(args.output)  # it has the page of the map
    for path in made.values():
        say(f"Written: {path}")
    return DONE


def run_fetch_catalogue(args: argparse.Namespace) -> int:
    """``zemosaic fetch-catalogue``: the Gaia stars of a field."""
    with watched(args) as (_, cancel):
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
    say(f"{fetched.stars} Gaia stars within {fetched.radius_deg:.2f} degrees of {ra:.4f} {dec:+.4f} {what}")
    say(f"Catalogue: {fetched.path} (use it with --reference-catalogue)")
    return DONE


def run_compare(args: argparse.Namespace) -> int:
    """``zemosaic compare``: two mosaics of one field side by side."""
    with watched(args) as (sink, cancel):
        from zemosaic_compare import PICTURE_NAME, compare

        comparison = compare(args.first, args.second, args.output, sink, cancel)
    for line in comparison.text().splitlines():
        say(line)
    if args.output is not None:
        say(f"Picture: {args.output / PICTURE_NAME}")
    return DONE


def run_simulate(args: argparse.Namespace) -> int:
    """``zemosaic simulate``: a survey of subs with known truth."""
    with watched(args) as (sink, cancel):
        _simulate(args.output, args.preset, args.seed, sink, cancel)
    say(f"Simulated survey '{args.preset}' (seed {args.seed}) in {args.output}")
    return DONE


def _simulate(folder: Path, preset: str, seed: int, sink: Sink, cancel: CancelToken) -> SurveyTruth:
    from zemosaic_engine.clock import RunClock, with_time_left
    from zemosaic_engine.simulate.survey import PRESETS, simulate_survey

    def tell(event: Event) -> None:
        cancel.check()
        sink(event)

    return simulate_survey(folder, PRESETS[preset], seed, with_time_left(tell, RunClock()))


def run_demo(args: argparse.Namespace) -> int:
    """``zemosaic demo``: a simulated survey, its mosaic, and how far that is from the truth."""
    with watched(args) as (sink, cancel):
        from zemosaic_app import demo as demonstration

        demo = demonstration.run_demo(args.output, args.seed, sink, cancel)
    say("How far the mosaic is from the simulated sky:")
    for line in demo.truth.text().splitlines():
        say(f"  {line}")
    _say_what_was_made(demo.outcome)
    say(f"  subs      {demo.survey}")
    return DONE if demo.outcome.is_complete else INCOMPLETE


def run_completion(args: argparse.Namespace) -> int:
    """``zemosaic completion``: what makes a shell complete the commands."""
    write_line(terminal_stream(), script(args.shell))
    return DONE


def run_patch(args: argparse.Namespace) -> int:
    """``zemosaic patch``: Grid Mode put into the folder of an existing ZeMosaic, or taken out again."""
    import zemosaic_patch

    how = {"dry_run": args.dry_run, "adopt": args.keep_changed}
    would = "would be " if args.dry_run else ""
    if args.revert:
        outcome = zemosaic_patch.revert(args.folder, say, **how)
        for note in outcome.notes:
            say(f"WARN: {note}")
        restored, removed = outcome.count("restore"), outcome.count("remove")
        say(f"Grid Mode {would}taken out of {outcome.host}: {restored} files restored, {removed} removed")
        return DONE
    python = zemosaic_patch.host_python(zemosaic_patch.find_host(args.folder), args.python)
    environment = zemosaic_patch.check_environment(python)
    outcome = zemosaic_patch.patch(args.folder, say, **how)
    written = outcome.count("add", "replace", "upgrade")
    say(f"Grid Mode {would}put into {outcome.host}: {written} files written, {outcome.count('keep')} were up to date")
    advice = environment.advice()
    if not advice and not args.dry_run:
        problem = zemosaic_patch.import_problem(outcome.host, python)
        advice = [f"{python} cannot import it there: {problem}"] if problem else []
    for line in advice or [f"{python} has all that it needs"]:
        say(f"WARN: {line}" if advice else line)
    if args.python is None and python == Path(sys.executable):
        say("That is the Python of this command; if that ZeMosaic runs with another one, name it with --python")
    if not args.dry_run:
        say(f"To undo: zemosaic patch {args.folder} --revert")
    return INCOMPLETE if advice else DONE


def _say_what_was_made(outcome: RunOutcome, *, tiles_only: bool = False) -> None:
    from zemosaic_app.report import PAGE_NAME

    grid = outcome.grid
    subs = "" if tiles_only else f"{grid.subs_used} subs, "
    say(f"Done in {duration_text(outcome.seconds)}: {subs}{grid.tiles} tiles")
    say(f"  mosaic    {grid.mosaic}")
    say(f"  coverage  {grid.coverage}")
    say(f"  picture   {outcome.preview}")
    say(f"  log       {outcome.log}")
    page = outcome.report_path.with_name(PAGE_NAME)
    say(f"  report    {page if page.is_file() else outcome.report_path}")
    if grid.rejected:
        say(f"  {len(grid.rejected)} files were set aside, see {outcome.rejected_table}")
    if grid.tiles_left_out:
        say(f"  {len(grid.tiles_left_out)} tiles were left out: {', '.join(grid.tiles_left_out)}")
