"""Chooses the calibration frames of a sub: pure functions over records.

A set of frames belongs to a sub if nothing that counts for its kind differs:

=========  ==========================================================================
kind       what must agree, where both headers tell it
=========  ==========================================================================
all        camera, size, binning, gain, offset, Bayer pattern, readout mode
dark       exposure (2 %), temperature (3 K); another exposure is scaled with a bias
flat       filter, telescope, angle of the rotator (2 degrees)
dark-flat  exposure of the flats (2 %), else the nearest where no bias is there
=========  ==========================================================================

Among equals the nearest in temperature is taken, to a degree, then the nearest in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..sentences import Sentence, joined, say
from ..subs.roles import Role
from .records import EXPOSURE_SHARE, TEMPERATURE_K, Conditions, FrameSet, number_text

_ROTATION_DEG = 2.0
_GAIN_STEP = 0.05


@dataclass(frozen=True)
class Difference:
    """What keeps a set of frames from a sub: the key that differs, and a few words about it."""

    key: str
    text: Sentence


@dataclass(frozen=True)
class Match:
    """The calibration frames of a sub.

    Attributes
    ----------
    dark, bias, flat : FrameSet or None
    flat_dark : FrameSet or None
        What takes the offset off the flats: dark-flats, darks or biases.
    dark_scale : float
        Factor on the part of the dark above the bias.
    notes : tuple of str
        What a person should know of the choice.
    refused : mapping of int to str
        Why sets do not serve this sub, by their place in the list.
    """

    dark: FrameSet | None = None
    bias: FrameSet | None = None
    flat: FrameSet | None = None
    flat_dark: FrameSet | None = None
    dark_scale: float = 1.0
    notes: tuple[str, ...] = ()
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def used(self) -> list[FrameSet]:
        """The sets that are needed, each once."""
        sets = [self.bias, self.dark, self.flat_dark, self.flat]
        return list({id(one): one for one in sets if one is not None}.values())

    @property
    def is_empty(self) -> bool:
        """True if nothing is done to the sub."""
        return self.dark is None and self.bias is None and self.flat is None


def match(light: Conditions, sets: Sequence[FrameSet], pedestal_adu: float = math.nan) -> Match:
    """Choose the calibration frames of a sub.

    Parameters
    ----------
    light : Conditions
        Of the sub.
    sets : sequence of FrameSet
        All that there are.
    pedestal_adu : float
        Electronic offset of the subs, where a person gave it; NaN where it is unknown.

    Returns
    -------
    Match
        A flat is chosen only where the offset of the sub and that of the flat itself are known: what is divided
        before its offset is gone turns vignetting round.
    """
    choice = _Choice(light, sets)
    bias, dark, scale = _offset_frames(choice)
    has_offset = dark is not None or bias is not None
    if bias is not None and dark is not None and scale == 1.0 and not (dark.is_master or dark.has_lost_bias):
        choice.refuse(next(n for n, one in enumerate(sets) if one is bias), say("the darks carry their own bias"))
        bias = None
    flat, flat_dark = _flat_frames(choice, pedestal_adu, has_offset=has_offset)
    return Match(dark, bias, flat, flat_dark, scale, tuple(choice.notes), choice.refused)


class _Choice:
    """The choice for one sub, while it is made."""

    def __init__(self, light: Conditions, sets: Sequence[FrameSet]) -> None:
        self.light, self.sets = light, sets
        self.notes: list[str] = []
        self.refused: dict[int, str] = {}

    def of_role(self, role: Role) -> list[tuple[int, FrameSet]]:
        return [(place, one) for place, one in enumerate(self.sets) if one.role is role]

    def refuse(self, place: int, why: Sentence) -> None:
        self.refused[place] = why

    def nearest(self, fitting: Sequence[tuple[int, FrameSet]], to: Conditions) -> FrameSet | None:
        """The set nearest in temperature, then in time; the larger one, then the first, where that does not decide.

        Flats and biases do not depend on the temperature.
        """
        if not fitting:
            return None
        kelvin = {place: _apart_k(one, to) if one.role is Role.DARK else 0 for place, one in fitting}
        best = min(
            fitting,
            key=lambda item: (kelvin[item[0]], _apart_s(item[1].conditions, to), -len(item[1].frames), item[0]),
        )
        for place, _ in fitting:
            if place != best[0] and place not in self.refused:
                is_warmer = kelvin[place] > kelvin[best[0]]
                self.refuse(
                    place,
                    say("another one is nearer in temperature")
                    if is_warmer
                    else say("another one is nearer in time, or larger"),
                )
        return best[1]


def _apart_k(frames: FrameSet, to: Conditions) -> int:
    """How far a set is apart in temperature, in whole degrees; 0 where one is unknown."""
    apart = abs(frames.conditions.setup.temperature_c - to.setup.temperature_c)
    return 0 if math.isnan(apart) else round(apart)


def _apart_s(one: Conditions, other: Conditions) -> float:
    apart = abs(one.moment_s - other.moment_s)
    return math.inf if math.isnan(apart) else apart


# --- darks and biases


def _offset_frames(choice: _Choice) -> tuple[FrameSet | None, FrameSet | None, float]:
    """The bias and the dark of the sub, and the scale of the latter."""
    light = choice.light
    unwanted = _unwanted_offset(light)
    for role in (Role.BIAS, Role.DARK):
        for place, one in choice.of_role(role):
            if unwanted and not (light.setup.subtracts_dark and one.is_given and not light.setup.calibrated):
                choice.refuse(place, unwanted)
    biases = _fitting(choice, Role.BIAS)
    bias = choice.nearest(biases, light)
    dark = choice.nearest(_fitting(choice, Role.DARK), light)
    if dark is not None:
        return bias, dark, 1.0
    return bias, *_scaled_dark(choice, bias)


def _unwanted_offset(light: Conditions) -> Sentence | None:
    """Why a sub needs neither dark nor bias; None if it does."""
    if set(light.setup.calibrated) & {"B", "D"}:
        return say("dark or bias were subtracted from the subs before (CALSTAT)")
    return say("the telescope subtracts a dark of its own") if light.setup.subtracts_dark else None


def _fitting(choice: _Choice, role: Role) -> list[tuple[int, FrameSet]]:
    """The sets of a kind that differ in nothing; the others are refused."""
    fitting = []
    for place, one in choice.of_role(role):
        if place in choice.refused:
            continue
        found = differences(choice.light, one)
        if found:
            choice.refuse(place, joined((difference.text for difference in found), ", "))
        else:
            fitting.append((place, one))
    return fitting


def _scaled_dark(choice: _Choice, bias: FrameSet | None) -> tuple[FrameSet | None, float]:
    """A dark of another exposure, where a bias is known, and its scale."""
    light = choice.light
    near = []
    for place, one in choice.of_role(Role.DARK):
        keys = [difference.key for difference in differences(light, one)]
        if keys == ["exposure"] and light.exposure_s > 0.0 and one.conditions.exposure_s > 0.0:
            near.append((place, one))
    if not near:
        return None, 1.0
    wanted = number_text(light.exposure_s)
    if bias is None:
        for place, one in near:
            choice.refuse(
                place,
                say(
                    "dark of {exposure} s for lights of {light} s; to be scaled it needs a bias",
                    exposure=number_text(one.conditions.exposure_s),
                    light=wanted,
                ),
            )
        return None, 1.0
    place, dark = min(
        near,
        key=lambda item: (
            abs(math.log(item[1].conditions.exposure_s / light.exposure_s)),
            _apart_k(item[1], light),
            _apart_s(item[1].conditions, light),
            item[0],
        ),
    )
    del choice.refused[place]
    exposure = number_text(dark.conditions.exposure_s)
    choice.notes.append(say("dark of {exposure} s for lights of {light} s; scaled", exposure=exposure, light=wanted))
    return dark, light.exposure_s / dark.conditions.exposure_s


# --- flats


def _flat_frames(choice: _Choice, pedestal_adu: float, *, has_offset: bool) -> tuple[FrameSet | None, FrameSet | None]:
    """The flat of the sub, and what takes the offset off it."""
    light, setup = choice.light, choice.light.setup
    offset_known = (
        has_offset
        or bool(setup.calibrated)
        or setup.subtracts_dark
        or setup.overscan is not None
        or math.isfinite(setup.black_level_adu)
        or math.isfinite(pedestal_adu)
    )
    fitting = []
    for place, one in _fitting_flats(choice):
        if not offset_known:
            choice.refuse(
                place,
                say("nothing tells the offset of the subs, which must go before a flat is divided: give darks, "
                    "biases or pedestal"),
            )  # fmt: skip
        elif not _knows_its_offset(choice, one, pedestal_adu):
            choice.refuse(place, say("nothing takes their own offset off: give dark-flats or biases"))
        else:
            fitting.append((place, one))
    flat = choice.nearest(fitting, light)
    return flat, None if flat is None else flat_offset(choice, flat)


def _fitting_flats(choice: _Choice) -> list[tuple[int, FrameSet]]:
    if "F" in choice.light.setup.calibrated:
        for place, _ in choice.of_role(Role.FLAT):
            choice.refuse(place, say("the subs were divided by a flat before (CALSTAT)"))
    return _fitting(choice, Role.FLAT)


def _knows_its_offset(choice: _Choice, flat: FrameSet, pedestal_adu: float) -> bool:
    setup = flat.conditions.setup
    return (
        flat.is_master
        or flat_offset(choice, flat, noted=False) is not None
        or setup.subtracts_dark
        or setup.overscan is not None
        or flat.has_lost_offset
        or math.isfinite(setup.black_level_adu)
        or math.isfinite(pedestal_adu)
    )


def offset_of_flats(
    flat: FrameSet, sets: Sequence[FrameSet], pedestal_adu: float = math.nan
) -> tuple[FrameSet | None, bool]:
    """What takes the offset off flats, and whether the flats can be used: with it, or because there is none."""
    choice = _Choice(flat.conditions, sets)
    is_known = _knows_its_offset(choice, flat, pedestal_adu)
    return flat_offset(choice, flat), is_known


def flat_offset(choice: _Choice, flat: FrameSet, *, noted: bool = True) -> FrameSet | None:
    """What takes the offset off a flat: a dark-flat or dark of its exposure, a bias, or the nearest dark-flat.

    None if nothing does, or if it is gone already.
    """
    if flat.is_master or flat.has_lost_offset:
        return None
    own = flat.conditions
    dark_flats = _of_flat(choice, flat, Role.DARK_FLAT)
    for fitting in (
        [item for item in dark_flats if _is_exposure_of(item[1], flat)],
        [item for item in _of_flat(choice, flat, Role.DARK) if _is_exposure_of(item[1], flat)],
        _of_flat(choice, flat, Role.BIAS),
    ):
        if fitting:
            return min(fitting, key=lambda item: (_apart_s(item[1].conditions, own), -len(item[1].frames), item[0]))[1]
    if not dark_flats:
        return None
    _, nearest = min(dark_flats, key=lambda item: (_exposure_ratio(item[1], own), item[0]))
    if noted:
        exposure, light = number_text(nearest.conditions.exposure_s), number_text(own.exposure_s)
        choice.notes.append(say("dark-flat of {exposure} s for flats of {light} s", exposure=exposure, light=light))
    return nearest


def _of_flat(choice: _Choice, flat: FrameSet, role: Role) -> list[tuple[int, FrameSet]]:
    """Sets of a kind that differ from the flat in nothing but exposure and temperature."""
    return [
        (place, one)
        for place, one in choice.of_role(role)
        if {difference.key for difference in differences(flat.conditions, one)} <= {"exposure", "temperature"}
    ]


def _exposure_ratio(one: FrameSet, other: Conditions) -> float:
    if one.conditions.exposure_s > 0.0 and other.exposure_s > 0.0:
        return abs(math.log(one.conditions.exposure_s / other.exposure_s))
    return math.inf


def _is_exposure_of(dark: FrameSet, flat: FrameSet) -> bool:
    """True if a dark is as long as each of the flats."""
    return all(_same_exposure(dark.conditions.exposure_s, exposure) for exposure in flat.exposures_s)


def _same_exposure(one: float, other: float) -> bool:
    return abs(one - other) <= EXPOSURE_SHARE * max(abs(one), abs(other))  # false for one that is unknown


# --- what differs


def differences(light: Conditions, frames: FrameSet) -> list[Difference]:
    """What keeps a set of frames from a sub (or dark-flats from flats); empty if nothing does.

    What one of the headers does not tell does not differ, but for the camera: frames that do not name it are taken
    where their gain agrees, or where a person gave them.
    """
    own, role = frames.conditions, frames.role
    found = [*_camera_differences(light, frames), *_setting_differences(light, own)]
    if role in (Role.DARK, Role.DARK_FLAT):
        found += _exposure_differences(light, own)
    if role is Role.DARK:
        found += _number_difference("temperature", light.setup.temperature_c, own.setup.temperature_c, TEMPERATURE_K)
    if role is Role.FLAT:
        found += _optics_differences(light, own)
    return found


def _camera_differences(light: Conditions, frames: FrameSet) -> Iterable[Difference]:
    mine, setup = light.setup, frames.conditions.setup
    if mine.camera and setup.camera and mine.camera.casefold() != setup.camera.casefold():
        yield Difference("camera", say("camera {mine} against {light}", mine=setup.camera, light=mine.camera))
    elif mine.serial and setup.serial and mine.serial != setup.serial:
        yield Difference("camera", say("camera {mine} against {light}", mine=setup.serial, light=mine.serial))
    elif mine.camera and not setup.camera and not frames.is_given and not _agree(mine.gain, setup.gain, _GAIN_STEP):
        yield Difference(
            "camera",
            say(
                "the header names neither camera nor gain; if it fits, name its folder with --darks, --flats or "
                "--biases"
            ),
        )


def _setting_differences(light: Conditions, own: Conditions) -> Iterable[Difference]:
    if light.shape != own.shape:
        mine, theirs = (f"{c.shape[1]} x {c.shape[0]}" for c in (own, light))
        yield Difference("size", say("{mine} pixels against {light}", mine=mine, light=theirs))
    elif light.is_cube != own.is_cube:
        yield Difference("size", say("one has three colours a pixel, the other has one"))
    if 0 not in (*light.setup.binning, *own.setup.binning) and light.setup.binning != own.setup.binning:
        mine, theirs = ("x".join(map(str, c.setup.binning)) for c in (own, light))
        yield Difference("binning", say("binning {mine} against {light}", mine=mine, light=theirs))
    yield from _number_difference("gain", light.setup.gain, own.setup.gain, _GAIN_STEP)
    yield from _number_difference("offset", light.setup.offset, own.setup.offset, _GAIN_STEP)
    if light.bayer and own.bayer and light.bayer != own.bayer:
        yield Difference("Bayer", say("Bayer pattern {mine} against {light}", mine=own.bayer, light=light.bayer))
    if light.setup.readout and own.setup.readout and light.setup.readout.casefold() != own.setup.readout.casefold():
        mine, theirs = own.setup.readout, light.setup.readout
        yield Difference("readout", say("readout mode {mine} against {light}", mine=mine, light=theirs))


def _exposure_differences(light: Conditions, own: Conditions) -> Iterable[Difference]:
    if math.isfinite(light.exposure_s + own.exposure_s) and not _same_exposure(light.exposure_s, own.exposure_s):
        mine, theirs = number_text(own.exposure_s), number_text(light.exposure_s)
        yield Difference("exposure", say("exposure {mine} s against {light} s", mine=mine, light=theirs))


def _optics_differences(light: Conditions, own: Conditions) -> Iterable[Difference]:
    if light.filter and own.filter and light.filter.casefold() != own.filter.casefold():
        yield Difference("filter", say("filter {mine} against {light}", mine=own.filter, light=light.filter))
    mine, theirs = own.setup.telescope, light.setup.telescope
    if mine and theirs and mine.casefold() != theirs.casefold():
        yield Difference("telescope", say("telescope {mine} against {light}", mine=mine, light=theirs))
    apart = abs((light.setup.rotation_deg - own.setup.rotation_deg + 180.0) % 360.0 - 180.0)
    if apart > _ROTATION_DEG:
        angle, wanted = own.setup.rotation_deg, light.setup.rotation_deg
        yield Difference("rotation", say("rotator at {mine:.0f}° against {light:.0f}°", mine=angle, light=wanted))


def _number_difference(key: str, light: float, own: float, tolerance: float) -> Iterable[Difference]:
    if math.isnan(light + own) or abs(light - own) <= tolerance:
        return
    if key == "gain":
        yield Difference(key, say("gain {mine:g} against {light:g}", mine=own, light=light))
    elif key == "offset":
        yield Difference(key, say("offset {mine:g} against {light:g}", mine=own, light=light))
    else:
        yield Difference(key, say("temperature {mine:.1f} °C against {light:.1f} °C", mine=own, light=light))


def _agree(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) <= tolerance  # false where one is unknown
