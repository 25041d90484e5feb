"""The report of a run: ``report.html`` in its output folder, one file that needs no network.

`facts` reads what the run left, `sky` and `charts` turn it into figures, `page` makes the file.
"""

from __future__ import annotations

from pathlib import Path

from zemosaic_engine.errors import ZeMosaicError
from zemosaic_engine.events import CancelToken, LogLine, Sink
from zemosaic_engine.resume.run_folder import RunFolder
from zemosaic_worker import RunOrder, RunOutcome, run

from .page import PAGE_NAME, write_report

__all__ = ["PAGE_NAME", "run_and_report", "write_report"]


def run_and_report(
    order: RunOrder, sink: Sink, cancel: CancelToken, folder: RunFolder | None = None, *, language: str = "en"
) -> RunOutcome:
    """`zemosaic_worker.run`, and the report of the run however it ended.

    A report that cannot be written is no reason for a run to fail: `sink` hears why as a warning.

    Parameters
    ----------
    order, sink, cancel, folder
        As for `zemosaic_worker.run`.
    language : str
        Code of the language of the report.

    Returns
    -------
    RunOutcome

    Raises
    ------
    SettingsError, RunError, Cancelled
        As `zemosaic_worker.run` does.
    """
    before = _identity(order.output)
    try:
        return run(order, sink, cancel, folder)
    finally:
        if _identity(order.output) != before:  # else the run was refused before it touched anything
            try:
                write_report(order.output, language)
            except (ZeMosaicError, OSError) as error:
                sink(LogLine(f"The report {order.output / PAGE_NAME} was not written: {error}", "WARN"))


def _identity(output: Path) -> tuple[int, int]:
    """Return what identifies the run report in a folder; a new report differs."""
    from zemosaic_engine.run.report import REPORT_NAME

    path = output / REPORT_NAME
    if not path.is_file():
        return 0, 0
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns
