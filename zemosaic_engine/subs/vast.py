"""Subs that unfold to far more pixels than the others have, told by their headers before memory is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from ..errors import SubError
from ..sentences import say
from .frames import SubInfo, UnsolvedSub

_LEAST = 3  # subs; of fewer nobody can tell which is the usual one
_VAST = 64.0  # times the pixels of the usual sub
_FOLDED, _VAST_IF_FOLDED = 20, 4.0  # the same where a byte of the file holds this many pixels, which no noise allows
Sub = TypeVar("Sub", SubInfo, UnsolvedSub, SubInfo | UnsolvedSub)


def split_by_size(subs: Sequence[Sub]) -> tuple[list[Sub], list[SubError]]:
    """Separate the subs from those with far more pixels than the others: one of them could take all memory.

    Parameters
    ----------
    subs : sequence of SubInfo or UnsolvedSub
        All readable ones, solved or not.

    Returns
    -------
    kept : list
        In their order.
    rejected : list of SubError
    """
    if len(subs) < _LEAST:
        return list(subs), []
    usual = sorted((sub.shape for sub in subs), key=math.prod)[(len(subs) - 1) // 2]

    def is_vast(sub: Sub) -> bool:
        times = math.prod(sub.shape) / math.prod(usual)
        on_disk = sub.state.size if sub.state is not None else math.prod(sub.shape)
        is_folded = math.prod(sub.shape) > _FOLDED * on_disk
        return times > _VAST or (is_folded and times > _VAST_IF_FOLDED)

    odd = [
        SubError(
            sub.path,
            say(
                "its {width} x {height} pixels are far more than the {other_width} x {other_height} of the usual sub",
                width=sub.shape[1],
                height=sub.shape[0],
                other_width=usual[1],
                other_height=usual[0],
            ),
        )
        for sub in subs
        if is_vast(sub)
    ]
    return [sub for sub in subs if not is_vast(sub)], odd
