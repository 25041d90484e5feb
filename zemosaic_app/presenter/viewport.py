"""A picture or a map in the place that a window has for it: how large it is drawn, and which part of it is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

# One notch of the wheel, one press of + or -.
ZOOM_STEP = 1.25
_MOST = 40.0
# By so many pixels the finished mosaic may differ from its tiles put together.
_EDGE = 2.0


def is_like(before: tuple[float, float], after: tuple[float, float]) -> bool:
    """True for contents of one size, but for an edge; nothing is like one that is not there yet."""
    return min(before) > 0 and all(abs(new - old) <= _EDGE for new, old in zip(after, before, strict=True))


@dataclass(frozen=True)
class Viewport:
    """Content of some size, drawn in a room of some size.

    Places in the content count its pixels from its upper left corner, places in the room those of the screen. The
    content never leaves the room: an axis on which it is smaller is centred, and on one on which it is larger its
    edges lie on the edges of the room or beyond.

    Attributes
    ----------
    content, room : tuple of float
        Width and height; a content without a size is one that is not there yet.
    scale : float
        Pixels of the screen for one of the content.
    centre : tuple of float
        The place of the content that lies in the middle of the room.
    is_fitted : bool
        True while all of the content is shown as large as the room allows, also when either changes.
    finest : float
        The finest that there is to show is so many times smaller than a pixel of the content.
    """

    content: tuple[float, float] = (0.0, 0.0)
    room: tuple[float, float] = (1.0, 1.0)
    scale: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)
    is_fitted: bool = True
    finest: float = 1.0

    @property
    def is_empty(self) -> bool:
        """True while there is no content."""
        return min(self.content) <= 0

    @property
    def fitting_scale(self) -> float:
        """The scale at which all of the content just fits; 1 without content."""
        if self.is_empty:
            return 1.0
        return min(room / size for room, size in zip(self.room, self.content, strict=True))

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest scale: half of what fits; 40 for the finest, or four times what fits."""
        return min(0.5 * self.fitting_scale, 1.0), max(_MOST * self.finest, 4.0 * self.fitting_scale)

    @property
    def visible(self) -> tuple[float, float, float, float]:
        """The part of the content that is seen: left, top, right, bottom."""
        left, top = self.to_content(0.0, 0.0)
        right, bottom = self.to_content(*self.room)
        width, height = self.content
        return max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)

    def to_content(self, x: float, y: float) -> tuple[float, float]:
        """The place of the content at a place of the room; it may lie outside of the content."""
        return (
            self.centre[0] + (x - 0.5 * self.room[0]) / self.scale,
            self.centre[1] + (y - 0.5 * self.room[1]) / self.scale,
        )

    def to_room(self, x: float, y: float) -> tuple[float, float]:
        """The place of the room at which a place of the content lies; it may lie outside of the room."""
        return (
            0.5 * self.room[0] + (x - self.centre[0]) * self.scale,
            0.5 * self.room[1] + (y - self.centre[1]) * self.scale,
        )

    def with_room(self, width: float, height: float) -> Viewport:
        """Return the same view in an area of another size: still fitted, or with the same centre."""
        other = replace(self, room=(max(width, 1.0), max(height, 1.0)))
        return other.fitted() if self.is_fitted else other._held()

    def with_content(self, width: float, height: float, finest: float = 1.0) -> Viewport:
        """Content of the same size, but for an edge, stays where it is; of another it is fitted."""
        other = replace(self, content=(width, height), finest=finest)
        if (width, height) == self.content:
            return other
        return other.fitted() if self.is_fitted or not is_like(self.content, other.content) else other._held()

    def fitted(self) -> Viewport:
        """Return the view that shows all of the content as large as possible."""
        width, height = self.content
        return replace(self, scale=self.fitting_scale, centre=(0.5 * width, 0.5 * height), is_fitted=True)

    def at_full_size(self) -> Viewport:
        """Return the view that shows one pixel of the content on one pixel of the screen."""
        return replace(self, scale=self.finest, is_fitted=False)._held()

    def of_part(self, left: float, top: float, width: float, height: float, scale: float) -> Viewport:
        """Return where a more detailed picture of a part lies in the view.

        Parameters
        ----------
        left, top : float
            Its corner in the content.
        width, height : float
            In its own pixels.
        scale : float
            Size of its pixels in those of the content.
        """
        centre = ((self.centre[0] - left) / scale, (self.centre[1] - top) / scale)
        return Viewport((width, height), self.room, self.scale * scale, centre, is_fitted=False)

    def zoomed(self, factor: float, x: float | None = None, y: float | None = None) -> Viewport:
        """Larger or smaller within the limits; what lies at a place of the room stays there, by default its middle."""
        least, most = self.limits
        scale = min(max(self.scale * factor, least), most)
        x = 0.5 * self.room[0] if x is None else x
        y = 0.5 * self.room[1] if y is None else y
        kept_x, kept_y = self.to_content(x, y)
        centre = (kept_x - (x - 0.5 * self.room[0]) / scale, kept_y - (y - 0.5 * self.room[1]) / scale)
        return replace(self, scale=scale, centre=centre, is_fitted=False)._held()

    def moved(self, dx: float, dy: float) -> Viewport:
        """The content drawn so many pixels of the screen farther right and down, as far as it goes."""
        centre = (self.centre[0] - dx / self.scale, self.centre[1] - dy / self.scale)
        return replace(self, centre=centre)._held()

    def _held(self) -> Viewport:
        """The nearest place that the content may have in the room."""
        centre = []
        for middle, size, room in zip(self.centre, self.content, self.room, strict=True):
            half = 0.5 * room / self.scale
            centre.append(0.5 * size if 2.0 * half >= size else min(max(middle, half), size - half))
        return replace(self, centre=(centre[0], centre[1]))


def drawn_part(picture: NDArray[np.uint8], viewport: Viewport) -> tuple[NDArray[np.uint8], int, int]:
    """Return the visible part of a picture in screen pixels, each the mean of the area that it covers.

    Parameters
    ----------
    picture : ndarray of uint8, shape (h, w, 3)
        The content of the viewport.
    viewport : Viewport

    Returns
    -------
    part : ndarray of uint8, shape (rows, columns, 3)
        Without rows or columns where nothing of the picture is seen.
    left, top : int
        The place of its corner in the room.
    """
    spans = []
    for axis, size in enumerate((picture.shape[1], picture.shape[0])):
        begin, end = viewport.to_room(0.0, 0.0)[axis], viewport.to_room(*viewport.content)[axis]
        first = max(math.floor(begin + 1e-6), 0)
        last = min(max(math.ceil(end - 1e-6), math.floor(begin + 1e-6) + 1), math.ceil(viewport.room[axis]))
        if last <= first:
            return np.zeros((0, 0, 3), dtype=np.uint8), 0, 0
        edges = (np.arange(first, last + 1) - begin) / viewport.scale
        spans.append((first, np.clip(edges, 0.0, size)))
    (left, columns), (top, rows) = spans
    part = _means(picture[:, math.floor(columns[0]) : math.ceil(columns[-1])], rows)
    part = _means(part.swapaxes(0, 1), columns - math.floor(columns[0])).swapaxes(0, 1)
    return np.ascontiguousarray((part + 0.5).astype(np.uint8)), left, top


def _means(values: NDArray[np.generic], edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means of rows from each edge to the next, (len(edges) - 1, ...); a row that is cut counts by its part."""
    first = math.floor(edges[0])
    rows = values[first : math.ceil(edges[-1])]
    cuts = np.union1d(edges, np.arange(first + 1, first + len(rows)))
    middles = 0.5 * (cuts[1:] + cuts[:-1])
    among = np.searchsorted(edges, middles, side="right") - 1
    shares = (np.diff(cuts) / np.diff(edges)[among]).astype(np.float32)
    weights = csr_array((shares, (among, middles.astype(np.intp) - first)), shape=(len(edges) - 1, len(rows)))
    flat = np.ascontiguousarray(rows, dtype=np.float32).reshape(len(rows), -1)
    return np.asarray(weights @ flat).reshape(len(edges) - 1, *rows.shape[1:])
