"""The survey on the sky: footprints, tiles and seams in the pixels of the canvas, rows downwards, north up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from zemosaic_engine.canvas.coordinates import footprint_polygon, pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.named_field import FoundObject
from zemosaic_engine.fits.headers import celestial_wcs
from zemosaic_engine.sentences import say

from .charts import short
from .facts import Absent, Facts

#: Classes of a step over a seam, in sigma of the sky noise of a pixel: upper ends, and names for the legend.
STEP_CLASSES = ((0.01, "< 0.01"), (0.03, "0.01\u20130.03"), (0.1, "0.03\u20130.1"), (0.3, "0.1\u20130.3"),
                (math.inf, "> 0.3"))  # fmt: skip
#: Spacings of the lines of right ascension and declination, in degrees.
_SPACINGS = (1 / 60, 2 / 60, 5 / 60, 10 / 60, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_SESSION_LOOKS = 8
_LINE_POINTS = 600
_TOUCHING_PX = 1.5


@dataclass(frozen=True)
class SkyFrame:
    """Where the sky is on a figure.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Gnomonic, north up, of the canvas or made up for the figure.
    shape : tuple of int
        ``(height, width)`` in its pixels.
    """

    wcs: WCS
    shape: tuple[int, int]

    def place(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """FITS pixels (0-based, centres at integers), shape (N, 2), as places on the figure."""
        return np.stack([xy[:, 0] + 0.5, self.shape[0] - xy[:, 1] - 0.5], axis=1)

    def of_sky(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places on the figure of positions in degrees, shape (N, 2); NaN where there is none."""
        return self.place(np.stack(sky_to_pixel(self.wcs, ra, dec), axis=-1))

    def for_script(self) -> dict[str, float]:
        """Return what the page needs to show the position under the cursor."""
        scale = self.wcs.wcs.cdelt if not self.wcs.wcs.has_cd() else np.diag(self.wcs.pixel_scale_matrix)
        return {
            "ra": float(self.wcs.wcs.crval[0]), "dec": float(self.wcs.wcs.crval[1]),
            "x": float(self.wcs.wcs.crpix[0] - 0.5), "y": float(self.shape[0] - self.wcs.wcs.crpix[1] + 0.5),
            "dx": float(scale[0]), "dy": float(-scale[1]), "height": float(self.shape[0]),
        }  # fmt: skip


def find_frame(facts: Facts) -> SkyFrame | Absent:
    """The canvas of the run, or without a mosaic a frame around the footprints of its subs."""
    header = facts.mosaic_header
    if not isinstance(header, Absent):
        return SkyFrame(WCS(header, naxis=2), (int(header["NAXIS2"]), int(header["NAXIS1"])))
    if isinstance(facts.subs, Absent):
        return facts.subs
    ra, dec = _corners(facts.subs)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    angle = np.radians(ra)
    wcs.wcs.crval = [
        float(np.degrees(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean()))) % 360.0,
        float(dec.mean()),
    ]
    scale = float(np.median(facts.subs["pixel_scale"])) / 3600.0
    wcs.wcs.cdelt = [-scale, scale]
    wcs.wcs.set()
    places = np.stack(sky_to_pixel(wcs, ra.ravel(), dec.ravel()), axis=-1)
    if not np.isfinite(places).all():
        return Absent("The subs lie more than a hemisphere apart.")
    low, high = places.min(axis=0), places.max(axis=0)
    wcs.wcs.crpix = wcs.wcs.crpix - low + 2.0
    wcs.wcs.set()
    width, height = (math.ceil(side) + 4 for side in high - low)
    return SkyFrame(wcs, (height, width))


def _corners(subs: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination of the corners, each of shape (N, 4)."""
    ra, dec = (np.stack([subs[f"{axis}_{n}"] for n in range(1, 5)], axis=1) for axis in ("ra", "dec"))
    return np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)


def path_of(polygons: Sequence[NDArray[np.float64]], digits: int) -> str:
    """Closed polygons as one SVG path."""
    pieces = []
    for polygon in polygons:
        points = "L".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in polygon)
        pieces.append(f"M{points}Z")
    return "".join(pieces)


def name_places(frame: SkyFrame, found: Sequence[FoundObject]) -> list[dict[str, Any]]:
    """Where the names of objects stand, and their outlines.

    Returns
    -------
    list of dict
        ``name``; ``x``, ``y``; ``across`` and ``along``, the diameters of the outline in pixels, 0 if its size is not
        known; ``angle``, from up to the left, in degrees; ``top``, how far the outline reaches upwards.
    """
    places = []
    scale = float(abs(frame.for_script()["dy"]))
    for one in found:
        x, y = frame.place(np.array([[one.x, one.y]]))[0]
        along = (one.object.major_deg or 0.0) / scale
        across = (one.object.minor_deg or one.object.major_deg or 0.0) / scale
        angle = one.object.angle_deg or 0.0
        turned = math.radians(angle)
        top = 0.5 * math.hypot(along * math.cos(turned), across * math.sin(turned))
        places.append({"name": one.object.name, "x": float(x), "y": float(y), "across": across, "along": along,
                       "angle": angle, "top": top})  # fmt: skip
    return places


def _digits(frame: SkyFrame) -> int:
    """Decimals of a place that can be seen."""
    return 0 if max(frame.shape) > 3000 else 1


def _thinned(count: int) -> NDArray[np.int64]:
    """Return some of many points, including the first and the last."""
    return np.unique(np.linspace(0, count - 1, 25).astype(np.int64))


def sub_outlines(frame: SkyFrame, subs: Table, session: NDArray[np.int64], names: Sequence[str]) -> list[dict]:
    """The footprints of each session as one path, with the rows of its subs in their order."""
    ra, dec = _corners(subs)
    corners = frame.of_sky(ra.ravel(), dec.ravel()).reshape(-1, 4, 2)
    found = np.isfinite(corners).all(axis=(1, 2))
    digits = _digits(frame)
    groups = []
    for number, name in enumerate(names):
        rows = np.flatnonzero((session == number) & found)
        if rows.size:
            look = f"s{number % _SESSION_LOOKS}"
            path = path_of(list(corners[rows]), digits)
            groups.append({"name": name or "no date", "look": look, "d": path, "rows": rows.tolist()})
    return groups


@dataclass(frozen=True)
class TilePlace:
    """A tile on the figure: name, outline of its inner box, centre, and its boxes where it lies on the canvas."""

    name: str
    outline: NDArray[np.float64]
    centre: tuple[float, float]
    inner: tuple[float, float, float, float] | None


def tile_places(frame: SkyFrame, headers: Sequence[tuple[str, fits.Header]]) -> list[TilePlace]:
    """Return the positions of the tiles from the headers of their files."""
    places = []
    for name, header in headers:
        inner, outer = (
            [int(header[f"{word}{side}"]) for side in ("Y0", "Y1", "X0", "X1")] for word in ("INNER", "OUTER")
        )
        shape = int(header["NAXIS2"]), int(header["NAXIS1"])
        outline = footprint_polygon(celestial_wcs(header, shape), shape, frame.wcs)
        if not len(outline):
            continue
        if inner == outer:  # on a grid of its own
            polygon = frame.place(outline[::4])
            middle = polygon.mean(axis=0)
            places.append(TilePlace(name, polygon, (float(middle[0]), float(middle[1])), None))
            continue
        # The tile's pixel (0, 0) is the canvas's (OUTERX0, OUTERY0).
        left, right = float(inner[2]), float(inner[3])
        top, bottom = frame.shape[0] - float(inner[1]), frame.shape[0] - float(inner[0])
        polygon = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        centre = ((left + right) / 2, (top + bottom) / 2)
        places.append(TilePlace(name, polygon, centre, (left, top, right, bottom)))
    return places


def seam_lines(tiles: Sequence[TilePlace], seams: Table) -> list[dict[str, Any]]:
    """One line an overlap: along the common border where tiles touch, else between their centres.

    Returns
    -------
    list of dict
        ``first``, ``second``; ``edge`` the line of the overlap graph and ``border`` that of the seam, each
        (x1, y1, x2, y2) or empty where the place of a tile is not known; ``pixels``; per channel the steps;
        ``before`` and ``after``, the classes of the largest.
    """
    by_name = {tile.name: tile for tile in tiles}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in seams:
        key = (str(row["first"]), str(row["second"]))
        if key not in found:
            edge, border = _lines_between(by_name.get(key[0]), by_name.get(key[1]))
            found[key] = {"first": key[0], "second": key[1], "edge": edge, "border": border,
                          "pixels": int(row["pixels"]), "channels": []}  # fmt: skip
        columns = ("step_before", "step_after", "sigma_before", "sigma_after")
        found[key]["channels"].append([str(row["channel"]), *(short(float(row[name])) for name in columns)])
    for seam in found.values():
        for word, column in (("before", 3), ("after", 4)):
            sizes = [abs(channel[column]) for channel in seam["channels"] if channel[column] is not None]
            seam[word] = step_class(max(sizes)) if sizes else -1
    return list(found.values())


def _lines_between(first: TilePlace | None, second: TilePlace | None) -> tuple[list[float], list[float]]:
    """Line between the centres, and the common border; empty if the place of one is not known."""
    if first is None or second is None:
        return [], []
    edge = [round(value, 1) for value in (*first.centre, *second.centre)]
    return edge, _common_border(first, second) or edge


def _common_border(first: TilePlace, second: TilePlace) -> list[float] | None:
    if first.inner is None or second.inner is None:
        return None
    left, top = (max(first.inner[side], second.inner[side]) for side in (0, 1))
    right, bottom = (min(first.inner[side], second.inner[side]) for side in (2, 3))
    if right - left < -_TOUCHING_PX or bottom - top < -_TOUCHING_PX:
        return None
    return [round(value, 1) for value in (left, top, max(left, right), max(top, bottom))]


def edge_lines(frame: SkyFrame, edges: Table) -> list[dict[str, Any]]:
    """One line a piece of an edge inside the mosaic, the largest steps last, so that they are drawn above the others.

    Returns
    -------
    list of dict
        ``line`` (x1, y1, x2, y2); ``words`` for people; ``before`` and ``after``, the classes of the largest step of
        the channels, -1 where none is known.
    """
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in edges:
        key = (str(row["kind"]), str(row["first"]), str(row["second"]), float(row["ra"]), float(row["dec"]))
        found.setdefault(key, []).append(row)
    on_sky = []
    for (*_, ra, dec), rows in found.items():
        half, angle = 0.5 * float(rows[0]["length"]) / 3600.0, math.radians(float(rows[0]["angle"]))
        east, north = half * math.sin(angle) / math.cos(math.radians(dec)), half * math.cos(angle)
        on_sky += [(ra - east, dec - north), (ra + east, dec + north)]
    places = frame.of_sky(*np.array(on_sky).reshape(-1, 2).T).reshape(-1, 2, 2)
    lines = []
    for ((_, name, side, *_), rows), ends in zip(found.items(), places, strict=True):
        if not np.isfinite(ends).all():
            continue
        largest = {
            word: max(
                (abs(float(row[f"sigma_{word}"])) for row in rows if math.isfinite(row[f"sigma_{word}"])), default=-1.0
            )
            for word in ("before", "after")
        }
        steps = ", ".join(f"{row['channel']} {float(row['step_after']):+.2f} ADU" for row in rows)
        words = say("{side} edge of {name}: {steps}", side=side, name=name, steps=steps)
        lines.append(
            {"line": [round(float(value), 1) for value in ends.ravel()], "words": words,
             "largest": largest["after"],
             **{word: step_class(size) if size >= 0.0 else -1 for word, size in largest.items()}}
        )  # fmt: skip
    return sorted(lines, key=lambda line: line["largest"])


def step_class(sigma: float) -> int:
    """Number of the class in `STEP_CLASSES` of a step of `sigma`."""
    return next(number for number, (end, _) in enumerate(STEP_CLASSES) if sigma < end)


@dataclass(frozen=True)
class SkyLine:
    """A line of constant right ascension or declination.

    Attributes
    ----------
    is_ra : bool
        Whether the right ascension is constant.
    value, spacing : float
        In degrees: that of the line, and the distance of such lines.
    points : ndarray of float64, shape (N, 2)
        On the figure.
    """

    is_ra: bool
    value: float
    spacing: float
    points: NDArray[np.float64]

    @property
    def text(self) -> str:
        """The value as it is written."""
        return (hours_text if self.is_ra else degrees_text)(self.value, self.spacing)


def sky_lines(frame: SkyFrame) -> list[SkyLine]:
    """Lines of right ascension and declination over a figure; none around a pole, where they meet."""
    height, width = frame.shape
    y, x = np.meshgrid(np.linspace(-0.5, height - 0.5, 25), np.linspace(-0.5, width - 0.5, 25), indexing="ij")
    ra, dec = pixel_to_sky(frame.wcs, x.ravel(), y.ravel())
    middle = float(frame.wcs.wcs.crval[0])
    ra = (ra - middle + 180.0) % 360.0 - 180.0
    if max(abs(float(dec.min())), abs(float(dec.max()))) > 88.0 or np.ptp(ra) > 180.0:
        return []
    lines = []
    for is_ra, values, others, zero in ((True, ra, dec, middle), (False, dec, ra, 0.0)):
        span = float(np.ptp(values))
        spacing = next((one for one in _SPACINGS if span / one <= 5), _SPACINGS[-1])
        first = math.ceil((values.min() + zero) / spacing)
        last = math.floor((values.max() + zero) / spacing)
        run = np.linspace(float(others.min()), float(others.max()), _LINE_POINTS)
        for number in range(first, last + 1):
            level = np.full(_LINE_POINTS, number * spacing)
            places = frame.of_sky(*((level, run) if is_ra else (run + middle, level)))
            inside = (places >= 0).all(axis=1) & (places[:, 0] <= width) & (places[:, 1] <= height)
            if np.count_nonzero(inside) > 1:
                lines.append(SkyLine(is_ra, number * spacing, spacing, places[inside]))
    return lines


def graticule(frame: SkyFrame) -> tuple[str, list[dict[str, Any]]]:
    """Lines of right ascension and declination as one path, and their labels at the left and lower edge."""
    digits = _digits(frame)
    pieces: list[str] = []
    labels: list[dict[str, Any]] = []
    for line in sky_lines(frame):
        thinned = line.points[_thinned(len(line.points))]
        pieces.append("M" + "L".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in thinned))
        labels.append(_label(line, frame.shape))
    return "".join(pieces), [label for label in labels if label]


def _label(line: SkyLine, shape: tuple[int, int]) -> dict[str, Any]:
    """A label where a line meets the lower (right ascension) or left (declination) edge, if that is not a corner."""
    height, width = shape
    points = line.points
    if line.is_ra:
        x, y = points[np.argmax(points[:, 1])]
        if not 0.12 * width < x < 0.92 * width:
            return {}
        return {"x": round(float(x)), "y": height, "text": line.text, "look": "ra"}
    x, y = points[np.argmin(points[:, 0])]
    if not 0.05 * height < y < 0.9 * height:
        return {}
    return {"x": 0, "y": round(float(y)), "text": line.text, "look": "dec"}


def hours_text(ra_deg: float, spacing_deg: float) -> str:
    """A right ascension as hours and minutes, with seconds where the spacing of the lines needs them."""
    seconds = round((ra_deg % 360.0) * 240.0)
    hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
    tail = "" if spacing_deg >= 0.25 and not seconds % 60 else f"{seconds % 60:02d}s"
    return f"{hours}h{minutes:02d}m{tail}"


def degrees_text(dec_deg: float, spacing_deg: float) -> str:
    """A declination as degrees and minutes of arc."""
    minutes = round(abs(dec_deg) * 60.0)
    sign = "\u2212" if dec_deg < 0 and minutes else "+"
    tail = "" if spacing_deg >= 1.0 and not minutes % 60 else f"{minutes % 60:02d}\u2032"
    return f"{sign}{minutes // 60}\u00b0{tail}"
