"""Charts of a report as plain SVG paths: readable without a script, hovered with one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zemosaic_engine.sentences import say

WIDTH, HEIGHT = 1120, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 12, 12, 46
# Points further from the median than this many robust sigma sit at the edge of a chart of many.
_FAR_SIGMA = 12.0
_MANY = 20
_GAP_SHARE = 0.02  # of the axis, between two sessions
_LABEL_PX = 78  # room of a label of the time axis


@dataclass(frozen=True)
class Series:
    """Points of one meaning.

    Attributes
    ----------
    name, look : str
        Name in legend and tips; CSS classes.
    y : ndarray of float64, shape (N,)
        One value a row of the chart's table; NaN = none.
    shift_px : float
        Sideways, so that points of one row do not hide one another.
    """

    name: str
    look: str
    y: NDArray[np.float64]
    shift_px: float = 0.0


@dataclass(frozen=True)
class Axis:
    """The common horizontal axis of charts: a place in 0..1 for each row, and what is written below.

    Attributes
    ----------
    places : ndarray of float64, shape (N,)
    ticks : sequence of (float, str)
        Places and labels.
    borders : sequence of float
        Places of vertical lines.
    title : str
    """

    places: NDArray[np.float64]
    ticks: Sequence[tuple[float, str]]
    title: str
    borders: Sequence[float] = ()


@dataclass(frozen=True)
class Chart:
    """One chart, ready for the template: texts, and coordinates in SVG pixels."""

    key: str
    title: str
    unit: str
    table: str
    paths: list[dict[str, Any]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_title: str
    borders: list[float]
    zero: float | None
    beyond: int
    note: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    frame: tuple[int, int, int, int] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    tips: list[dict[str, Any]] = field(default_factory=list)


def make_chart(
    key: str,
    title: str,
    unit: str,
    table: str,
    axis: Axis,
    series: Sequence[Series],
    *,
    note: str = "",
    all_in: bool = False,
) -> Chart:
    """Place the points of some series over one axis.

    Parameters
    ----------
    key : str
        Identifier in the page.
    title, unit : str
        What is shown, and its unit (empty for none).
    table : str
        Name of the table of the page whose rows the points are.
    axis : Axis
    series : sequence of Series
        At least one value must be finite.
    note : str
        A sentence below the chart.
    all_in : bool
        Show the farthest point in its place, however flat it presses the others.
    """
    values = np.concatenate([one.y for one in series])
    low, high = _limits(values, all_in=all_in)
    ticks = nice_ticks(low, high)
    left, top, right, bottom = _LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    x = left + axis.places * (right - left)
    beyond, paths, tips = 0, [], []
    for one in series:
        shown = np.clip(one.y, low, high)
        beyond += int(np.count_nonzero((one.y < low) | (one.y > high)))
        y = bottom - (shown - low) / (high - low) * (bottom - top)
        rows = np.flatnonzero(np.isfinite(one.y))
        dots = "".join(f"M{x[row] + one.shift_px:.1f} {y[row]:.1f}h0" for row in rows)
        paths.append({"name": one.name, "look": one.look, "d": dots})
        tips.append({"name": one.name, "rows": rows.tolist(), "y": [short(value) for value in one.y[rows]]})
    places = [(bottom - (value - low) / (high - low) * (bottom - top), text) for value, text in ticks]
    zero = bottom + low / (high - low) * (bottom - top) if low < 0 < high else None
    return Chart(
        key, title, unit, table, paths,
        [(left + place * (right - left), text) for place, text in axis.ticks], places, axis.title,
        [left + place * (right - left) for place in axis.borders], zero, beyond, note, tips=tips,
    )  # fmt: skip


def _limits(values: NDArray[np.float64], *, all_in: bool) -> tuple[float, float]:
    """Ends of an axis with a little air; far points of many do not press the others flat."""
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    if values.size >= _MANY and not all_in:
        middle = float(np.median(values))
        reach = _FAR_SIGMA * 1.4826 * float(np.median(np.abs(values - middle)))
        if reach > 0:
            low, high = max(low, middle - reach), min(high, middle + reach)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - air, high + air


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[tuple[float, str]]:
    """Round values between two ends, with texts of equal decimals."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if abs(step / power - 2.5) < 1e-9 else 0))
    values = [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
    if max(abs(low), abs(high)) >= 1e6 or step < 1e-5:
        return [(value, f"{value:.3g}") for value in values]
    return [(value, f"{value + 0.0:.{decimals}f}".replace("-", "\u2212")) for value in values]


def short(value: float) -> float | None:
    """A value with the digits that a tip shows; None (null in JSON) if it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def number_axis(count: int, title: str) -> Axis:
    """Rows one after the other, by their number."""
    places = (np.arange(count) + 0.5) / max(count, 1)
    step = max(1, -(-count // 12))
    if step > 2:
        step = int(nice_ticks(0.0, float(count), 10)[1][0])
    ticks = [(float((number + 0.5) / count), str(number)) for number in range(0, count, max(1, step))]
    return Axis(places, ticks, title)


def value_axis(values: NDArray[np.float64], title: str, borders: Sequence[float] = ()) -> Axis:
    """Rows by a value, far ones at the ends, and lines at some values; rows without one should not be drawn."""
    low, high = _limits(values, all_in=False)
    places = (np.clip(np.nan_to_num(values, nan=low), low, high) - low) / (high - low)
    ticks = [((value - low) / (high - low), text) for value, text in nice_ticks(low, high, 8)]
    lines = [(value - low) / (high - low) for value in borders if low < value < high]
    return Axis(places, ticks, title, lines)


def time_axis(dates: Sequence[str], sessions: Sequence[str]) -> tuple[Axis, NDArray[np.int64]]:
    """Subs by time, the hours of daylight between sessions cut out.

    Parameters
    ----------
    dates : sequence of str
        ISO 8601 of each sub; where one does not tell, the axis is the order of the table.
    sessions : sequence of str
        Date of the evening of each sub.

    Returns
    -------
    Axis
    ndarray of int64
        Number of the session of each sub, 0 for the first.
    """
    names = sorted(set(sessions))
    number = np.array([names.index(session) for session in sessions], dtype=np.int64)
    moments = np.array([_moment(date) for date in dates], dtype=np.float64)
    if not np.isfinite(moments).all():
        return number_axis(len(dates), "sub, in the order of the table (not every header tells the time)"), number
    starts = [float(moments[number == one].min()) for one in range(len(names))]
    lengths = np.array([float(moments[number == one].max()) - start for one, start in enumerate(starts)])
    lengths = np.maximum(lengths, max(lengths.max() * 0.02, 60.0))
    gap = _GAP_SHARE * lengths.sum()
    begins = np.concatenate([np.zeros(1), np.cumsum(lengths + gap)[:-1]])
    total = float(begins[-1] + lengths[-1])
    margin = 0.01
    place = np.array([begins[one] + moment - starts[one] for one, moment in zip(number, moments, strict=True)])

    def scaled(value: float) -> float:
        return margin + (1.0 - 2.0 * margin) * value / total

    borders = [scaled(float(begin) - gap / 2) for begin in begins[1:]]
    if len(names) == 1:
        ticks = [(scaled(at), text) for at, text in _clock_ticks(starts[0], float(lengths[0]))]
        title: str = say("time, UTC, of the session {name}", name=names[0]) if names[0] else "time, UTC"
    else:
        ticks, end = [], -1.0
        for begin, length, name in zip(begins, lengths, names, strict=True):
            at = scaled(float(begin + length / 2))
            if at * (WIDTH - _LEFT - _RIGHT) > end:
                ticks.append((at, name or "no date"))
                end = at * (WIDTH - _LEFT - _RIGHT) + _LABEL_PX
        title = "time, by session (the hours between them are cut out)"
    places = np.array([scaled(float(value)) for value in place])
    return Axis(places, ticks, title, borders), number


def _clock_ticks(start: float, length: float) -> list[tuple[float, str]]:
    """Seconds after the start of round clock times, and their texts."""
    step = next((s for s in (60, 300, 600, 900, 1800, 3600, 7200, 14400) if length / s <= 9), 86400)
    first = math.ceil(start / step) * step
    moments = [float(first + number * step) for number in range(int((start + length - first) // step) + 1)] or [start]
    return [(moment - start, f"{datetime.fromtimestamp(moment, UTC):%H:%M}") for moment in moments]


def _moment(text: str) -> float:
    """Seconds of an ISO 8601 date in UTC; NaN if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
