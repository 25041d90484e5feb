"""A run without the subs whose pixels turn out to be unusable, as if they had not been there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..events import Teller
from ..run.request import GridRequest
from .stack_tiles import StackedTiles


def stack_usable(
    request: GridRequest,
    stack: Callable[[GridRequest], StackedTiles],
    plan: Callable[[GridRequest], GridRequest],
    tell: Teller,
) -> tuple[GridRequest, StackedTiles]:
    """Stack the tiles of a run; where subs are lost on the way, plan it again without them and begin anew.

    A sub that is set aside leaves no trace: canvas, tiles, hot pixels and photometry are those of a run that never
    saw it. What does not depend on it is used again.

    Parameters
    ----------
    request : GridRequest
        With its canvas.
    stack : callable
        ``stack(request)`` makes the tiles, or names the subs that cannot be used in `rejected`.
    plan : callable
        ``plan(request)`` gives a request its canvas.
    tell : Teller

    Returns
    -------
    request : GridRequest
        The one whose subs are all usable.
    stacked : StackedTiles

    Raises
    ------
    RunError
        If no sub is left.
    """
    while True:
        stacked = stack(request)
        if not stacked.rejected:
            return request, stacked
        lost = {error.path for error in stacked.rejected}
        kept = [info for info in request.infos if info.path not in lost]
        tell.log(f"[GRID] Planned again without {len(lost)} of {len(request.infos)} subs")
        rejected = [*request.rejected, *stacked.rejected]
        request = plan(replace(request, infos=kept, rejected=rejected, canvas=None))
