"""Finds exposures that lie in a folder twice: copied, packed, or under two names."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import SubError
from ..regular_files import open_file
from .faults import read_guarded
from .frames import SubInfo, UnsolvedSub
from .image_files import Kind, kind_of, read_image

Sub = SubInfo | UnsolvedSub
_SAMPLE_BYTES = 16384
_BLOCK = 2880  # bytes of FITS
_LARGEST = 4  # times the usual number of pixels of a sub: a small packed file may unfold to gigabytes


@dataclass(frozen=True)
class Double:
    """A sub that holds the same pixels as another one, which is kept."""

    sub: Sub
    kept: Sub


def find_doubles(subs: Sequence[Sub], check: Callable[[], None] = lambda: None) -> list[Double]:
    """Find the subs that hold the same exposure as another one: the same pixels, of no other moment.

    Parameters
    ----------
    subs : sequence of SubInfo or UnsolvedSub
        In the order in which they are preferred.
    check : callable, optional
        Called before each file that is read; it may raise to stop.

    Returns
    -------
    list of Double
        In the order of `subs`. A solved sub is kept before an unsolved one, a plain one before a packed one, then
        the first. Files that cannot be read are no doubles; loading them says why.

    Notes
    -----
    Candidates share the size, and a stretch of bytes at one place counted from the end of the file (headers may
    differ, their length too), or the second of their exposure if one of them is packed. Only candidates are decoded.
    Subs far larger than the usual one are not: planning sets them aside by their headers.
    """
    preferred = sorted(subs, key=lambda sub: (isinstance(sub, UnsolvedSub), is_packed(sub)))
    kept: dict[Hashable, list[Sub]] = defaultdict(list)
    doubles: dict[int, Sub] = {}
    candidates = _candidates(preferred, check)
    for sub in preferred:
        if id(sub) not in candidates:
            continue
        check()
        try:
            pixels = read_guarded(sub.path, partial(read_image, sub.path, sub.hdu))
        except SubError:
            continue
        key = pixels.shape, pixels.dtype.str, hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
        earlier = next((other for other in kept[key] if _may_be_one(sub, other)), None)
        if earlier is None:
            kept[key].append(sub)
        else:
            doubles[id(sub)] = earlier
    return [Double(sub, doubles[id(sub)]) for sub in subs if id(sub) in doubles]


def _may_be_one(sub: Sub, other: Sub) -> bool:
    """False if the headers name two moments, to the second: programs write the same one with more or fewer digits."""
    moments = {sub.date_obs[:19], other.date_obs[:19]} - {""}
    return len(moments) < 2


def _candidates(subs: Sequence[Sub], check: Callable[[], None]) -> set[int]:
    """Identities of the subs that may have a double."""
    by_bytes: dict[Hashable, list[Sub]] = defaultdict(list)
    by_time: dict[Hashable, list[Sub]] = defaultdict(list)
    most = _LARGEST * np.median([math.prod(sub.shape) for sub in subs]) if subs else 0
    for sub in subs:
        check()
        if math.prod(sub.shape) > most:
            continue
        by_time[sub.shape, sub.date_obs[:19]].append(sub)
        if not is_packed(sub):
            by_bytes[sub.shape, _sample(sub)].append(sub)
    groups = [group for group in by_bytes.values() if len(group) > 1]
    groups += [group for group in by_time.values() if len(group) > 1 and any(is_packed(sub) for sub in group)]
    return {id(sub) for group in groups for sub in group}


def is_packed(sub: Sub) -> bool:
    """True if the bytes of its pixels are not in the file as they are."""
    return sub.path.name.lower().endswith((".gz", ".fz")) or kind_of(sub.path) not in (Kind.FITS, Kind.OTHER)


def _sample(sub: Sub) -> bytes:
    """A digest of some bytes of a file, at a place counted from its end; of nothing if it cannot be read."""
    # Headers and data are padded to blocks: copies with other cards agree from the end.
    behind = -(-sub.shape[0] * sub.shape[1] // (2 * _BLOCK)) * _BLOCK
    try:
        with open_file(sub.path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - behind))
            return hashlib.sha256(file.read(_SAMPLE_BYTES)).digest()
    except OSError:
        return b""
