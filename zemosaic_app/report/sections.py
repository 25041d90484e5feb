"""The sections of a report: tables and charts of subs, tiles, seams, time and settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zemosaic_engine.canvas.advice import Advice, advice_lines, exposure_text, place_text
from zemosaic_engine.catalogues.colours import WHITE
from zemosaic_engine.mosaic.files import ADVICE_NAME
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import setting_fields

from .charts import Axis, Chart, Series, make_chart, number_axis, time_axis, value_axis
from .facts import Absent, Facts, matching_rows

#: Longer tables are cut: what is left out stands in the file that is named below them.
ROWS_SHOWN = 200


@dataclass(frozen=True)
class TableView:
    """A table as it is shown.

    Attributes
    ----------
    columns : sequence of str
    rows : sequence of sequence of str
        At most `ROWS_SHOWN`.
    total : int
        Number of rows there are.
    source : str
        File with all of them; empty if none is left out.
    numbers : int
        How many columns from the right hold numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: int
    source: str
    numbers: int


def cut_table(columns: Sequence[str], rows: Sequence[Sequence[str]], source: str, numbers: int = 0) -> TableView:
    """The first rows of a table."""
    return TableView(columns, rows[:ROWS_SHOWN], len(rows), source if len(rows) > ROWS_SHOWN else "", numbers)


@dataclass(frozen=True)
class Subs:
    """The subs of a run over time.

    Attributes
    ----------
    labels, dates : list of str
        File name and time of each row.
    axis : Axis
    session : ndarray of int64
        Number of the session of each row.
    sessions : list of str
        Names of the sessions.
    scale_arcsec : ndarray of float64
        Arcsec a pixel of each row.
    photometry : Table or Absent
        ``sub_photometry.ecsv``.
    rows : ndarray of int64
        For each row its row of `photometry`, -1 without one.
    listed : Table or None
        ``subs.ecsv``, in the order of the rows.
    """

    labels: list[str]
    dates: list[str]
    axis: Axis
    session: NDArray[np.int64]
    sessions: list[str]
    scale_arcsec: NDArray[np.float64]
    photometry: Table | Absent
    rows: NDArray[np.int64]
    listed: Table | None = None

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of the photometry by the rows of this; NaN where there is none."""
        result = np.full(len(self.labels), np.nan)
        if not isinstance(self.photometry, Absent) and name in self.photometry.colnames:
            there = self.rows >= 0
            values = np.ma.filled(np.ma.asarray(self.photometry[name], dtype=np.float64), np.nan)
            result[there] = np.asarray(values, dtype=np.float64)[self.rows[there]]
        return result

    def listed_column(self, name: str) -> NDArray[np.float64]:
        """A column of the table of subs; NaN where there is none."""
        if self.listed is None or name not in self.listed.colnames:
            return np.full(len(self.labels), np.nan)
        return np.asarray(np.ma.filled(np.ma.asarray(self.listed[name], dtype=np.float64), np.nan), dtype=np.float64)

    @property
    def channels(self) -> list[str]:
        """Names of the channels of the photometry."""
        if isinstance(self.photometry, Absent):
            return []
        return [name for name in ("R", "G", "B", "L") if f"gain_{name}" in self.photometry.colnames]


def gather_subs(facts: Facts) -> Subs | Absent:
    """Return the subs of a run from their headers and their photometry, as available."""
    listed, photometry = facts.subs, facts.sub_photometry
    if isinstance(listed, Absent):
        if isinstance(photometry, Absent):
            return listed
        labels = [str(name) for name in photometry["file"]]
        count = len(labels)
        zeros, rows = np.zeros(count, dtype=np.int64), np.arange(count)
        axis = number_axis(count, "sub, in the order of the table")
        return Subs(labels, [""] * count, axis, zeros, [""], np.full(count, np.nan), photometry, rows)
    labels = [str(name) for name in listed["file"]]
    words = {name: [_text(value) for value in listed[name]] for name in ("session", "date_obs")}
    axis, session = time_axis(words["date_obs"], words["session"])
    measured = [] if isinstance(photometry, Absent) else [str(name) for name in photometry["file"]]
    found = matching_rows(measured, labels)
    scale = np.asarray(listed["pixel_scale"], dtype=np.float64)
    names = sorted(set(words["session"]))
    return Subs(
        labels, words["date_obs"], axis, session, names, scale, photometry, np.array(found, dtype=np.int64), listed
    )


def _text(value: Any) -> str:
    return "" if value is np.ma.masked else str(value)


def _channel_series(subs: Subs, values: Mapping[str, NDArray[np.float64]]) -> list[Series]:
    return [Series(name, f"c{name}", column) for name, column in values.items() if np.isfinite(column).any()]


def sub_charts(facts: Facts, subs: Subs) -> list[Chart]:
    """Gains, zero points, offsets, FWHM, sky, noise and residuals of subs over time."""
    charts = []

    def add(key: str, title: str, unit: str, values: Mapping[str, NDArray[np.float64]], note: str = "") -> None:
        series = _channel_series(subs, values)
        if series:
            charts.append(make_chart(key, title, unit, "subs", subs.axis, series, note=note))

    channels = subs.channels
    add("gain", "Gain of each sub", "", {c: subs.column(f"gain_{c}") for c in channels},
        "What a sub is multiplied by: above 1 where less light came through.")  # fmt: skip
    points, unit, note = zero_points(facts, subs)
    add("zero_point", "Zero point of each sub", unit, points, note)
    add("limit", "Limiting magnitude of each sub", "mag", {c: subs.listed_column(f"limit_{c}") for c in channels},
        "A star at five sigma of the sky noise in its best aperture.")  # fmt: skip
    add("sky_mag", "Sky brightness of each sub", "mag/\u25a1\u2033",
        {c: subs.listed_column(f"sky_mag_{c}") for c in channels},
        "All light in the background; an electronic offset that was found is taken off.")  # fmt: skip
    add("offset", "Offset of each sub", "ADU", {c: subs.column(f"offset_{c}") for c in channels},
        "What is added after the gain, at the centre of the sub.")  # fmt: skip
    add("sky", "Sky of each sub", "ADU", {c: subs.column(f"sky_{c}") for c in channels})
    add("noise", "Noise of each sub", "ADU", {c: subs.column(f"noise_{c}") for c in channels})
    fwhm = subs.column("fwhm")
    if np.isfinite(subs.scale_arcsec).all():
        add("fwhm", "FWHM of the stars of each sub", "\u2033", {"L": fwhm * subs.scale_arcsec})
    else:
        add("fwhm", "FWHM of the stars of each sub", "px", {"L": fwhm})
    add("residual", "Residual of each sub", "\u03c3", {c: subs.column(f"residual_{c}") for c in channels},
        "How well the solution fits a sub: about 1 if its errors are right.")  # fmt: skip
    return charts


_TIED_NOTE = "Magnitude of a star that gives 1 ADU in the sub, by the catalogue."


def registration_charts(facts: Facts, subs: Subs) -> list[Chart]:
    """How well the stars of each sub agree with those of the others, by headers and after the registration."""
    listed = facts.subs
    if isinstance(listed, Absent) or "registration_after" not in listed.colnames:
        return []
    columns = {
        name: np.asarray(np.ma.filled(np.ma.asarray(listed[name], dtype=np.float64), np.nan), dtype=np.float64)
        for name in ("registration_before", "registration_after", "moved")
    }
    if not np.isfinite(columns["registration_after"]).any():
        return []
    agree = [Series("by their headers", "cB", columns["registration_before"]),
             Series("registered", "cG", columns["registration_after"])]  # fmt: skip
    note = "RMS distance of the stars of a sub from the median of all subs that show them."
    charts = [make_chart("registration", "Stars of each sub against the other subs", "px", "subs", subs.axis, agree,
                         note=note)]  # fmt: skip
    moved = [Series("moved", "cL", columns["moved"])]
    return [*charts, make_chart("moved", "How far the header of each sub was off", "px", "subs", subs.axis, moved)]


def zero_points(facts: Facts, subs: Subs) -> tuple[dict[str, NDArray[np.float64]], str, str]:
    """Zero points of subs: tied to the catalogue if the mosaic is, else relative to the mosaic; with unit and note.

    ``m = ZP - 2.5 log10(gain x ADU of the sub)``, hence ``ZP of the sub = ZP of the mosaic - 2.5 log10(gain)``.
    """
    header = facts.mosaic_header
    tied = {} if isinstance(header, Absent) else {c: header.get(f"ZMZP{c}") for c in subs.channels}
    is_tied = bool(tied) and all(isinstance(value, int | float) for value in tied.values())
    points = {c: subs.listed_column(f"zero_point_{c}") for c in subs.channels}
    if any(np.isfinite(column).any() for column in points.values()):
        return points, "mag", _TIED_NOTE
    for channel in subs.channels:
        gain = subs.column(f"gain_{channel}")
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(gain > 0, -2.5 * np.log10(gain), np.nan)
        points[channel] = relative + float(tied[channel] or 0.0) if is_tied else relative
    if is_tied:
        return points, "mag", _TIED_NOTE
    return points, "mag", "Relative to the mosaic (no reference catalogue): lower where less light came through."


def header_facts(facts: Facts) -> list[tuple[str, str]]:
    """Return cameras, mounts, filters and total exposure from the headers of the subs."""
    if isinstance(facts.subs, Absent):
        return []
    found = []
    for title, column in (("camera", "camera"), ("mount", "mount"), ("filter", "filter")):
        values = sorted({_text(value) for value in facts.subs[column]} - {""})
        if values:
            shown = ", ".join(values[:4])
            if len(values) > 4:
                shown = say("{names} and {n} more", names=shown, n=len(values) - 4)
            found.append((title, shown))
    exposure = np.ma.filled(np.ma.asarray(facts.subs["exposure"], dtype=np.float64), np.nan)
    exposure = exposure[np.isfinite(exposure)]
    if exposure.size:
        text = say(
            "{time} in {n} subs of {exposure} s (median)",
            time=exposure_text(float(exposure.sum())),
            n=len(facts.subs),
            exposure=f"{np.median(exposure):g}",
        )
        found.append(("exposure", text))
    return found


def session_table(subs: Subs) -> TableView:
    """FWHM, sky and noise of each session: medians, and the range of the middle 80 %."""
    fwhm, unit = subs.column("fwhm"), "px"
    if np.isfinite(subs.scale_arcsec).all():
        fwhm, unit = fwhm * subs.scale_arcsec, "\u2033"
    used = subs.column("used")
    columns = ["session", "subs", "used", say("FWHM, {unit}", unit=unit), "10\u201390 %"]
    columns += [say("sky {channel}, ADU", channel=c) for c in subs.channels]
    columns += [say("noise {channel}, ADU", channel=c) for c in subs.channels]
    rows = []
    for number, name in enumerate(subs.sessions):
        mine = subs.session == number
        row = [name or "no date", str(int(mine.sum())), str(int(np.nansum(used[mine])))]
        row.append(_median(fwhm[mine], 2))
        good = fwhm[mine][np.isfinite(fwhm[mine])]
        low, high = np.quantile(good, [0.1, 0.9]) if good.size else (np.nan, np.nan)
        row.append(f"{low:.2f}\u2013{high:.2f}" if good.size else "\u2013")
        row += [_median(subs.column(f"sky_{c}")[mine], 1) for c in subs.channels]
        row += [_median(subs.column(f"noise_{c}")[mine], 2) for c in subs.channels]
        rows.append(row)
    return cut_table(columns, rows, "sub_photometry.ecsv", len(columns) - 1)


def sub_table(subs: Subs) -> TableView:
    """The figures of each sub, those that are not used first."""
    columns = ["file", "time", "session", "used"]
    columns += [say("gain {channel}", channel=c) for c in subs.channels]
    columns += [say("offset {channel}, ADU", channel=c) for c in subs.channels] + ["FWHM, px"]
    used, fwhm = subs.column("used"), subs.column("fwhm")
    gains, offsets = ([subs.column(f"{word}_{c}") for c in subs.channels] for word in ("gain", "offset"))
    rows = []
    for row in sorted(range(len(subs.labels)), key=lambda row: used[row] == 1.0):
        state = "yes" if used[row] == 1.0 else "no" if used[row] == 0.0 else "not measured"
        words = [subs.labels[row], subs.dates[row], subs.sessions[subs.session[row]], state]
        words += [_median(gain[row : row + 1], 5) for gain in gains]
        words += [_median(offset[row : row + 1], 2) for offset in offsets]
        rows.append([*words, _median(fwhm[row : row + 1], 2)])
    return cut_table(columns, rows, "sub_photometry.ecsv", len(columns) - 4)


def _median(values: NDArray[np.float64], digits: int) -> str:
    values = values[np.isfinite(values)]
    return f"{np.median(values):.{digits}f}" if values.size else "\u2013"


def _before_and_after(values: Mapping[tuple[str, str], NDArray[np.float64]]) -> list[Series]:
    """Series of (channel, "before" or "after"), the channels side by side where there is room."""
    channels = list(dict.fromkeys(channel for channel, _ in values))
    room = 7.0 if all(column.size <= 60 for column in values.values()) else 0.0
    series = []
    for (channel, word), column in values.items():
        look = f"c{channel} {'ring' if word == 'before' else 'dot'}"
        shift = room * (channels.index(channel) - (len(channels) - 1) / 2)
        if np.isfinite(column).any():
            told = say("{channel} before" if word == "before" else "{channel} after", channel=channel)
            series.append(Series(told, look, column, shift))
    return series


def tile_section(tiles: Table) -> tuple[list[Chart], TableView, list[str]]:
    """Medians of tiles before and after scaling, as chart and table; and the names of the tiles."""
    names = list(dict.fromkeys(str(name) for name in tiles["tile"]))
    place = {name: number for number, name in enumerate(names)}
    values = {}
    for word in ("before", "after"):
        for channel in dict.fromkeys(str(name) for name in tiles["channel"]):
            y = np.full(len(names), np.nan)
            mine = tiles[tiles["channel"] == channel]
            y[[place[str(name)] for name in mine["tile"]]] = np.asarray(mine[f"median_{word}"], dtype=np.float64)
            values[channel, word] = y
    charts = []
    series = _before_and_after(values)
    if series:
        title = "Sky of each tile, before and after scaling"
        charts.append(make_chart("tiles", title, "ADU", "tiles", number_axis(len(names), "tile"), series, all_in=True))
    columns = ("tile", "channel", "subs", "before, ADU", "after, ADU", "gain", "offset, ADU", "overlap pixels")
    rows = [
        [str(row["tile"]), str(row["channel"]), str(row["subs"]), f"{row['median_before']:.2f}",
         f"{row['median_after']:.2f}", f"{row['gain']:.5f}", f"{row['offset']:.3f}", str(row["overlap_pixels"])]
        for row in tiles
    ]  # fmt: skip
    return charts, cut_table(columns, rows, "tile_photometry.ecsv", 6), names


def seam_section(seams: Sequence[Mapping[str, Any]]) -> tuple[list[Chart], TableView]:
    """Steps over seams before and after, in ADU and in sigma, as charts and table, the largest first."""
    axis = number_axis(len(seams), "overlap")
    channels = list(dict.fromkeys(channel[0] for seam in seams for channel in seam["channels"]))
    charts = []
    for key, unit, start in (("seams_adu", "ADU", 1), ("seams_sigma", "\u03c3", 3)):
        values = {
            (name, word): _steps_of(seams, name, start + number)
            for number, word in enumerate(("before", "after"))
            for name in channels
        }
        series = _before_and_after(values)
        if series:
            title = "Steps over seams" if unit == "ADU" else "Steps over seams, in sigma of the noise of a pixel"
            charts.append(make_chart(key, title, unit, "seams", axis, series, all_in=True))
    rows = [
        (abs(one[4] or 0.0), [f"{seam['first']} \u2013 {seam['second']}", one[0], str(seam["pixels"]),
                              *(_step(value) for value in one[1:])])
        for seam in seams for one in seam["channels"]
    ]  # fmt: skip
    rows.sort(key=lambda pair: -pair[0])
    columns = ("overlap", "channel", "pixels", "before, ADU", "after, ADU", "before, \u03c3", "after, \u03c3")
    return charts, cut_table(columns, [row for _, row in rows], "seams.ecsv", 5)


def colour_charts(facts: Facts, colours: Table) -> tuple[list[Chart], list[str]]:
    """Charts of the colours of stars, measured against known or red against blue; and a label of each row."""
    header = facts.mosaic_header
    index = "" if isinstance(header, Absent) else str(header.get("ZMCINDEX", ""))
    column = {name: np.ma.filled(np.ma.asarray(colours[name], dtype=np.float64), np.nan) for name in colours.colnames}
    used = np.asarray(colours["used"], dtype=bool)
    labels = [f"RA {row['ra']:.4f} Dec {row['dec']:+.4f}" for row in colours]
    charts = []
    pairs = [("R", "known_red", "red"), ("B", "known_blue", "blue")] if index else [("R", "blue", "red")]
    point = "" if isinstance(header, Absent) else str(header.get("ZMCWHITE", ""))
    white = [at for kind, known in WHITE.items() for name, at in known.items() if (kind, name) == (point, index)]
    for name, x, y in pairs:
        known = say("{index} of the catalogue, mag", index=index)
        x_title = "expected from its spectrum, mag" if index == "spectrum" else known if index else "B against G, mag"
        there = np.isfinite(column[x])
        series = [
            Series(word, f"c{name} {look}", np.where(there & chosen, column[y], np.nan))
            for word, look, chosen in (("used", "dot", used), ("not used", "ring", ~used))
        ]
        series = [one for one in series if np.isfinite(one.y).any()]
        if series:
            title = say("{channel} against G of the stars, measured", channel=name)
            axis = value_axis(column[x], x_title, white)
            charts.append(make_chart(f"colour_{name}", title, "mag", "colours", axis, series, note=_WHITE_NOTE))
    return charts, labels


_WHITE_NOTE = (
    "Magnitudes in the mosaic as it is written: 0 is white, higher is fainter in this channel than in green. A "
    "vertical line marks the colour that is white."
)


def colour_facts(facts: Facts) -> list[tuple[str, str]]:
    """What the header of the mosaic says of its colours; empty if nothing was done to them."""
    header = facts.mosaic_header
    if isinstance(header, Absent) or "ZMCFR" not in header:
        return []
    source = {"stars": "the main sequence of the field's stars", "catalogue": "colours of a catalogue",
              "spectra": "spectra of stars"}.get(str(header.get("ZMCOLOUR")), str(header.get("ZMCOLOUR")))  # fmt: skip
    rows = [("white from", source), ("stars", str(header.get("ZMCN", "")))]
    if "ZMCCAT" in header:
        rows.append(("catalogue", str(header["ZMCCAT"])))
    if "ZMCWHITE" in header:
        white = "a star like the Sun" if header["ZMCWHITE"] == "solar" else "the mean of spiral galaxies"
        rows.append(("white", white))
    rows += [
        (say("factor {channel}", channel=name), f"{header[f'ZMCF{name}']:.4f} \u00b1 {header[f'ZMCE{name}']:.4f}")
        for name in "RB"
        if f"ZMCF{name}" in header
    ]
    return rows


def depth_table(facts: Facts) -> TableView | None:
    """What ties the mosaic to the sky, how faint it reaches and how bright its sky is; None if nothing ties it."""
    header = facts.mosaic_header
    if isinstance(header, Absent):
        return None
    rows = []
    for name in "RGBL":
        single = name if name != "L" else ""
        point, error = header.get(f"ZMZP{name}"), header.get(f"ZMZE{name}")
        catalogue = str(header.get("ZMZCAT", "the reference catalogue"))
        source: str = say("{n} stars of {catalogue}", n=header.get(f"ZMZN{name}", 0), catalogue=catalogue)
        if point is None:
            point, error = header.get(f"MAGZP{single}"), header.get(f"MAGZPER{single or 'R'}")
            source = "headers of the tiles"
        if not isinstance(point, int | float) or not isinstance(error, int | float):
            continue
        depth = (_magnitude(header.get(f"{card}{name}")) for card in ("ZMLIM", "ZMSKY"))
        rows.append([name, source, f"{point:.3f} \u00b1 {error:.3f}", *depth])
    columns = ("channel", "tied by", "zero point, mag", "limiting magnitude", "sky, mag/\u25a1\u2033")
    return cut_table(columns, rows, "", 3) if rows else None


def _magnitude(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "\u2013"


def edge_table(edges: Table) -> TableView:
    """Steps of the mosaic across the edges of footprints, the largest first."""
    rows = []
    for row in edges:
        place = f"{row['ra']:.4f} {row['dec']:+.4f}".replace("-", "\u2212")
        steps = (row["step_before"], row["step_after"], row["error_after"], row["sigma_before"], row["sigma_after"])
        words = [
            str(row["kind"]),
            say("{side} edge of {name}", side=str(row["second"]), name=str(row["first"])),
            place,
            str(row["channel"]),
        ]
        size = abs(float(row["step_after"]))
        rows.append((size if np.isfinite(size) else 0.0, [*words, *(_known(value) for value in steps)]))
    rows.sort(key=lambda pair: -pair[0])
    columns = ("what", "edge", "RA Dec", "channel", "before, ADU", "after, ADU", "\u00b1 ADU", "before, \u03c3",
               "after, \u03c3")  # fmt: skip
    return cut_table(columns, [row for _, row in rows], "seams.ecsv", 5)


def _known(value: float) -> str:
    return f"{value:.3f}".replace("-", "\u2212") if np.isfinite(value) else "\u2013"


def _steps_of(seams: Sequence[Mapping[str, Any]], name: str, column: int) -> NDArray[np.float64]:
    """One figure of one channel, of every seam; NaN where it could not be measured."""
    found = ({one[0]: one[column] for one in seam["channels"]}.get(name) for seam in seams)
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def _step(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.4f}".replace("-", "\u2212")


def set_aside_section(facts: Facts) -> tuple[TableView, list[tuple[str, int]]]:
    """Subs that were set aside, and how often each reason occurs."""
    rows = facts.set_aside
    reasons = Counter(reason for _, reason in rows).most_common(12)
    return cut_table(("file", "reason"), [list(row) for row in rows], "rejected_subs.csv"), reasons


def needs_section(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the mosaic still needs, in sentences and as a table of its panels; nothing where the run does not tell."""
    try:
        advice = Advice.of_facts(run["advice"] or {})
    except ValueError:  # a run of an earlier version, or of finished tiles
        return {"needs": [], "needs_table": None}
    columns = ("panel", "RA and Dec", "state", "subs", "exposure", "subs more")
    rows = [
        [str(one.number), place_text(one.ra_deg, one.dec_deg), one.state, str(one.subs), exposure_text(one.depth_s),
         str(one.more_subs or "\u2013")]
        for one in (*advice.needy, *(one for one in advice.panels if not one.more_subs))
    ]  # fmt: skip
    return {"needs": advice_lines(advice), "needs_table": cut_table(columns, rows, ADVICE_NAME, 3)}


def calibration_section(facts: Facts) -> dict[str, Any]:
    """Masters, what they are used for, and calibration frames that are not used; None without any."""
    told: Mapping[str, Any] = facts.run.get("calibration", {})
    masters = [
        [facts.told(str(one["name"])), str(one["frames"]), _figure(one["level"]), _figure(one["noise"])]
        for one in told.get("masters", [])
    ]
    lost = [[facts.told(str(name)), facts.told(str(reason))] for name, reason in told.get("unused", [])]
    lost += [[str(one["path"]), facts.told(str(one["reason"]))] for one in told.get("left_out", [])]
    columns = ("master of", "frames", "level, ADU", "noise of a pixel")
    return {
        "masters": cut_table(columns, masters, "run_report.json", 3) if masters else None,
        "calibration_choices": [(facts.told(what), n) for what, n in told.get("choices", {}).items()],
        "calibration_notes": [facts.told(str(note)) for note in told.get("notes", [])],
        "calibration_left_out": cut_table(("frames", "reason"), lost, "run_report.json") if lost else None,
    }


def _figure(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.4g}"


def phase_bars(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, seconds and share of each phase; phases of one name together."""
    seconds: dict[str, float] = {}
    for phase in run.get("phases", []):
        name = str(phase["name"])
        seconds[name] = seconds.get(name, 0.0) + float(phase["seconds"] or 0.0)
    whole = sum(seconds.values()) or 1.0
    longest = max(seconds.values(), default=1.0) or 1.0
    return [
        {"name": name, "seconds": value, "share": value / whole, "length": value / longest}
        for name, value in seconds.items()
    ]


def setting_rows(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every setting of the run with its unit, help, and whether it differs from its default."""
    values = dict(run.get("settings", {}))
    rows = []
    for field in setting_fields():
        if field.name in values:
            value = values.pop(field.name)
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            rows.append({"name": field.name, "value": _shown(value), "unit": field.unit, "help": field.help,
                         "group": field.group, "changed": value != default})  # fmt: skip
    for name, value in values.items():  # of another version of the program
        rows.append({"name": str(name), "value": _shown(value), "unit": "", "help": "", "group": "", "changed": False})
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return " ".join(_shown(one) for one in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "(empty)" if value in ("", None) else str(value)
