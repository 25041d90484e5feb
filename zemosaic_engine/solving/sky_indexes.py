"""Which quads a search is made with: those of a part of the sky, made for it, or of the whole sky, made once."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from functools import partial

from .quad_index import DENSE, DENSER, SPARSE, Density, QuadIndex, build_index
from .solver import Indexed, IndexMaker, Search, StarSource
from .star_zones import StarList, ZonedCatalogue

_RANGE = 1.35  # an index serves fields by this factor smaller and larger
_FAMILY_DEG = 1.6  # smaller fields: quads of the whole sky are a million and more
_STARS_A_FIELD = 120
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
        sides = [min(max(sides[0], _NARROWEST_DEG), sides[1]), min(sides[1], max(_WIDEST_DEG, sides[0]))]
        number = (
            max(1, math.ceil(math.log(sides[1] / sides[0]) / (2.0 * math.log(_RANGE)))) if sides[1] > sides[0] else 1
        )
        step = (sides[1] / sides[0]) ** (1.0 / number)
        for turn in reversed(range(number)):
            least, most = sides[0] * step**turn, sides[0] * step ** (turn + 1)
            span = math.radians(least / short), math.radians(most / short)
            for index in self._of_side(search, math.sqrt(least * most), max(shape) / short, stars or self._catalogue):
                yield Indexed(index, span)

    def _of_side(self, search: Search, side_deg: float, aspect: float, stars: StarSource) -> Iterator[QuadIndex]:
        if search.center_deg is not None:
            radius = min(180.0, search.radius_deg + 0.5 * math.hypot(1.0, aspect) * side_deg)
            area = 0.5 * (1.0 - math.cos(math.radians(radius))) * _WHOLE_SKY_SQUARE_DEG
            most = int(_STARS_A_FIELD * (1.0 + area / side_deg**2))
            yield build_index(stars.near(search.center_deg, radius, most=most), side_deg, DENSE)
        elif side_deg >= _FAMILY_DEG:
            yield self._whole(side_deg, DENSER)
        else:
            yield self._whole(side_deg, SPARSE)
            yield self._whole(side_deg, DENSER)

    def _whole(self, side_deg: float, density: Density) -> QuadIndex:
        # Pictures of one camera share an index: sides are rounded to two percent.
        key = round(50.0 * math.log(side_deg)), density
        with self._lock:
            if key not in self._kept:
                if self._sky is None:
                    self._sky = self._catalogue.whole_sky().brightest_first()
                self._kept[key] = build_index(self._sky, math.exp(key[0] / 50.0), density)
            return self._kept[key]
