"""The messages between a window and the process of its engine: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from zemosaic_engine.errors import SubError
from zemosaic_engine.events import Event, SubSetAside
from zemosaic_engine.sentences import from_facts, to_facts

Ending = Literal["done", "incomplete", "refused", "failed", "cancelled", "crashed"]


@dataclass(frozen=True)
class MemoryInUse:
    """Bytes that the engine's process holds now."""

    size_bytes: int


@dataclass(frozen=True)
class JobEnded:
    """The engine's process did what it was asked for, or not.

    Attributes
    ----------
    ending : str
        ``"refused"`` if the request could not be carried out as written, ``"crashed"`` if the process died.
    reason : str
        One sentence; empty if it is done.
    details : str
        What a crashed process said last; empty else.
    """

    ending: Ending
    reason: str = ""
    details: str = ""


@dataclass(frozen=True)
class SubGlance:
    """A quick look at a sub.

    Attributes
    ----------
    name : str
        As seen from the folder.
    picture : str
        PNG in base64, as the pixels are stored; empty if the file cannot be read.
    fwhm_px, stars, sky_adu : float, int, float
        See `subs.glance.Glance`.
    is_large : bool
        True for a picture that is to be compared with another, else it is one of a list.
    """

    name: str
    picture: str = ""
    fwhm_px: float = float("nan")
    stars: int = 0
    sky_adu: float = float("nan")
    is_large: bool = False


@dataclass(frozen=True)
class FolderContents:
    """What was found in an input folder; coordinates are pixels (x, y) of the planned canvas, first row south.

    Attributes
    ----------
    folder, mode : str
        The folder, and the mode that it asks for.
    subs : int
        Files that can be used, of all filters.
    filters, sessions, cameras : mapping of str to int
        Number of subs by name; the empty name is that of subs that do not tell.
    exposure_s : float
        Total exposure, as far as the headers tell.
    set_aside : sequence of (name, reason)
        Files that cannot be used; names as seen from the folder.
    unsolved : int
        How many of the subs have no plate solution yet; those are not in the map.
    beside : mapping of str to int
        Number of files of each role but lights: darks, stacks, pictures ...
    notes : sequence of str
        What a person should know of the folder, one sentence each.
    calibration : sequence of str
        Calibration frames: what each set is used for, or why not, one sentence each.
    problem : str
        Why no canvas could be planned; empty if there is one.
    canvas_shape : sequence of int
        ``(height, width)``; empty without a canvas.
    canvas_header : str
        Its FITS header.
    pixel_scale_arcsec, usual_scale_arcsec : float
        Pixel scale of the canvas, and the median of the subs, which it has if nobody chooses another.
    footprints : sequence of polygons
        Corners of each sub that will be stacked.
    tiles : sequence of (name, inner, outer)
        Planned tiles with their boxes ``(y0, y1, x0, x1)``.
    names : sequence of (name, x, y, radius)
        The most prominent objects of the sky there; a radius of 0 is not known.
    object_name, size : str
        Name of the most prominent object, empty without one; width and height of the mosaic on the sky.
    seconds, disk_bytes, memory_bytes : float, int, int
        What a run will take; 0 without a canvas.
    free_bytes : sequence of int
        Free on the disk of the output, and of memory.
    roughly : int
        So many of the footprints, the last ones, are not solved and lie where their headers say.
    depth : sequence of sequence of float
        Exposure in seconds of each cell of the canvas, first row south; empty without a canvas.
    depth_cell_px : float
        Side of a cell.
    sky_lines : sequence of (text, points)
        Lines of right ascension, then of declination, as ``(x, y)`` of the canvas; the first point lies south or east.
    subs_listed : sequence of sequences
        Every sub with its name, time, session, filter, exposure, state and reason, as `sub_list.ListedSub` takes them.
    footprint_names : sequence of str
        Names of the subs of the footprints.
    advice : mapping
        `canvas.advice.Advice` as plain values; empty without one.
    """

    folder: str
    mode: str
    subs: int = 0
    filters: Mapping[str, int] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    cameras: Mapping[str, int] = field(default_factory=dict)
    exposure_s: float = 0.0
    set_aside: Sequence[tuple[str, str]] = ()
    unsolved: int = 0
    beside: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    calibration: Sequence[str] = ()
    problem: str = ""
    canvas_shape: Sequence[int] = ()
    canvas_header: str = ""
    pixel_scale_arcsec: float = 0.0
    usual_scale_arcsec: float = 0.0
    footprints: Sequence[Sequence[Sequence[float]]] = ()
    tiles: Sequence[tuple[str, Sequence[int], Sequence[int]]] = ()
    names: Sequence[tuple[str, float, float, float]] = ()
    object_name: str = ""
    size: str = ""
    seconds: float = 0.0
    disk_bytes: int = 0
    memory_bytes: int = 0
    free_bytes: Sequence[int] = ()
    roughly: int = 0
    depth: Sequence[Sequence[float]] = ()
    depth_cell_px: float = 1.0
    sky_lines: Sequence[tuple[str, Sequence[Sequence[float]]]] = ()
    subs_listed: Sequence[Sequence[Any]] = ()
    footprint_names: Sequence[str] = ()
    advice: Mapping[str, Any] = field(default_factory=dict)


Message = Event | MemoryInUse | JobEnded | FolderContents | SubGlance

_KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (*get_args(Event), MemoryInUse, JobEnded, FolderContents, SubGlance)
}


def encode(message: Message) -> bytes:
    """Return a message as one line of JSON; sentences keep their fields, odd file names are escaped."""
    if isinstance(message, SubSetAside):
        facts: dict[str, Any] = {"path": str(message.error.path), "reason": to_facts(message.error.reason)}
    else:
        facts = {item.name: _plain(getattr(message, item.name)) for item in fields(message)}
    return json.dumps({"kind": type(message).__name__, **facts}).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Return the message that `encode` made a line of."""
    facts = json.loads(line)
    kind = facts.pop("kind")
    if kind == "SubSetAside":
        return SubSetAside(SubError(facts["path"], from_facts(facts["reason"])))
    message: Message = _KINDS[kind](**{name: _sentences_in(value) for name, value in facts.items()})
    return message


def _plain(value: Any) -> Any:
    """A value of an event as plain JSON."""
    if isinstance(value, str):
        return to_facts(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _sentences_in(value: Any) -> Any:
    """The same value with its sentences."""
    if isinstance(value, Mapping):
        return from_facts(value) if value.keys() == {"code", "fields"} else value
    return [_sentences_in(item) for item in value] if isinstance(value, list) else value
