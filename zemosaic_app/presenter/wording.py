"""Lines that both windows show, made of the state and the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath

from zemosaic_engine.canvas.advice import exposure_text
from zemosaic_engine.machine.threads import thread_count

from .messages import FolderContents
from .mosaic_preview import Spot
from .sky_map import advice_of, advice_texts
from .texts import Texts
from .view_state import WAITING, ViewState

Footprint = Sequence[Sequence[float]]
_MOST_DRAWN = 5000
#: Outlines of more footprints are drawn with hard edges, which is faster.
MOST_SMOOTH = 1500
# Panels that need subs, in the text above the map; the map and the report show all of them.
_MOST_NEEDS = 4


def found_lines(view: ViewState, texts: Texts, pace: float = 1.0, *, is_headed: bool = False) -> list[str]:
    """Return lines about the input folder, or about the progress of reading it.

    Runs on this computer take `pace` times as long as on one of usual speed. With `is_headed`, `found_heading` stands
    above the lines, which then do not repeat it.
    """
    if view.doing == "looking":
        done, total = view.subs
        return [texts("found.looking", done=done, total=total) if total else texts("found.looking_first")]
    contents = view.contents
    if contents is None:
        return [texts("found.nothing")]
    lines = _sub_lines(contents, texts) if contents.subs else []
    if contents.unsolved:
        lines.append(texts("found.unsolved", n=contents.unsolved))
    if contents.beside:
        roles = {texts(f"role.{role}"): count for role, count in contents.beside.items()}
        lines.append(texts.listed("found.beside", _counted(roles, texts)))
    if contents.canvas_shape:
        lines += _plan_lines(contents, texts, pace, "" if is_headed else contents.object_name)
    if set_aside(view):
        lines.append(texts("found.set_aside", n=len(set_aside(view))))
    lines += [texts.sentence(note) for note in contents.notes]
    if contents.problem:
        lines.append(texts.sentence(contents.problem))
    return lines


def has_subs(view: ViewState) -> bool:
    """True if the folder has subs, or may have some: it has not been read yet."""
    return view.contents is None or bool(view.contents.subs or view.contents.subs_listed)


def found_heading(view: ViewState) -> str:
    """Return what the subs show, or the name of their folder; empty while that is not known."""
    contents = view.contents
    if contents is None or view.doing == "looking":
        return ""
    return contents.object_name or PureWindowsPath(contents.folder).name


def _sub_lines(contents: FolderContents, texts: Texts) -> list[str]:
    """How many subs there are, and of what."""
    exposure = texts("found.exposure", time=texts.sentence(exposure_text(contents.exposure_s)))
    kinds = [
        texts.listed(key, _counted(counts, texts))
        for key, counts in (
            ("found.filters", contents.filters),
            ("found.sessions", contents.sessions),
            ("found.cameras", contents.cameras),
        )
    ]
    return [f"{texts.counted('found.subs', contents.subs)}, {exposure}", "   ".join(kinds)]


def _plan_lines(contents: FolderContents, texts: Texts, pace: float, name: str) -> list[str]:
    """What the mosaic will be, what it costs, and what it still needs."""
    height, width = contents.canvas_shape
    size = texts(
        "found.canvas",
        size=texts.sentence(contents.size),
        width=width,
        height=height,
        scale=texts.decimal(f"{contents.pixel_scale_arcsec:.2f}"),
    )
    size = f"{size}, {texts.counted('found.tiles', len(contents.tiles))}"
    lines = [texts.listed_text(name, size) if name else size]
    if contents.free_bytes:
        disk, memory = (texts.size(size_bytes) for size_bytes in contents.free_bytes)
        lines.append(
            texts(
                "found.cost",
                time=texts.duration(pace * contents.seconds),
                disk=texts.size(contents.disk_bytes),
                free_disk=disk,
                memory=texts.size(contents.memory_bytes),
                free_memory=memory,
            )
        )
    if contents.roughly:
        lines.append(texts.counted("found.roughly", contents.roughly))
    return lines + advice_texts(advice_of(contents), texts, _MOST_NEEDS)


def calibration_lines(view: ViewState, texts: Texts) -> list[str]:
    """Return what calibration frames were found and what they are used for."""
    contents = view.contents
    if contents is None:
        return [texts("calibration.hint")]
    told = [texts.sentence(line) for line in contents.calibration]
    return told or [texts("calibration.nothing")]


def automatic_value(name: str, contents: FolderContents | None, texts: Texts) -> str:
    """Return the value that the program will take for a setting that is left to it; empty if it is not known yet."""
    if name == "pixel_scale_arcsec" and contents is not None and contents.usual_scale_arcsec:
        return texts.decimal(f"{contents.usual_scale_arcsec:.2f}")
    if name == "threads":
        return str(thread_count(0))
    return ""


def _counted(counts: Mapping[str, int], texts: Texts) -> str:
    return ", ".join(f"{name or texts('found.unnamed')} ({number})" for name, number in counts.items())


def some_of(footprints: Sequence[Footprint]) -> Sequence[Footprint]:
    """The footprints that a map draws: evenly chosen ones where there are thousands."""
    return footprints[:: max(1, len(footprints) // _MOST_DRAWN)]


def headline(view: ViewState, texts: Texts) -> str:
    """Return the phase, or how and why the last run ended."""
    if view.doing == "looking":
        return found_lines(view, texts)[0]
    if view.doing == "nothing":
        if not view.ending:
            return texts("earlier.looking") if view.is_recalling else _ready(view.contents, texts)
        told = ending(view, texts)
        return texts("earlier.reading", ended=told) if view.is_recalling else told
    if view.is_watching and view.phase == WAITING:
        return texts("watch.finishing" if view.is_finishing else "watch.waiting")
    phase = texts.name_of("phase", view.phase) if view.phase else texts("found.looking_first")
    return texts("run.compiling", phase=phase) if view.is_compiling else phase


def _ready(contents: FolderContents | None, texts: Texts) -> str:
    """What there is to be known before a start."""
    if contents is None or not contents.unsolved:
        return texts("run.idle")
    return texts.counted("run.unsolved", contents.unsolved)


def ending(view: ViewState, texts: Texts) -> str:
    """Return how, why and, for an earlier run, when the run shown ended."""
    if not view.ending:
        return texts("summary.nothing")
    ended = texts(f"ending.{view.ending}")
    if view.earlier is not None:
        return texts.listed_text(texts("earlier.run", when=view.earlier.ended), ended)
    if not view.reason or view.ending == "cancelled":
        return ended
    return texts.listed_text(ended, texts.sentence(view.reason))


def set_aside(view: ViewState) -> dict[str, str]:
    """Reason, in the engine's words, by the name of every file that the look or the run did not take."""
    found = dict(view.contents.set_aside) if view.contents is not None else {}
    return {**found, **dict(view.set_aside)}


def set_aside_rows(view: ViewState, texts: Texts) -> list[list[str]]:
    """Name and reason of each, for a table."""
    return [[name, texts.sentence(reason)] for name, reason in set_aside(view).items()]


def metric_rows(view: ViewState, texts: Texts) -> list[list[str]]:
    """Figure, channel, before or after scaling, and value of each line of metrics."""
    return [
        [
            texts.name_of("metric", metric.figure),
            texts.channel(metric.channel),
            texts(f"metrics.{metric.when}") if metric.when else "",
            texts.sentence(metric.text),
        ]
        for metric in view.metrics
    ]


def counters(view: ViewState, texts: Texts) -> list[str]:
    """Tiles, subs, memory: those that are known."""
    told = []
    if view.watching is not None:
        watching = view.watching
        told.append(texts.counted("watch.in_mosaic", watching.in_mosaic))
        parts = {"waiting_subs": watching.waiting, "unfinished": watching.unfinished}
        told += [texts(f"watch.{name}", n=n) for name, n in parts.items() if n]
    is_stacking = view.tiles[0] < view.tiles[1]  # once all are there other work is left
    if view.tiles[1] and (is_stacking or view.doing == "nothing"):
        told.append(texts("run.tiles", done=view.tiles[0], total=view.tiles[1]))
    elif view.subs[1] and not view.tiles[1] and not view.is_watching and view.doing != "nothing":
        told.append(texts("run.subs", done=view.subs[0], total=view.subs[1]))
    if view.memory_bytes and view.doing != "nothing":
        told.append(texts("run.memory", size=texts.size(view.memory_bytes)))
    return told


def percent_text(fraction: float, texts: Texts) -> str:
    """Return how far a run is; nothing before it is under way."""
    return texts("run.percent", n=int(100 * fraction)) if fraction > 0 else ""


def spot_text(spot: Spot, texts: Texts) -> str:
    """Return the values under the cursor in one line."""
    return "   ".join(spot_parts(spot, texts))


def spot_parts(spot: Spot, texts: Texts) -> list[str]:
    """Return position, sky position, values, coverage and weight under the cursor."""
    values = "  ".join("-" if value != value else texts.decimal(f"{value:.1f}") for value in spot.values)
    parts = [texts("mosaic.spot", x=spot.x, y=spot.y), spot.sky, texts("mosaic.adu", values=values)]
    parts += [
        texts("mosaic.spot_coverage", n=f"{spot.coverage:.0f}"),
        texts("mosaic.spot_weight", n=texts.decimal(f"{spot.weight:.3g}")),
        texts("mosaic.spot_mean", n=spot.block) if spot.block > 1 else "",
    ]
    return [part for part in parts if part]


def zoom_text(percent: float, texts: Texts) -> str:
    """Return a zoom, ``"125 %"``; empty while nothing is shown."""
    return texts("mosaic.zoom", n=texts.decimal(f"{percent:.{0 if percent >= 10 else 1}f}")) if percent > 0 else ""
