"""Records of calibration frames: what their headers say, and which of them make one master."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..sentences import Sentence, say
from ..subs.camera_setup import UNKNOWN_SETUP, CameraSetup
from ..subs.frames import SubInfo, UnsolvedSub
from ..subs.roles import Role

#: Exposures that differ by less are the same.
EXPOSURE_SHARE = 0.02
#: So are temperatures.
TEMPERATURE_K = 3.0
#: Darks of two temperatures that a cooler was set to are two sets though: so far apart, with so many frames each.
_LEAP_K = 1.0
_LEAST_BESIDE_LEAP = 5
#: Darks and biases that were taken this near to each other in time make one master ...
_DARKS_APART_S = 30 * 86400.0
#: ... and flats: dust moves and cameras are turned from night to night.
_FLATS_APART_S = 18 * 3600.0


@dataclass(frozen=True)
class Conditions:
    """The conditions under which a frame was taken.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width)``.
    is_cube : bool
        True for three colours a pixel.
    bayer : str or None
        Colours of the first two rows and columns of the stored array.
    exposure_s, moment_s : float
        Exposure, and the time of its start in seconds since 1970; NaN where unknown.
    filter : str
        Empty where unknown.
    setup : CameraSetup
    """

    shape: tuple[int, int]
    is_cube: bool = False
    bayer: str | None = None
    exposure_s: float = math.nan
    moment_s: float = math.nan
    filter: str = ""
    setup: CameraSetup = UNKNOWN_SETUP

    @classmethod
    def of(cls, sub: SubInfo | UnsolvedSub) -> Conditions:
        """Those of a sub."""
        return cls(
            sub.shape,
            len(sub.stored_shape) == 3,
            sub.bayer,
            sub.exposure_s,
            moment_s(sub.date_obs),
            sub.filter.strip(),
            sub.setup,
        )


def moment_s(date_obs: str) -> float:
    """Seconds since 1970 of a date in ISO 8601; NaN if there is none."""
    try:
        return datetime.fromisoformat(date_obs[:19]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class CalibrationFrame:
    """A calibration frame on disk.

    Attributes
    ----------
    role : Role
        Dark, flat, bias or dark-flat.
    sub : UnsolvedSub
        What its header says, and where its pixels are.
    conditions : Conditions
    is_master : bool
        True if it was made of several frames.
    is_given : bool
        True if an option names its folder: it is used although its header does not tell its camera.
    """

    role: Role
    sub: UnsolvedSub
    conditions: Conditions
    is_master: bool = False
    is_given: bool = False

    @property
    def path(self) -> Path:
        """Its file."""
        return self.sub.path


@dataclass(frozen=True)
class LeftOut:
    """A calibration frame that is not in its master, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class FrameSet:
    """Calibration frames of one kind that were taken under the same conditions: those of one master.

    Attributes
    ----------
    frames : tuple of CalibrationFrame
        In the order of time, then of names.
    conditions : Conditions
        Medians of exposure, temperature and time, and all else that they share.
    """

    frames: tuple[CalibrationFrame, ...]
    conditions: Conditions

    @property
    def role(self) -> Role:
        """The kind of all of them."""
        return self.frames[0].role

    @property
    def is_master(self) -> bool:
        """True for a master that somebody made."""
        return self.frames[0].is_master

    @property
    def has_lost_bias(self) -> bool:
        """True for darks whose header says that the bias was subtracted from them."""
        return self.role is Role.DARK and "B" in self.conditions.setup.calibrated

    @property
    def has_lost_offset(self) -> bool:
        """True for frames whose header or name says that a bias or a dark was subtracted from them."""
        return bool(set(self.conditions.setup.calibrated) & {"B", "D"})

    @property
    def is_given(self) -> bool:
        """True if an option names them."""
        return self.frames[0].is_given

    @property
    def exposures_s(self) -> tuple[float, float]:
        """The shortest and the longest exposure."""
        exposures = [frame.conditions.exposure_s for frame in self.frames]
        return min(exposures), max(exposures)

    @property
    def name(self) -> Sentence:
        """What a log line calls the set: ``20 darks of 10 s (gain 80, -10 °C)``."""
        n, exposure, facts = len(self.frames), number_text(self.conditions.exposure_s), self._facts()
        match self.role:
            case Role.DARK if self.is_master:
                said = say("master dark of {exposure} s ({facts})", exposure=exposure, facts=facts)
            case Role.FLAT if self.is_master:
                said = say("master flat ({facts})", facts=facts)
            case Role.DARK_FLAT if self.is_master:
                said = say("master dark-flat of {exposure} s ({facts})", exposure=exposure, facts=facts)
            case Role.BIAS if self.is_master:
                said = say("master bias ({facts})", facts=facts)
            case Role.DARK if n == 1:
                said = say("1 dark of {exposure} s ({facts})", exposure=exposure, facts=facts)
            case Role.FLAT if n == 1:
                said = say("1 flat of {exposure} s ({facts})", exposure=exposure, facts=facts)
            case Role.DARK_FLAT if n == 1:
                said = say("1 dark-flat of {exposure} s ({facts})", exposure=exposure, facts=facts)
            case Role.BIAS if n == 1:
                said = say("1 bias frame ({facts})", facts=facts)
            case Role.DARK:
                said = say("{n} darks of {exposure} s ({facts})", n=n, exposure=exposure, facts=facts)
            case Role.FLAT:
                said = say("{n} flats of {exposure} s ({facts})", n=n, exposure=exposure, facts=facts)
            case Role.DARK_FLAT:
                said = say("{n} dark-flats of {exposure} s ({facts})", n=n, exposure=exposure, facts=facts)
            case _:
                said = say("{n} bias frames ({facts})", n=n, facts=facts)
        return said

    def _facts(self) -> str:
        setup, filter_name = self.conditions.setup, self.conditions.filter
        facts = [filter_name] if filter_name and self.role is Role.FLAT else []
        facts += [say("gain {n:g}", n=setup.gain)] if math.isfinite(setup.gain) else []
        facts += [f"{setup.temperature_c:.0f} °C"] if math.isfinite(setup.temperature_c) else []
        facts += [self.frames[0].path.name] if len(self.frames) == 1 else [self.frames[0].path.parent.name]
        return ", ".join(facts)


def number_text(value: float) -> str:
    """A number as people write it; a question mark for one that nobody knows."""
    return f"{value:.4g}" if math.isfinite(value) else "?"


def group_frames(frames: Iterable[CalibrationFrame]) -> list[FrameSet]:
    """Sort calibration frames into sets that each make one master, in the order of kind, time and name."""
    by_key: dict[Hashable, list[CalibrationFrame]] = defaultdict(list)
    for frame in frames:
        by_key[_key(frame)].append(frame)
    sets = [FrameSet(tuple(part), _common(part)) for group in by_key.values() for part in _parts(group)]
    return sorted(sets, key=_order)


def _order(frames: FrameSet) -> tuple[str, float, str]:
    moment = frames.conditions.moment_s
    return frames.role, math.inf if math.isnan(moment) else moment, str(frames.frames[0].path)


def _key(frame: CalibrationFrame) -> Hashable:
    """What frames of one set must share exactly; a master shares it with nothing."""
    conditions, setup = frame.conditions, frame.conditions.setup
    of_flats = (
        conditions.filter.casefold(),
        setup.telescope.casefold(),
        _rounded(setup.rotation_deg),
    )
    return (
        frame.role,
        str(frame.path) if frame.is_master else "",
        frame.is_given,
        conditions.shape,
        conditions.is_cube,
        # The pixels tell whether a binned frame has colours, which those of darks do by chance.
        conditions.bayer if max(setup.binning) < 2 else None,
        setup.camera.casefold(),
        setup.serial,
        setup.binning,
        _rounded(setup.gain),
        _rounded(setup.offset),
        setup.readout.casefold(),
        setup.calibrated,
        setup.pedestal_adu,
        setup.overscan,
        of_flats if frame.role is Role.FLAT else (),
    )


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 1)


def _parts(group: Sequence[CalibrationFrame]) -> list[list[CalibrationFrame]]:
    """A group cut where exposure, temperature or time leap."""
    role = group[0].role
    parts = [list(group)]
    if role in (Role.DARK, Role.DARK_FLAT):
        parts = _cut(parts, _exposure_of, lambda first, last: last > first * (1.0 + EXPOSURE_SHARE))
    if role is Role.DARK:
        parts = [piece for part in parts for piece in _cut_at_leaps(part)]
        parts = _cut(parts, _temperature_of, lambda first, last: last > first + TEMPERATURE_K)
    apart_s = _FLATS_APART_S if role in (Role.FLAT, Role.DARK_FLAT) else _DARKS_APART_S
    return _cut(
        parts, lambda frame: frame.conditions.moment_s, lambda first, last: last > first + apart_s, chained=True
    )


def _exposure_of(frame: CalibrationFrame) -> float:
    return frame.conditions.exposure_s


def _temperature_of(frame: CalibrationFrame) -> float:
    return frame.conditions.setup.temperature_c


def _moment_of(frame: CalibrationFrame) -> float:
    return frame.conditions.moment_s


def _cut_at_leaps(part: Sequence[CalibrationFrame]) -> list[list[CalibrationFrame]]:
    """A part cut where the temperature leaps between many frames and many others; unknown ones stay with the last."""
    frames = sorted(part, key=lambda frame: (math.isnan(_temperature_of(frame)), _temperature_of(frame)))
    pieces, first = [], 0
    for place in range(_LEAST_BESIDE_LEAP, len(frames) - _LEAST_BESIDE_LEAP + 1):
        leap = _temperature_of(frames[place]) - _temperature_of(frames[place - 1])
        if leap > _LEAP_K and place - first >= _LEAST_BESIDE_LEAP:
            pieces.append(frames[first:place])
            first = place
    return [*pieces, frames[first:]]


def _cut(
    parts: Sequence[Sequence[CalibrationFrame]],
    value: Callable[[CalibrationFrame], float],
    is_apart: Callable[[float, float], bool],
    *,
    chained: bool = False,
) -> list[list[CalibrationFrame]]:
    """Cut each part, sorted by a value, where it is apart from the first of the piece, or `chained`, the one before.

    Frames of which the value is not known stay together.
    """
    pieces: list[list[CalibrationFrame]] = []
    for part in parts:
        known = sorted((frame for frame in part if not math.isnan(value(frame))), key=lambda f: (value(f), str(f.path)))
        unknown = [frame for frame in part if math.isnan(value(frame))]
        piece: list[CalibrationFrame] = []
        for frame in known:
            if piece and is_apart(value(piece[-1 if chained else 0]), value(frame)):
                pieces.append(piece)
                piece = []
            piece.append(frame)
        pieces += [piece] if piece else []
        pieces += [unknown] if unknown else []
    return pieces


def _common(frames: Sequence[CalibrationFrame]) -> Conditions:
    """The conditions of a set, from those of its frames."""
    first = frames[0].conditions
    return replace(
        first,
        exposure_s=_median(frame.conditions.exposure_s for frame in frames),
        moment_s=_median(frame.conditions.moment_s for frame in frames),
        setup=replace(first.setup, temperature_c=_median(frame.conditions.setup.temperature_c for frame in frames)),
    )


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan
