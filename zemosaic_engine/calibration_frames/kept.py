"""Corrections in the state of a run, where workers in other processes find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..geometry import Box
from ..resume.checkpoints import Checkpoints
from ..sentences import say
from ..subs.frames import SubInfo
from ..subs.sensor_correction import SensorCorrection
from .session import FrameCalibration

_Record = TypeVar("_Record")
_KIND = "corrections"
_HELD = 4  # corrections that a worker holds: its orders come with few, one after the other


@dataclass(frozen=True)
class _KeptCorrection:
    """A correction as a record."""

    offset: NDArray[np.float32] | None
    level_adu: float
    factor: NDArray[np.float32] | None
    overscan: list[int]
    name: str
    digest: str


@dataclass(frozen=True)
class _Digests:
    """The correction of each sub, by its path."""

    of_subs: dict[str, str]


def keep_corrections(corrections: Mapping[Path, SensorCorrection], checkpoints: Checkpoints) -> str:
    """Keep all corrections of a run; the key of the record that names those of its subs, empty without any."""
    if not corrections:
        return ""
    for one in {one.digest: one for one in corrections.values()}.values():
        overscan = [] if one.overscan is None else list(one.overscan)
        record = _KeptCorrection(one.offset, one.level_adu, one.factor, overscan, one.name, one.digest)
        checkpoints.put(_KIND, one.digest, record)
    digests = _Digests({str(path): one.digest for path, one in corrections.items()})
    key = checkpoints.key("corrections", digests)
    checkpoints.put(_KIND, key, digests)
    return key


def kept_corrections(key: str, infos: Sequence[SubInfo], checkpoints: Checkpoints) -> FrameCalibration:
    """What calibration frames do to some subs, as another process keeps it under a key of `keep_corrections`.

    Raises
    ------
    RunError
        If a record is missing.
    """
    folder = checkpoints.folder
    if not key or folder is None:
        return FrameCalibration()
    digests = _digests(folder, key).of_subs
    return FrameCalibration(
        {info.path: _correction(folder, digests[str(info.path)]) for info in infos if str(info.path) in digests}
    )


@lru_cache(maxsize=_HELD)
def _digests(folder: Path, key: str) -> _Digests:
    """The corrections of all subs of a run, read once for many orders."""
    return _found(folder, key, _Digests)


@lru_cache(maxsize=_HELD)
def _correction(folder: Path, digest: str) -> SensorCorrection:
    """A correction, read once for many orders."""
    found = _found(folder, digest, _KeptCorrection)
    overscan = Box(*found.overscan) if found.overscan else None
    return SensorCorrection(found.offset, found.level_adu, found.factor, overscan, found.name, found.digest)


def _found(folder: Path, key: str, of: type[_Record]) -> _Record:
    found = Checkpoints(folder).get(_KIND, key, of)
    if found is None:
        raise RunError(say("The calibration {digest} is not in the state of the run.", digest=key[:8]))
    return found
