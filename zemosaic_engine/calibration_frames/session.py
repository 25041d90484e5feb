"""The calibration frames of one run: matched to its subs, made into masters, and turned into corrections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import RunError
from ..events import Level, Reporter
from ..executors.executor import Executor
from ..machine.memory import size_text
from ..resume.checkpoints import Checkpoints
from ..sentences import joined, say
from ..settings import GridSettings
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo, channels_last
from ..subs.image_files import read_image
from ..subs.sensor_correction import SensorCorrection
from .corrections import ChosenMasters, correction_of, has_no_offset, lacks_structure_of
from .finding import FoundFrames
from .making import MasterMaker, Save
from .masters import UNIT_ADU, UNIT_TOP, Workshop
from .matching import Match, match
from .records import Conditions, FrameSet, LeftOut
from .screening import sketch

_NOISE_SHARE = 0.05  # of the variance of the subs: what a master adds is worth a word


@dataclass(frozen=True)
class MasterFacts:
    """What a report says of a master."""

    name: str
    role: str
    frames: int
    level: float
    noise: float
    frame_noise: float
    left_out: Sequence[LeftOut] = ()


@dataclass(frozen=True)
class CalibrationFacts:
    """What a report says of the calibration frames of a run.

    Attributes
    ----------
    masters : sequence of MasterFacts
    choices : mapping of str to int
        Number of subs by what is done to them.
    notes : sequence of str
        What a person should know of the choices.
    unused : sequence of tuple of str
        Sets that serve no sub, and why.
    left_out : sequence of LeftOut
        Frames that are in no master.
    """

    masters: Sequence[MasterFacts] = ()
    choices: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    unused: Sequence[tuple[str, str]] = ()
    left_out: Sequence[LeftOut] = ()


#: Of a run that uses none.
NO_FACTS = CalibrationFacts()


@dataclass(frozen=True)
class FrameCalibration:
    """What calibration frames do to the subs of a run.

    Attributes
    ----------
    corrections : mapping of Path to SensorCorrection
        By the path of the sub; subs without one are left as they are.
    matches : mapping of Path to Match
    facts : CalibrationFacts
    """

    corrections: Mapping[Path, SensorCorrection] = field(default_factory=dict)
    matches: Mapping[Path, Match] = field(default_factory=dict)
    facts: CalibrationFacts = NO_FACTS

    def correction(self, info: SubInfo) -> SensorCorrection | None:
        """The correction of a sub, or None."""
        return self.corrections.get(info.path)

    def columns(self, infos: Sequence[SubInfo]) -> dict[str, list[str]]:
        """Columns of a table of subs: the calibration frames of each, and notes; empty where none is used."""
        if not self.matches:
            return {}
        chosen = [self.matches.get(info.path, Match()) for info in infos]
        columns = {
            kind: [_set_name(getattr(one, kind)) for one in chosen] for kind in ("dark", "bias", "flat", "flat_dark")
        }
        return {**columns, "calibration_note": ["; ".join(one.notes) for one in chosen]}

    @property
    def nbytes(self) -> int:
        """Memory of all masters that are applied."""
        arrays = {id(a): a.nbytes for c in self.corrections.values() for a in (c.offset, c.factor) if a is not None}
        return sum(arrays.values())


def _set_name(frames: FrameSet | None) -> str:
    return "" if frames is None else str(frames.name)


NOTHING = FrameCalibration()


def calibrate_frames(
    found: FoundFrames,
    infos: Sequence[SubInfo],
    settings: GridSettings,
    workshop: Workshop,
    checkpoints: Checkpoints,
    reporter: Reporter,
    save: Save | None = None,
    executor: Executor | None = None,
) -> FrameCalibration:
    """Match calibration frames to the subs of a run and prepare what they do to them.

    Parameters
    ----------
    found : FoundFrames
    infos : sequence of SubInfo
    settings : GridSettings
    workshop : Workshop
        What masters are made with.
    checkpoints : Checkpoints
        Where masters are kept and found.
    reporter : Reporter
        Every choice and every exclusion is logged with its reason.
    save : callable, optional
        Called with each set and its master.
    executor : Executor, optional
        The workers that make masters.

    Returns
    -------
    FrameCalibration

    Raises
    ------
    RunError
        With ``calibration = require``: if a frame is left out, or a sub lacks a kind that was found.
    """
    maker = MasterMaker(settings, workshop, checkpoints, reporter, save, executor)
    maker.leave_out(found.left_out)
    if not found.sets:
        return NOTHING if not found.left_out else FrameCalibration(facts=CalibrationFacts(left_out=found.left_out))
    return _Session(found, infos, settings, maker, reporter).run()


class _Session:
    """One preparation; sets of which no frame is left are dropped, and the subs matched again."""

    def __init__(
        self,
        found: FoundFrames,
        infos: Sequence[SubInfo],
        settings: GridSettings,
        maker: MasterMaker,
        reporter: Reporter,
    ) -> None:
        self._found, self._infos, self._settings = found, infos, settings
        self._maker, self._reporter = maker, reporter
        self._sets = list(found.sets)
        self._lights = {info.path: Conditions.of(info) for info in infos}
        self._unused: list[tuple[str, str]] = []

    def run(self) -> FrameCalibration:
        while True:
            matches = match_all(self._lights, self._sets, self._settings.pedestal_adu)
            lost = self._make(_needed(matches))
            if not lost:
                break
            gone = {id(frames) for frames, _ in lost}
            self._sets = [frames for frames in self._sets if id(frames) not in gone]
        self._report(matches)
        if self._settings.calibration == "require":
            self._require(matches)
        corrections = self._corrections(matches)
        calibration = FrameCalibration(corrections, matches, self._facts(matches))
        if calibration.nbytes:
            size = size_text(calibration.nbytes)
            self._reporter.log(say("Masters that are applied to the subs take {size} of memory", size=size))
        return calibration

    def _make(self, needed: Sequence[tuple[FrameSet, Match]]) -> list[tuple[FrameSet, Match]]:
        """Make all masters; those of which no frame is left."""
        flats = [one for one in needed if one[0] is one[1].flat]
        others = [one for one in needed if one[0] is not one[1].flat]
        made = self._maker.make_ahead([(frames, None) for frames, _ in others])
        lost = [one for one in others if not self._is_made(*one) or self._lacks_its_bias(*one)]
        made += self._maker.make_ahead([(frames, chosen.flat_dark) for frames, chosen in flats])
        if made:
            self._reporter.log(say("Workers made {n} of {total} masters", n=made, total=len(needed)))
        return lost + [one for one in flats if not self._is_made(*one)]

    def _is_made(self, frames: FrameSet, chosen: Match) -> bool:
        """Make the master of a set; False if no frame of it is left."""
        offset = chosen.flat_dark if frames is chosen.flat else None
        if offset is not None and not self._maker.has(offset):
            return True  # what it is made with is lost: it is made once the subs are matched again
        return self._maker.make(frames, offset)

    def _lacks_its_bias(self, frames: FrameSet, chosen: Match) -> bool:
        """True for a dark without the offset of the subs, where no bias tells it: it is left out."""
        if frames is not chosen.dark or chosen.bias is not None:
            return False
        if not (frames.has_lost_bias or (frames.is_master and has_no_offset(self._maker.master(frames)))):
            return False
        reason = say("its bias was subtracted when it was made: give biases as well")
        self._maker.leave_out([LeftOut(str(frames.frames[0].path), reason)])
        return True

    # --- what is told

    def _report(self, matches: Mapping[Path, Match]) -> None:
        choices = _choices(matches)
        for text, count in choices.items():
            told = text or say("no calibration frame matches")
            self._reporter.log(say("Calibration of {n} subs: {what}", n=count, what=told), "INFO" if text else "WARN")
        for note in dict.fromkeys(note for one in matches.values() for note in one.notes):
            self._reporter.log(say("Calibration: {what}", what=note), "WARN")
        for place, frames in enumerate(self._sets):
            reason = _why_unused(place, frames, list(matches.values()))
            if reason:
                level: Level = "INFO" if any(choices) else "WARN"  # nothing is used: people want to know why
                self._reporter.log(say("Not used: {what}: {reason}", what=frames.name, reason=reason), level)
                self._unused.append((frames.name, reason))

    def _require(self, matches: Mapping[Path, Match]) -> None:
        """Raise `RunError` unless every frame is used and every sub has all kinds that were found."""
        kinds = {frames.role for frames in self._found.sets}
        if self._maker.left_out:
            raise RunError(
                say(
                    "The calibration frame {path} cannot be used ({reason}) and calibration = require: replace or "
                    "remove it, or choose auto.",
                    path=self._maker.left_out[0].path,
                    reason=self._maker.left_out[0].reason,
                )
            )
        for path, one in matches.items():
            missing = [kind for kind in ("dark", "flat") if kind in kinds and getattr(one, kind) is None]
            if "bias" in kinds and one.dark is None and one.bias is None:
                missing.append("bias")
            if missing:
                of_them = [why for place, why in one.refused.items() if self._sets[place].role in missing]
                why = joined(dict.fromkeys(of_them)) if of_them else say("none was found")
                raise RunError(
                    say(
                        "No {kinds} matches the sub {path} and calibration = require: {reason}. Add what is missing, "
                        "or choose auto.",
                        kinds=", ".join(missing),
                        path=path,
                        reason=why,
                    )
                )

    def _facts(self, matches: Mapping[Path, Match]) -> CalibrationFacts:
        masters = []
        for frames, _ in _needed(matches):
            master = self._maker.master(frames)
            masters.append(
                MasterFacts(
                    str(frames.name), str(frames.role), master.frames, master.level, master.noise, master.frame_noise,
                    master.left_out,
                )
            )  # fmt: skip
        notes = list(dict.fromkeys(note for one in matches.values() for note in one.notes))
        return CalibrationFacts(masters, _choices(matches), notes, self._unused, self._maker.left_out)

    # --- corrections

    def _corrections(self, matches: Mapping[Path, Match]) -> dict[Path, SensorCorrection]:
        """A correction for each sub that has a match; subs of one setting share theirs."""
        made: dict[Hashable, SensorCorrection] = {}
        corrections = {}
        for info in self._infos:
            one, light = matches[info.path], self._lights[info.path]
            if one.is_empty:
                continue
            setup = light.setup
            frames = (id(one.dark), id(one.bias), id(one.flat), one.dark_scale)
            told = (setup.pedestal_adu, setup.black_level_adu, setup.calibrated, setup.overscan, setup.exposed)
            key = (*frames, *(str(fact) for fact in told), math.isinf(info.saturation_adu))
            if key not in made:
                made[key] = self._correction(info, light, one)
            corrections[info.path] = made[key]
        return corrections

    def _correction(self, info: SubInfo, light: Conditions, one: Match) -> SensorCorrection:
        chosen_sets = (one.dark, one.bias, one.flat)
        dark, bias, flat = (None if frames is None else self._maker.master(frames) for frames in chosen_sets)
        keys = tuple("" if frames is None else self._maker.key(frames) for frames in chosen_sets)
        usual = usual_of(info)
        unit, noise_adu = usual.unit, usual.noise_adu
        has_lost_bias = one.dark is not None and one.dark.has_lost_bias
        if one.dark is not None and one.dark.is_master and dark is not None and bias is not None:
            fits_twice = bias.level + one.dark_scale * dark.level <= usual.level_adu + noise_adu
            has_lost_bias |= fits_twice and lacks_structure_of(dark, bias)
        chosen = ChosenMasters(dark, bias, flat, one.dark_scale, keys, has_lost_bias)
        if dark is not None and one.dark is not None:
            self._report_noise(one.dark, one.dark_scale * dark.noise, noise_adu)
        elif bias is not None and one.bias is not None:
            self._report_noise(one.bias, bias.noise, noise_adu)
        return correction_of(chosen, light, unit=unit, pedestal_adu=self._settings.pedestal_adu)

    def _report_noise(self, frames: FrameSet, master_adu: float, noise_adu: float) -> None:
        """Warn of a master that makes the subs noisier; their weights are measured with it and follow."""
        share = (master_adu / noise_adu) ** 2 if noise_adu > 0.0 else math.nan
        if share > _NOISE_SHARE:
            self._reporter.log(
                say(
                    "{what}: the noise of the master ({noise:.3g} ADU a pixel) adds {share:.0f} % to the variance of "
                    "the subs; more frames lower it",
                    what=frames.name,
                    noise=master_adu,
                    share=100.0 * share,
                ),
                "WARN",
            )


def _needed(matches: Mapping[Path, Match]) -> list[tuple[FrameSet, Match]]:
    """Sets that the subs need, each once with a match that does, those that others are made with first."""
    needed: dict[int, tuple[FrameSet, Match]] = {}
    for one in matches.values():
        for frames in one.used:
            needed.setdefault(id(frames), (frames, one))
    return sorted(needed.values(), key=lambda item: item[0] is item[1].flat)


def described(found: FoundFrames, lights: Mapping[Path, Conditions], pedestal_adu: float = math.nan) -> list[str]:
    """What was found and what it would be used for, a sentence each; no pixel is read.

    Parameters
    ----------
    found : FoundFrames
    lights : mapping of Path to Conditions
        Of the subs.
    pedestal_adu : float
        As in `matching.match`.
    """
    matches = list(match_all(lights, found.sets, pedestal_adu).values())
    told: list[str] = []
    for place, frames in enumerate(found.sets):
        served = sum(any(used is frames for used in one.used) for one in matches)
        if served:
            told.append(say("{what}: for {n} of {total} subs", what=frames.name, n=served, total=len(lights)))
        else:
            told.append(say("{what}: not used, {reason}", what=frames.name, reason=_why_unused(place, frames, matches)))
    told += list(dict.fromkeys(note for one in matches for note in one.notes))
    return told + [say("{name}: {reason}", name=Path(one.path).name, reason=one.reason) for one in found.left_out]


def match_all(
    lights: Mapping[Path, Conditions], sets: Sequence[FrameSet], pedestal_adu: float = math.nan
) -> dict[Path, Match]:
    """The match of each sub; subs of one setting and hour are matched once."""
    known: dict[str, Match] = {}
    matches = {}
    for path, light in lights.items():
        setup = light.setup
        tenth = np.round(setup.temperature_c, 1)  # sensors are read to a hundredth
        key = repr(replace(light, moment_s=light.moment_s // 3600.0, setup=replace(setup, temperature_c=tenth)))
        if key not in known:
            known[key] = match(light, sets, pedestal_adu)
        matches[path] = known[key]
    return matches


def _choices(matches: Mapping[Path, Match]) -> dict[str, int]:
    """Number of subs by the frames that are chosen for them."""
    return dict(Counter("; ".join(frames.name for frames in one.used) for one in matches.values()))


def _why_unused(place: int, frames: FrameSet, matches: Sequence[Match]) -> str:
    """Why a set serves no sub, in the words of most of them; empty if it does."""
    if any(used is frames for one in matches for used in one.used):
        return ""
    reasons = Counter(one.refused[place] for one in matches if place in one.refused)
    if reasons:
        return reasons.most_common(1)[0][0]
    return say("nothing needs it")


@dataclass(frozen=True)
class UsualSub:
    """A few numbers of the pixels of a sub.

    Attributes
    ----------
    unit : float
        Value of one ADU in its file: 1, or 1/65535 where floating-point values are shares of the full range.
    level_adu, noise_adu : float
        Its median, and the noise of a pixel.
    """

    unit: float
    level_adu: float
    noise_adu: float


def usual_of(info: SubInfo) -> UsualSub:
    """The numbers of a sub.

    Raises
    ------
    SubError
        If it cannot be read.
    """

    def look() -> UsualSub:
        raw = read_image(info.path, info.hdu)
        pixels = channels_last(raw, info).astype(np.float32, copy=False)
        top = float(np.nanmax(pixels)) if raw.dtype.kind == "f" and np.isfinite(pixels).any() else math.inf
        unit = 1.0 / UNIT_ADU if top <= UNIT_TOP else 1.0
        seen = sketch(pixels)
        return UsualSub(unit, float(seen.levels.mean()) / unit, seen.noise / unit)

    return read_guarded(info.path, look)
