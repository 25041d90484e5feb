"""What a map of the sky shows beside footprints: a scale bar, depth as colour with its legend, what panels need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from zemosaic_engine.canvas.advice import Advice, advice_lines, exposure_text, place_text
from zemosaic_engine.canvas.coordinates import pixel_to_sky
from zemosaic_utils import COVERAGE_COLOURS

from .appearance import NEED_COLOUR, ROUGH_COLOUR, SUB_COLOUR, TILE_COLOUR
from .messages import FolderContents
from .texts import Texts

# Lengths of a scale bar in arcseconds, largest first.
_LENGTHS = tuple(float(length) for length in (
    36000, 18000, 7200, 3600, 1800, 900, 600, 300, 120, 60, 30, 20, 10, 5, 2, 1
))  # fmt: skip
#: Share of the depth's colours that lets the ground and the lines be seen.
DEPTH_ALPHA = 150
#: Names of the steps of the legend of the depth, from its least to its most.
LEGEND_STEPS = 5
_ROOMY_PX = 150.0


@dataclass(frozen=True)
class ScaleBar:
    """A bar as long as an angle on the sky: its length in pixels of the screen, and the angle."""

    length_px: float
    text: str


def scale_bar(arcsec_per_px: float, most_px: float) -> ScaleBar:
    """The longest bar of a round angle that fits.

    Parameters
    ----------
    arcsec_per_px : float
        Of a pixel of the screen.
    most_px : float
        The bar may be so long.
    """
    length = next((one for one in _LENGTHS if one / arcsec_per_px <= most_px), _LENGTHS[-1])
    unit, size = ("\u00b0", 3600.0) if length >= 3600.0 else ("\u2032", 60.0) if length >= 60.0 else ("\u2033", 1.0)
    return ScaleBar(length / arcsec_per_px, f"{length / size:g}{unit}")


def depth_picture(contents: FolderContents) -> NDArray[np.uint8]:
    """Depth as colour, (rows, columns, 4) in RGBA, north up; transparent where no sub reaches."""
    seconds = np.array(contents.depth, dtype=np.float64)[::-1]
    top = max(float(seconds.max(initial=0.0)), 1e-9)
    picture = np.zeros((*seconds.shape, 4), dtype=np.uint8)
    picture[..., :3] = _colours(seconds / top)
    picture[..., 3] = np.where(seconds > 0, DEPTH_ALPHA, 0)
    return picture


def _colours(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours of shares of the greatest depth, (..., 3)."""
    stops = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in COVERAGE_COLOURS], dtype=np.float64)
    at = np.clip(share, 0.0, 1.0) * (len(stops) - 1)
    return np.stack([np.interp(at, np.arange(len(stops)), stops[:, one]) for one in range(3)], axis=-1).astype(np.uint8)


def depth_legend(contents: FolderContents) -> list[tuple[str, str]]:
    """Colour and exposure of some depths, from the least to the greatest one; empty without a depth."""
    top = max((max(row, default=0.0) for row in contents.depth), default=0.0)
    if top <= 0:
        return []
    shares = np.linspace(1.0 / LEGEND_STEPS, 1.0, LEGEND_STEPS)
    colours = _colours(shares)
    return [
        (f"#{red:02x}{green:02x}{blue:02x}", exposure_text(top * share))
        for (red, green, blue), share in zip(colours.tolist(), shares, strict=True)
    ]


def is_roomy(beside_px: float, needed_px: float = _ROOMY_PX) -> bool:
    """True if a legend fits beside the sky, which has so much room at its left; else it lies along the edges."""
    return beside_px >= needed_px


def advice_of(contents: FolderContents | None) -> Advice | None:
    """What the mosaic that is planned needs; None if that is not known."""
    return Advice.of_facts(contents.advice) if contents is not None and contents.advice else None


def needs(contents: FolderContents) -> list[tuple[float, float, str]]:
    """Place on the canvas and short text, ``+5``, of each panel that needs subs."""
    advice = advice_of(contents)
    return [] if advice is None else [(one.x, one.y, f"+{one.more_subs}") for one in advice.needy]


def advice_texts(advice: Advice | None, texts: Texts, most: int) -> list[str]:
    """What a mosaic needs in lines, the last of which counts those that would be too many."""
    if advice is None:
        return []
    first, *rest = (texts.sentence(line) for line in advice_lines(advice))
    lines = [first, *(f"\u2022 {line}" for line in rest[:most])]
    return lines + ([texts.counted("found.more_needs", len(rest) - most)] if len(rest) > most else [])


def place_under_cursor(contents: FolderContents, wcs: WCS, x: float, y: float) -> str:
    """Right ascension, declination and depth at a place of the canvas; empty beside it."""
    height, width = contents.canvas_shape
    if not (0 <= x < width and 0 <= y < height):
        return ""
    ra, dec = pixel_to_sky(wcs, np.array([x]), np.array([y]))
    rows, columns = len(contents.depth), len(contents.depth[0])
    row = min(int((y + 0.5) / contents.depth_cell_px), rows - 1)
    column = min(int((x + 0.5) / contents.depth_cell_px), columns - 1)
    depth = contents.depth[row][column]
    return f"{place_text(float(ra[0]), float(dec[0]))}   {exposure_text(depth)}"


def points_of(line: Sequence[Sequence[float]], height: int) -> list[tuple[float, float]]:
    """A line of the canvas on a map that has north up."""
    return [(x, height - y) for x, y in line]


def legend(contents: FolderContents, texts: Texts) -> list[tuple[str, str]]:
    """Colour and name of each kind of outline that the map has."""
    solved = len(contents.footprints) - contents.roughly
    return [
        (colour, texts(key))
        for colour, key, is_there in (
            (SUB_COLOUR, "map.subs", solved > 0),
            (ROUGH_COLOUR, "map.roughly", contents.roughly > 0),
            (TILE_COLOUR, "map.tiles", bool(contents.tiles)),
            (NEED_COLOUR, "map.needs", bool(needs(contents))),
        )
        if is_there
    ]
