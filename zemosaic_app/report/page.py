"""The page of a report: one HTML file with its style, script, pictures and figures, and no way to a network."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import zemosaic_utils
from zemosaic_app.presenter.texts import Texts, load_texts
from zemosaic_engine import __version__
from zemosaic_engine.canvas.named_field import name_of_field, size_of_field, told_objects
from zemosaic_engine.events import CancelToken
from zemosaic_engine.fits.writer import atomic_path
from zemosaic_engine.machine.threads import BackgroundTask
from zemosaic_engine.mosaic.map_tiles import MAP_NAME
from zemosaic_engine.names import shown_name
from zemosaic_engine.run.verdict import is_good, verdict
from zemosaic_engine.sentences import say

from . import sky
from .charts import Chart
from .facts import Absent, Facts, read_facts
from .sections import (
    Subs,
    calibration_section,
    colour_charts,
    colour_facts,
    depth_table,
    edge_table,
    gather_subs,
    header_facts,
    needs_section,
    phase_bars,
    registration_charts,
    seam_section,
    session_table,
    set_aside_section,
    setting_rows,
    sub_charts,
    sub_table,
    tile_section,
)
from .sensors import sensors_of
from .values import read_values

PAGE_NAME = "report.html"
#: Longest side of the pictures in a page, which are part of it.
PICTURE_PX = 1600
_MANY_SUBS = 1500  # footprints of more are drawn fainter
_NAMES_ON_PICTURE = 12
_NAMES_ON_MAP = 3000
_CLOSEST_PX = 100  # of the mosaic, as wide as the window
#: Layers of the map: key, label, and whether it is shown at first.
MAP_LAYERS = (("names", "names", True), ("graticule", "graticule", True), ("footprints", "footprints", False),
              ("tiles", "tiles", False), ("seams", "seams", False))  # fmt: skip
#: What the script of the page says.
_SCRIPT_WORDS = ("no data", "about", "sub", "subs", "pixel", "and {n} more")
_LABELLED_TILES = 150  # names of more tiles than these would hide one another


def write_report(folder: Path, language: str = "en") -> Path:
    """Write ``report.html`` into the output folder of a run, from the files that lie there.

    Parameters
    ----------
    folder : Path
        With a ``run_report.json``; of what else is missing, the page says so.
    language : str
        Code of the language of the page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    SettingsError
        The folder holds no run report that can be read.
    RunError
        The page cannot be written.
    """
    facts = read_facts(folder)
    texts = load_texts(language)
    contents = _contents(facts, texts)
    path = folder / PAGE_NAME
    _write(path, _render("report", contents, texts))
    if contents["map_page"]:
        _write(folder / contents["map_page"], _render("map", contents, texts))
    return path


def _write(path: Path, html: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(shown_name(html).encode("utf-8"))


def render(facts: Facts, language: str = "en") -> str:
    """The page of a run."""
    texts = load_texts(language)
    return _render("report", _contents(facts, texts), texts)


def _render(page: str, contents: dict[str, Any], texts: Texts) -> str:
    """The page ``report`` or ``map``.

    Every text comes to the page through the template's autoescape, data through ``tojson``, which escapes what
    could end a script; beyond that the page's policy lets no script run but its own, known by its digest.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zemosaic_app.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["absent"] = lambda value: isinstance(value, Absent)
    environment.filters["duration"] = _duration
    environment.filters["t"] = texts.spoken
    environment.filters["phase"] = lambda name: texts.name_of("phase", name)
    environment.filters["role"] = lambda name: texts.name_of("role", name)
    environment.filters["help"] = lambda name: texts.name_of("help", name).removeprefix(name)
    environment.globals["say"] = say
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    parts = ("report",) if page == "report" else ("report", page)
    style, script = (Markup("".join(_own(f"{part}.{kind}") for part in parts)) for kind in ("css", "js"))
    return environment.get_template(f"{page}.html").render(
        style=style, script=script, style_digest=_digest(style), script_digest=_digest(script),
        version=__version__, language=texts.language, **contents,
    )  # fmt: skip


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    """Return the digest by which a Content-Security-Policy allows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _contents(facts: Facts, texts: Texts) -> dict[str, Any]:
    """All that the template shows."""
    # Files of pixels are read and compressed while tables and charts are made.
    pictures = BackgroundTask(lambda: (_picture(facts), _coverage(facts)), CancelToken())
    under_cursor = BackgroundTask(lambda: _values(facts), CancelToken())
    subs = gather_subs(facts)
    frame = sky.find_frame(facts)
    tables: dict[str, Any] = {}
    contents: dict[str, Any] = {"run": facts.run, "folder": str(facts.folder.absolute()), "frame": frame,
                                "coverage_colours": zemosaic_utils.COVERAGE_COLOURS,
                                "step_classes": [name for _, name in sky.STEP_CLASSES]}  # fmt: skip
    contents |= _sky_contents(facts, frame, subs) | _name_contents(facts, frame, texts) | _map_contents(facts, frame)
    contents["mode_title"] = "Grid Mode mosaic" if facts.run["mode"] == "grid" else "Classic mosaic"
    contents["reason"] = facts.told(str(facts.run["reason"]))
    told = texts.sentence(verdict(facts.run)) if facts.is_done else ""
    contents["verdict"], contents["is_good"] = f"{told[:1].upper()}{told[1:]}." if told else "", is_good(facts.run)
    contents["many_subs"] = not isinstance(subs, Absent) and len(subs.labels) > _MANY_SUBS
    contents["headers"] = header_facts(facts)
    contents["measured"] = facts.sub_photometry
    contents["sub_charts"], contents["sessions"] = [], facts.sub_photometry
    if not isinstance(subs, Absent):
        tables["subs"] = {"labels": subs.labels, "notes": subs.dates}
        if not isinstance(facts.sub_photometry, Absent):
            contents["sub_charts"], contents["sessions"] = sub_charts(facts, subs), session_table(subs)
            contents["sub_table"] = sub_table(subs)
    found = facts.registration
    contents["registration"] = found if isinstance(found, Absent) else sensors_of(found)
    contents["registration_charts"] = [] if isinstance(subs, Absent) else registration_charts(facts, subs)
    tiles = facts.tile_photometry
    contents["tile_charts"], contents["tile_table"] = [], tiles
    if not isinstance(tiles, Absent):
        contents["tile_charts"], contents["tile_table"], tables_labels = tile_section(tiles)
        tables["tiles"] = {"labels": tables_labels, "notes": []}
    seams = contents["seams"]
    contents["seam_charts"], contents["seam_table"] = [], seams
    if not isinstance(seams, Absent):
        contents["seam_charts"], contents["seam_table"] = seam_section(seams)
        tables["seams"] = {"labels": [f"{one['first']} \u2013 {one['second']}" for one in seams], "notes": []}
    edges = facts.edges
    contents["edges"] = edges
    contents["edge_table"] = edges if isinstance(edges, Absent) else edge_table(edges)
    contents["depth_table"] = depth_table(facts)
    colours = facts.colours
    contents["colours"], contents["colour_facts"], contents["colour_charts"] = colours, colour_facts(facts), []
    if not isinstance(colours, Absent):
        contents["colour_charts"], labels = colour_charts(facts, colours)
        tables["colours"] = {"labels": labels, "notes": []}
    known = not isinstance(edges, Absent) and not isinstance(frame, Absent)
    contents["edge_lines"] = sky.edge_lines(frame, edges) if known else []  # type: ignore[arg-type]
    contents |= needs_section(facts.run)
    contents["set_aside"], contents["beside"] = set_aside_section(facts), facts.beside
    contents |= calibration_section(facts)
    contents["phases"], contents["settings"] = phase_bars(facts.run), setting_rows(facts.run)
    contents["picture"], contents["coverage"] = pictures.result()
    values = under_cursor.result()
    contents["block"] = 0 if values is None else values["block"]
    parts = ("sub", "registration", "tile", "seam", "colour")
    charts = [chart for part in parts for chart in contents[f"{part}_charts"]]
    contents["data"] = {
        "words": {key: texts.spoken(key) for key in _SCRIPT_WORDS},
        "mark": texts("number.mark"),
        "tables": tables,
        "charts": {chart.key: _for_script(chart, texts) for chart in charts},
        "values": values,
        "frame": None if isinstance(frame, Absent) else frame.for_script(),
        "map": facts.map_index if contents["map_page"] else None,
        "outlines": [one["rows"] for one in contents["outlines"]],
        "seams": [] if isinstance(seams, Absent) else [one["channels"] for one in seams],
    }
    return contents


def _values(facts: Facts) -> dict[str, Any] | None:
    """What the page needs to show values under the cursor; None without them."""
    values = read_values(facts)
    return None if isinstance(values, Absent) else values.for_script()


def _for_script(chart: Chart, texts: Texts) -> dict[str, Any]:
    """What the tips of a chart need."""
    series = [{**one, "name": texts.spoken(one["name"])} for one in chart.tips]
    return {"table": chart.table, "unit": texts.spoken(chart.unit), "series": series}


def _sky_contents(facts: Facts, frame: sky.SkyFrame | Absent, subs: Subs | Absent) -> dict[str, Any]:
    """Footprints, tiles, seams and the graticule."""
    empty: dict[str, Any] = {"outlines": [], "tiles": [], "graticule": "", "sky_labels": [], "label_tiles": False}
    if isinstance(frame, Absent):
        return empty | {"seams": facts.seams if isinstance(facts.seams, Absent) else sky.seam_lines([], facts.seams)}
    outlines = []
    if not isinstance(subs, Absent) and not isinstance(facts.subs, Absent):
        outlines = sky.sub_outlines(frame, facts.subs, subs.session, subs.sessions)
    places = sky.tile_places(frame, facts.tile_headers())
    seams: Any = facts.seams
    if not isinstance(seams, Absent):
        seams = sky.seam_lines(places, seams)
    lines, labels = sky.graticule(frame)
    tiles = [{"name": tile.name, "d": sky.path_of([tile.outline], 0), "centre": tile.centre} for tile in places]
    return {"outlines": outlines, "tiles": tiles, "seams": seams, "graticule": lines, "sky_labels": labels,
            "label_tiles": len(tiles) <= _LABELLED_TILES}  # fmt: skip


def _name_contents(facts: Facts, frame: sky.SkyFrame | Absent, texts: Texts) -> dict[str, Any]:
    """What the mosaic shows, by name."""
    empty = {"field": "", "objects": [], "objects_left": 0, "names_on_picture": [], "places": []}
    if isinstance(frame, Absent) or isinstance(facts.mosaic_header, Absent):
        return empty
    found = facts.objects
    told, places = told_objects(found), sky.name_places(frame, found)
    name = name_of_field(found) or str(facts.mosaic_header.get("OBJECT", ""))
    field = ", ".join(part for part in (name, texts.sentence(size_of_field(frame.wcs, frame.shape))) if part)
    return {"field": field, "objects": told, "objects_left": len(found) - len(told),
            "names_on_picture": places[:_NAMES_ON_PICTURE], "places": places[:_NAMES_ON_MAP]}  # fmt: skip


def _map_contents(facts: Facts, frame: sky.SkyFrame | Absent) -> dict[str, Any]:
    """The page of the map, and what it can show."""
    index = facts.map_index
    if isinstance(index, Absent) or isinstance(frame, Absent):
        return {"map_page": "", "layers": [], "least": 1.0}
    return {"map_page": f"{MAP_NAME}/index.html", "layers": MAP_LAYERS,
            "least": min(1 / 64, _CLOSEST_PX / max(frame.shape))}  # fmt: skip


def _picture(facts: Facts) -> zemosaic_utils.Thumbnail | Absent:
    path = facts.picture
    return path if isinstance(path, Absent) else _read(zemosaic_utils.shrink_picture, path)


def _coverage(facts: Facts) -> zemosaic_utils.Thumbnail | Absent:
    path = facts.coverage
    return path if isinstance(path, Absent) else _read(zemosaic_utils.make_coverage_picture, path)


def _read(function: Any, path: Path) -> zemosaic_utils.Thumbnail | Absent:
    try:
        thumbnail: zemosaic_utils.Thumbnail = function(path, PICTURE_PX)
    except (OSError, ValueError) as error:
        return Absent(say("{name} cannot be read: {error}", name=path.name, error=error))
    return thumbnail


def _duration(seconds: float) -> str:
    """A measured time, to a second where it is long."""
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
