"""Which quads a search is made with: those of a part of the sky, made for it, or of the whole sky, made once."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from functools import partial

from .quad_index import DENSE, DENSER, DENSER_NARROW, SPARSE, Density, QuadIndex, build_index
from .solver import Indexed, IndexMaker, Search, StarSource
from .star_zones import StarList, ZonedCatalogue

_RANGE = 1.35  # an index serves fields by this factor smaller and larger
_STARS_A_FIELD = 120
_NARROW_DEG = 1.0
_WIDEST_DEG, _NARROWEST_DEG = 30.0, 0.35  # shorter sides that are looked for where the scale is not known
_WHOLE_SKY_SQUARE_DEG = 41253.0


class SkyIndexes:
    """Indexes of quads for searches; those of the whole sky are kept.

    Parameters
    ----------
    catalogue : ZonedCatalogue
        Of the whole sky.
    """

    def __init__(self, catalogue: ZonedCatalogue) -> None:
        self._catalogue = catalogue
        self._sky: StarList | None = None
        self._kept: dict[tuple[int, Density], QuadIndex] = {}
        self._lock = threading.Lock()

    def of(self, stars: StarSource) -> IndexMaker:
        """Indexes whose stars of a part of the sky come from another catalogue."""
        return partial(self, stars=stars)

    def __call__(self, search: Search, shape: tuple[int, int], stars: StarSource | None = None) -> Iterator[Indexed]:
        """Indexes for a search, those of the largest fields first.

        Parameters
        ----------
        search : Search
        shape : tuple of int
            Of the picture.
        stars : StarSource, optional
            Where the stars of a part of the sky come from; the catalogue if it is not given.
        """
        short = min(shape)
        sides = [short * scale / 3600.0 for scale in search.scale_arcsec]
        if sides[1] > 2.0 * sides[0]:  # a guess: as far as a catalogue has something to say, alike for all cameras
            sides = [_NARROWEST_DEG, _WIDEST_DEG]
        number = max(1, math.ceil(math.log(sides[1] / sides[0]) / (2.0 * math.log(_RANGE))))
        step = (sides[1] / sides[0]) ** (1.0 / number)
        sizes = [(sides[0] * step**turn, sides[0] * step ** (turn + 1)) for turn in reversed(range(number))]
        # The whole sky is searched for all sizes with fewer quads before it is searched with more.
        for density in (DENSE,) if search.center_deg is not None else (SPARSE, DENSER):
            for least, most in sizes:
                side_deg = math.sqrt(least * most)
                if search.center_deg is None:
                    is_narrow = density is DENSER and side_deg < _NARROW_DEG
                    index = self._whole(side_deg, DENSER_NARROW if is_narrow else density)
                else:
                    near = stars or self._catalogue
                    index = _around(search.center_deg, search.radius_deg, side_deg, max(shape) / short, near, density)
                yield Indexed(index, (math.radians(least / short), math.radians(most / short)))

    def _whole(self, side_deg: float, density: Density) -> QuadIndex:
        # Pictures of one camera share an index: sides are rounded to two percent.
        key = round(50.0 * math.log(side_deg)), density
        with self._lock:
            if key not in self._kept:
                if self._sky is None:
                    self._sky = self._catalogue.whole_sky().brightest_first()
                self._kept[key] = build_index(self._sky, math.exp(key[0] / 50.0), density)
            return self._kept[key]


def _around(
    center_deg: tuple[float, float], radius_deg: float, side_deg: float, aspect: float, stars: StarSource,
    density: Density,
) -> QuadIndex:  # fmt: skip
    """Quads of the part of the sky that a picture can see if its middle is within a circle."""
    radius = min(180.0, radius_deg + 0.5 * math.hypot(1.0, aspect) * side_deg)
    area = 0.5 * (1.0 - math.cos(math.radians(radius))) * _WHOLE_SKY_SQUARE_DEG
    most = int(_STARS_A_FIELD * (1.0 + area / side_deg**2))
    return build_index(stars.near(center_deg, radius, most=most), side_deg, density)
