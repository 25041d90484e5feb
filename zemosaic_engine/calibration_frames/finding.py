"""Finds calibration frames: those that lie among the subs, those that options name, and those of a library."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import SettingsError, SubError
from ..sentences import say
from ..settings import GridSettings
from ..subs.camera_setup import CameraSetup
from ..subs.doubles import find_doubles, is_packed
from ..subs.faults import read_guarded
from ..subs.folder import list_folder
from ..subs.frames import UnsolvedSub, sub_of_image
from ..subs.image_files import find_image, kind_of
from ..subs.roles import CALIBRATION, FolderFile, Role, role_of_file, role_of_folder, role_of_header, role_of_name
from .records import CalibrationFrame, Conditions, FrameSet, LeftOut, group_frames

#: Setting that names the frames of each role.
OPTIONS = {Role.DARK: "darks", Role.FLAT: "flats", Role.BIAS: "biases", Role.DARK_FLAT: "dark_flats"}


@dataclass(frozen=True)
class FoundFrames:
    """The calibration frames that a run may use.

    Attributes
    ----------
    sets : tuple of FrameSet
    left_out : tuple of LeftOut
        Frames that cannot be read, or are something else.
    """

    sets: tuple[FrameSet, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


#: Of a run that uses none.
NO_FRAMES = FoundFrames()


def find_frames(
    beside: Sequence[FolderFile],
    settings: GridSettings,
    refused: Callable[[Path], str] = lambda path: "",
    check: Callable[[], None] = lambda: None,
) -> FoundFrames:
    """Find the calibration frames of a run and read their headers.

    Parameters
    ----------
    beside : sequence of FolderFile
        What lies in the input folder beside the lights.
    settings : GridSettings
        An option that names frames of a kind replaces those of that kind beside the lights; the library is looked
        into as well.
    refused : callable, optional
        ``refused(path)`` says why a file is not to be touched; empty where it may be.
    check : callable, optional
        Called before each file; it may raise to stop.

    Raises
    ------
    SettingsError
        If a folder that a setting names cannot be read; with ``calibration = require`` also if a frame is left out,
        or there is none.
    """
    if settings.calibration == "off":
        return FoundFrames()
    reader = _Reader(settings.saturation_adu, refused, check)
    for file in beside:
        if file.role in CALIBRATION and not getattr(settings, OPTIONS[file.role]):
            reader.take(file)
    for role, option in OPTIONS.items():
        if getattr(settings, option):
            reader.take_given(role, Path(getattr(settings, option)), option)
    if settings.calibration_dir:
        reader.take_library(Path(settings.calibration_dir))
    frames, doubles = _without_doubles(reader.frames, check)
    found = FoundFrames(tuple(group_frames(frames)), (*reader.left_out, *doubles))
    if settings.calibration == "require":
        require_all(found)
    return found


def _without_doubles(
    frames: Sequence[CalibrationFrame], check: Callable[[], None]
) -> tuple[list[CalibrationFrame], list[LeftOut]]:
    """The frames but those that are copies of others, as programs make them in their working folders.

    Only files that tell when they were taken are compared, since frames of few numbers may be alike by chance, and no
    packed ones: that would decode all of them.
    """
    by_role: dict[Role, list[UnsolvedSub]] = defaultdict(list)
    for frame in frames:
        if frame.sub.date_obs and not frame.is_master and not is_packed(frame.sub):
            by_role[frame.role].append(frame.sub)
    kept = {id(double.sub): double.kept for subs in by_role.values() for double in find_doubles(subs, check)}
    left_out = [
        LeftOut(str(frame.path), say("it holds the same pixels as {name}", name=kept[id(frame.sub)].path.name))
        for frame in frames
        if id(frame.sub) in kept
    ]
    return [frame for frame in frames if id(frame.sub) not in kept], left_out


def require_all(found: FoundFrames) -> None:
    """Raise `SettingsError` if a frame is left out, or there is none at all."""
    if found.left_out:
        first = found.left_out[0]
        raise SettingsError(
            say(
                "The calibration frame {path} cannot be used ({reason}) and calibration = require: replace or "
                "remove it, or choose auto.",
                path=first.path,
                reason=first.reason,
            )
        )
    if not found.sets:
        raise SettingsError(
            say(
                "No calibration frame was found and calibration = require: name some with --darks, --flats, "
                "--biases or calibration_dir, or choose auto."
            )
        )


_LOOKED_AT = 100  # files of a folder that a person drops


def setting_for(place: Path) -> str:
    """The setting that a folder or file of calibration frames is for: its kind, or the library where there are several.

    Parameters
    ----------
    place : Path
        What a person dropped.

    Raises
    ------
    SettingsError
        If it holds no calibration frame.
    """
    role = role_of_folder(place.name) if place.is_dir() else None
    if role in OPTIONS:
        return OPTIONS[role]
    paths = list(_images_of(place, "calibration_dir")) if place.is_dir() else [place]
    roles = set()
    for path in paths[:_LOOKED_AT]:
        try:
            header = read_guarded(path, partial(find_image, path)).header
        except SubError:
            continue
        roles.add(role_of_file(path, place, header).role)
    kinds = roles & set(CALIBRATION)
    if not kinds:
        raise SettingsError(say("{place} holds no dark, flat, bias or dark-flat.", place=place))
    return OPTIONS[kinds.pop()] if len(kinds) == 1 else "calibration_dir"


class _Reader:
    """Reads the headers of calibration frames, each file once."""

    def __init__(self, saturation_adu: float, refused: Callable[[Path], str], check: Callable[[], None]) -> None:
        self._saturation_adu, self._refused, self._check = saturation_adu, refused, check
        self._seen: set[Path] = set()
        self.frames: list[CalibrationFrame] = []
        self.left_out: list[LeftOut] = []

    def take(self, file: FolderFile, *, is_given: bool = False) -> None:
        """Take a file whose role is known; one that cannot be read is left out."""
        real = file.path.resolve()
        if real in self._seen:
            return
        self._seen.add(real)
        self._check()
        try:
            if reason := self._refused(file.path):
                raise SubError(file.path, reason)
            sub = self._read(file)
        except SubError as error:
            self.left_out.append(LeftOut(str(error.path), error.reason))
            return
        sub = told_by_name(sub)
        self.frames.append(CalibrationFrame(file.role, sub, Conditions.of(sub), file.is_master, is_given))

    def _read(self, file: FolderFile) -> UnsolvedSub:
        image = read_guarded(file.path, partial(find_image, file.path))
        if file.header:  # what other files told of it is in there too
            image = replace(image, header=file.header)
        sub = sub_of_image(file.path, image, saturation_adu=self._saturation_adu)
        if isinstance(sub, UnsolvedSub):
            return sub
        return UnsolvedSub(**sub.facts(), header=image.header)

    def take_given(self, role: Role, place: Path, option: str) -> None:
        """Take the frames that an option names: a file, or all images of a folder."""
        if place.is_file():
            self._take_named(role, place, is_alone=True)
            return
        paths = list(_images_of(place, option))
        if not paths:
            self.left_out.append(LeftOut(str(place), say("no image is in this folder")))
        for path in paths:
            self._take_named(role, path, is_alone=False)

    def _take_named(self, role: Role, path: Path, *, is_alone: bool) -> None:
        try:
            header = read_guarded(path, partial(find_image, path)).header
        except SubError as error:
            self.left_out.append(LeftOut(str(error.path), error.reason))
            return
        by_header, by_name = role_of_header(header), role_of_name(path.stem)
        if not is_alone and by_header is not None and by_header[0] in CALIBRATION and by_header[0] is not role:
            self.left_out.append(LeftOut(str(path), say("it is a {role}: {why}", role=by_header[0], why=by_header[1])))
            return
        is_master = any(told is not None and told[0] is role and told[-1] for told in (by_header, by_name))
        self.take(FolderFile(path, role, "an option names it", is_master, header), is_given=True)

    def take_library(self, folder: Path) -> None:
        """Take all calibration frames of a library; what the folder itself is called counts: it may be ``darks``."""
        folder = folder if folder.name else folder.absolute()  # of "." nothing would be told
        for path in _images_of(folder, "calibration_dir"):
            try:
                header = read_guarded(path, partial(find_image, path)).header
            except SubError as error:
                self.left_out.append(LeftOut(str(error.path), error.reason))
                continue
            file = role_of_file(path, folder.parent, header)
            if file.role in CALIBRATION:
                self.take(file)


def _images_of(folder: Path, option: str) -> Iterable[Path]:
    if not folder.is_dir():
        raise SettingsError(
            say("The setting {option} names {folder}, which is neither a folder nor a file.", option=option,
                folder=folder)
        )  # fmt: skip
    return [path for path in list_folder(folder).files if kind_of(path).is_image]


# --- what names of files tell

_BIAS_IS_GONE = "pp_"  # as Siril calls calibration frames that it has calibrated themselves
_IN_NAMES = {
    "exposure": re.compile(r"exp[_ \-]?(\d+(?:\.\d+)?)"),
    "gain": re.compile(r"gain[_ \-]?(\d+)"),
    "binning": re.compile(r"bin[_ \-]?(\d)"),
    "temperature": re.compile(r"(-?\d+(?:\.\d+)?) ?c(?=[_\W]|$)"),
}


def told_by_name(sub: UnsolvedSub) -> UnsolvedSub:
    """The same sub with what only its name tells, as ``dark_exp_60_gain_60_bin_1_22C`` of a Dwarf telescope."""
    name = sub.path.stem.lower()
    told = {key: float(match[1]) for key, pattern in _IN_NAMES.items() if (match := pattern.search(name))}
    setup: CameraSetup = sub.setup
    if math.isnan(setup.gain) and "gain" in told:
        setup = replace(setup, gain=told["gain"])
    if 0 in setup.binning and "binning" in told:
        setup = replace(setup, binning=(int(told["binning"]),) * 2)
    if math.isnan(setup.temperature_c) and "temperature" in told:
        setup = replace(setup, temperature_c=told["temperature"])
    if name.startswith(_BIAS_IS_GONE) and "B" not in setup.calibrated:
        setup = replace(setup, calibrated="B" + setup.calibrated)
    exposure_s = told.get("exposure", sub.exposure_s) if math.isnan(sub.exposure_s) else sub.exposure_s
    return replace(sub, setup=setup, exposure_s=exposure_s)
