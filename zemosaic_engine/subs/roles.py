"""Roles of files: light, calibration frame, stack, picture.

Three things tell: its header, the folder that it lies in, and its name. A header that names a calibration frame or a
stack is believed, then a folder that is called after one (programs write ``IMAGETYP = 'Light'`` by default, people
name their folders), then what else the header says, then the name. A file with a plate solution is no calibration
frame, whatever its name and its folder say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..fits.headers import CardValue, HeaderCards


class Role(StrEnum):
    """The role of a file."""

    LIGHT = "light"
    DARK = "dark"
    FLAT = "flat"
    BIAS = "bias"
    DARK_FLAT = "dark-flat"
    STACK = "stack"
    PROCESSED = "processed"  # a light that another program wrote anew
    FAILED = "failed"  # a light that the telescope itself refused
    SNAPSHOT = "snapshot"
    PICTURE = "picture"
    DOUBLE = "double"  # the same exposure as another file


#: Frames that calibrate others.
CALIBRATION = (Role.DARK, Role.FLAT, Role.BIAS, Role.DARK_FLAT)


@dataclass(frozen=True)
class FolderFile:
    """A file of a folder and what it is for.

    Attributes
    ----------
    path : Path
    role : Role
    told_by : str
        How the role is known, as the rest of a sentence about the file.
    is_master : bool
        True for a calibration frame that was made of several.
    header : HeaderCards
        All cards of its header; empty for what is no image with one.
    """

    path: Path
    role: Role
    told_by: str
    is_master: bool = False
    header: HeaderCards = field(default_factory=lambda: HeaderCards({}))


# --- by the header

_TYPE_CARDS = ("IMAGETYP", "IMGTYPE", "IMAGETYPE", "FRAME", "FRAMETYP", "OBSTYPE")
#: The first that fits holds; matched to the value in small letters without anything else.
_TYPES = (
    (re.compile(r"^light(?!.*(master|stack|integration))"), Role.LIGHT),  # whatever nebula is named behind it
    (re.compile(r"darkflat|flatdark"), Role.DARK_FLAT),
    (re.compile(r"bias|^offset|^zero"), Role.BIAS),
    (re.compile(r"dark"), Role.DARK),
    (re.compile(r"flat"), Role.FLAT),
    (re.compile(r"snapshot|focus|preview|^test"), Role.SNAPSHOT),
    (re.compile(r"stack|integration|masterlight|lightmaster"), Role.STACK),
    (re.compile(r"light|object|science"), Role.LIGHT),
)
_OUR_CREATOR = "ZeMosaic"


def role_of_header(cards: Mapping[str, CardValue]) -> tuple[Role, str, bool] | None:
    """The role that a header names, how, and whether it is that of a master; None if it names none."""
    header = HeaderCards(cards)
    card, value = next(((card, header.text(card)) for card in _TYPE_CARDS if header.text(card)), ("", ""))
    letters = re.sub("[^a-z]", "", value.lower())
    named = next((role for pattern, role in _TYPES if pattern.search(letters)), None)
    count = _frame_count(header)
    is_master = "master" in letters or count > 1
    if named in CALIBRATION:
        return named, f"its {card} is {value!r}", is_master
    if header.text("CREATOR").startswith(_OUR_CREATOR) and "NTILES" in header:
        return Role.STACK, "it is a mosaic of this program", False
    if count > 1:
        return Role.STACK, f"it was made of {count} frames", False
    return None if named is None else (named, f"its {card} is {value!r}", False)


def _frame_count(header: HeaderCards) -> int:
    return max(header.integer("STACKCNT"), header.integer("NCOMBINE"))


def has_plate_solution(header: HeaderCards) -> bool:
    """True if the header says where the image points, well or badly."""
    return header.text("CTYPE1").upper().startswith(("RA", "DEC", "GL"))


# --- by the place

#: Words that a folder of calibration frames may be called besides what they are.
_FILLERS = frozenset(
    re.findall(
        "[a-z]+",
        "master masters frame frames library lib calibration cali calib calibrations cal sub subs raw raws dwarf tele "
        "wide cam exp exposure s sec secs seconds ms min gain iso offset bin binning temp c deg filter l r g b lum red "
        "luminance green blue ha h oiii sii lp ircut duo duoband astro vis clear night session nuit my new old",
    )
)
_ROLE_WORDS = {
    "dark": Role.DARK, "darks": Role.DARK, "flat": Role.FLAT, "flats": Role.FLAT, "bias": Role.BIAS,
    "biases": Role.BIAS, "offsets": Role.BIAS, "darkflat": Role.DARK_FLAT, "darkflats": Role.DARK_FLAT,
    "flatdark": Role.DARK_FLAT, "flatdarks": Role.DARK_FLAT, "dflat": Role.DARK_FLAT, "dflats": Role.DARK_FLAT,
    "masterdark": Role.DARK, "masterflat": Role.FLAT, "masterbias": Role.BIAS, "masterdarkflat": Role.DARK_FLAT,
    "masterdarks": Role.DARK, "masterflats": Role.FLAT, "flatfield": Role.FLAT, "flatfields": Role.FLAT,
    "snapshot": Role.SNAPSHOT, "snapshots": Role.SNAPSHOT, "preview": Role.SNAPSHOT, "previews": Role.SNAPSHOT,
    "light": Role.LIGHT, "lights": Role.LIGHT,
    "stacks": Role.STACK, "stacked": Role.STACK, "restacked": Role.STACK,
}  # fmt: skip
_WORD = re.compile(r"[a-zà-ÿ]+")
_BOTH = (("dark", "flat"), ("dark", "flats"), ("flat", "dark"), ("flat", "darks"))


def role_of_folder(name: str) -> Role | None:
    """The role of the files in a folder by its name; None if it is called something else.

    ``Darks``, ``DARK_180s_gain100`` and ``01-darks`` hold darks; ``Dark Shark Nebula`` does not, because of
    the words that say nothing of a calibration frame.
    """
    words = _WORD.findall(name.lower())
    if any(word not in _ROLE_WORDS and word not in _FILLERS for word in words):
        return None
    named = [word for word in words if word in _ROLE_WORDS]
    if tuple(named) in _BOTH:
        return Role.DARK_FLAT
    roles = {_ROLE_WORDS[word] for word in named}
    return roles.pop() if len(roles) == 1 else None


_STACK_NAME = re.compile(
    r"(dso[_ ])?stack(ed)?([_\-. ]|$)|(img|result)_stacked|master[_ ]?light|autosave|mosaic_grid|integration"
    r"|result_\d+s$|live[_ ]?stack"
)
_STACK_END = re.compile(r"[_\-. ](stacked|stack|autosave|integration)$")
_PROCESSED_NAME = re.compile(r"((r|bkg|a)_)*pp_|r_(bkg_)?light")
_NAME_WORDS = {word: role for word, role in _ROLE_WORDS.items() if role is not Role.STACK} | {
    "darkframe": Role.DARK, "offset": Role.BIAS, "thumbnail": Role.PICTURE, "thn": Role.PICTURE
}  # fmt: skip


def role_of_name(stem: str) -> tuple[Role, bool] | None:
    """The role that a file's name without its ending names, and whether it is that of a master; None if none.

    The first word of the name that is called after a role counts: ``Light_Dark Shark_10s`` is a light.
    """
    name = stem.lower()
    if name.startswith("failed_"):  # as Dwarf telescopes call what they could not stack
        return Role.FAILED, False
    words = [re.sub(r"[\d ]+", "", word) for word in re.split(r"[_\-.]+", name)]
    if _STACK_NAME.match(name) or _STACK_END.search(name):
        master = _NAME_WORDS.get(next((word for word in words if word != "pp"), ""))
        return (master, True) if master in CALIBRATION else (Role.STACK, False)  # dark_stacked, as Siril calls masters
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        role = Role.DARK_FLAT if (word, following) in _BOTH else _NAME_WORDS.get(word)
        if role is not None and not (role is Role.LIGHT and _PROCESSED_NAME.match(name)):
            return role, word.startswith("master") or "stack" in words or "master" in words
    return (Role.PROCESSED, False) if _PROCESSED_NAME.match(name) else None


def role_of_file(path: Path, folder: Path, header: HeaderCards) -> FolderFile:
    """The role of an image.

    Parameters
    ----------
    path : Path
        A file below `folder`.
    folder : Path
        The folder that was asked for; what it is called itself does not count.
    header : HeaderCards
        All cards of its header; empty if it has none, or none that can be read.
    """
    by_header = role_of_header(header)
    by_name = role_of_name(path.stem.removesuffix(".fits").removesuffix(".fit"))
    place, by_folder = _role_of_place(path, folder)
    named = (by_name[0], "its name says so", by_name[1]) if by_name is not None else None
    if by_header is not None and by_header[0] is Role.STACK and _is_nothing_but_counted(header):
        of_frames = by_name[0] if by_name is not None and by_name[0] in CALIBRATION else by_folder
        if of_frames in CALIBRATION:  # what was stacked is told by the name or the folder
            by_header = (of_frames, by_header[1], True)
    placed = (by_folder, f"it lies in the folder {place}", named is not None and named[2]) if by_folder else None
    if by_header is not None and by_header[0] in (*CALIBRATION, Role.STACK):
        found = by_header
    elif named is not None and named[0] in (Role.STACK, Role.FAILED):
        found = named
    elif placed is not None and placed[0] is not Role.LIGHT and not has_plate_solution(header):
        found = placed
    elif by_header is not None:
        found = by_header if named is None or named[0] is not Role.PROCESSED else named
    elif named is not None and (named[0] is Role.PROCESSED or not has_plate_solution(header)):
        found = named
    else:
        found = (Role.LIGHT, "nothing says otherwise", False)
    role, told_by, is_master = found
    return FolderFile(path, role, told_by, is_master and role in CALIBRATION, header)


def _is_nothing_but_counted(header: HeaderCards) -> bool:
    """True if a header tells how many frames were stacked and not which, as those of Siril's masters may."""
    is_typed = any(header.text(card) for card in _TYPE_CARDS)
    return _frame_count(header) > 1 and not is_typed and not has_plate_solution(header)


def _role_of_place(path: Path, folder: Path) -> tuple[str, Role | None]:
    """The nearest folder above a file that is called after a role, and that role."""
    for parent in path.parents:
        if parent == folder:
            break
        role = role_of_folder(parent.name)
        if role is not None:
            return parent.name, role
    return "", None
