"""A run without the subs whose pixels turn out to be unusable, as if they had not been there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from ..errors import SubsLost
from ..events import Reporter, Sink
from ..sentences import say
from .request import GridOutcome, GridRequest, PlannedRequest


def build_without_lost(
    request: GridRequest,
    build: Callable[[GridRequest], GridOutcome],
    plan: Callable[[GridRequest], GridRequest],
    sink: Sink,
    source: str = "GRID",
) -> GridOutcome:
    """Make a mosaic; where subs are lost on the way, plan it again without them and begin anew.

    A sub that is set aside leaves no trace: canvas, tiles, hot pixels and photometry are those of a run that never
    saw it. What does not depend on it is used again.

    Parameters
    ----------
    request : GridRequest
        What is to be made.
    build : callable
        ``build(request)`` makes the mosaic, or raises `SubsLost`.
    plan : callable
        ``plan(request)`` plans a request again.
    sink : callable
        Receives the events of the run.
    source : str
        Named by its log lines.

    Raises
    ------
    RunError
        If no sub is left.
    """
    # Planned once here, so that what the plan sets aside is reported once.
    request = request if isinstance(request, PlannedRequest) else plan(request)
    while True:
        try:
            return build(request)
        except SubsLost as lost:
            gone = {error.path for error in lost.errors}
            told = {field.name: getattr(request, field.name) for field in fields(GridRequest)}
            told["infos"] = [info for info in request.infos if info.path not in gone]
            told["rejected"] = [*request.rejected, *lost.errors]
            again = say("Planned again without {lost} of {subs} subs", lost=len(gone), subs=len(request.infos))
            Reporter(sink, source=source).log(again)
            request = plan(GridRequest(**told))
