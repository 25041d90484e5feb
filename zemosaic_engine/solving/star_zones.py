"""A catalogue of stars in one file, by zones of the sky, read where it is needed.

A zone is a cell of a belt of declination, about two degrees a side. Its stars lie together in the file, the brightest
first, each in eight bytes: 25 bits of right ascension and 25 of declination within the zone (0.2 milliarcseconds) and
14 of magnitude. Colours, where the catalogue has them, follow in the same order, in two bytes a star: 10 bits of colour
(0.006 mag) and 6 of its error (10 %). The file is mapped, not read: a field of a degree touches a few kilobytes of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError
from ..regular_files import open_file
from ..sentences import say

MAGIC, MAGIC_WITH_COLOURS = b"ZMSTARS1", b"ZMSTARS2"
_HEADER = struct.Struct("<8sIIIf64s")  # magic, belts, zones, stars, magnitude of the code 0, name
_PLACE_BITS, _MAGNITUDE_BITS = 25, 14
_PLACE_STEPS, _MAGNITUDE_STEPS = 1 << _PLACE_BITS, 1 << _MAGNITUDE_BITS
_STEP_MAG = 0.001
_COLOUR_BITS, _ERROR_BITS = 10, 6
_COLOUR_STEPS, _ERROR_STEPS = 1 << _COLOUR_BITS, 1 << _ERROR_BITS
_BLUEST_MAG, _COLOUR_STEP_MAG = -1.0, 0.006
_LEAST_ERROR_MAG, _ERROR_RATIO = 0.01, 1.1
_UNKNOWN_COLOUR = _COLOUR_STEPS * _ERROR_STEPS - 1


@dataclass(frozen=True)
class StarList:
    """Stars of a catalogue, the brightest first.

    Attributes
    ----------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        ICRS.
    magnitude : ndarray of float32, shape (n,)
        In the band of the catalogue.
    colour, colour_error : ndarray of float32, shape (n,), optional
        In the colour index of the catalogue, in magnitudes; NaN where it tells none (of all stars if left out).
    """

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    magnitude: NDArray[np.float32]
    colour: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    colour_error: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        for name in ("colour", "colour_error"):
            if getattr(self, name).size != self.ra_deg.size:
                object.__setattr__(self, name, np.full(self.ra_deg.size, np.nan, np.float32))

    def __len__(self) -> int:
        return int(self.ra_deg.size)

    def chosen(self, which: Any) -> StarList:
        """The stars that an index of NumPy picks, in its order."""
        return StarList(*(getattr(self, name)[which] for name in _COLUMNS))

    def brightest_first(self) -> StarList:
        """The same stars by rising magnitude; ties by place, so that the order does not depend on the source."""
        return self.chosen(np.lexsort((self.dec_deg, self.ra_deg, self.magnitude)))

    def first(self, most: int | None) -> StarList:
        """The first `most` stars; all of them for None."""
        return self.chosen(slice(most))

    def within(self, center_deg: tuple[float, float], radius_deg: float) -> StarList:
        """The stars no farther than `radius_deg` from a place."""
        return self.chosen(separation_deg(self.ra_deg, self.dec_deg, *center_deg) <= radius_deg)


_COLUMNS = ("ra_deg", "dec_deg", "magnitude", "colour", "colour_error")


def joined(parts: list[StarList]) -> StarList:
    """All stars of several lists, the brightest first."""
    if not parts:
        return StarList(np.array([]), np.array([]), np.array([], np.float32))
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS)
    return StarList(*columns).brightest_first()


def separation_deg(ra_deg: NDArray, dec_deg: NDArray, ra0_deg: float, dec0_deg: float) -> NDArray[np.float64]:
    """Angles between places and one place, in degrees (the haversine formula, right for small angles)."""
    ra, dec, ra0, dec0 = np.radians(ra_deg), np.radians(dec_deg), np.radians(ra0_deg), np.radians(dec0_deg)
    chord = np.sin(0.5 * (dec - dec0)) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin(0.5 * (ra - ra0)) ** 2
    return np.asarray(np.degrees(2.0 * np.arcsin(np.sqrt(np.clip(chord, 0.0, 1.0)))))


class Zones:
    """The cells of a sky of belts: where they begin and which of them a circle touches.

    Parameters
    ----------
    belts : int
        Belts of declination, all of one height; a belt has as many cells as keep these about square.
    """

    def __init__(self, belts: int) -> None:
        self.belts = belts
        self.height_deg = 180.0 / belts
        middle = np.radians(-90.0 + (np.arange(belts) + 0.5) * self.height_deg)
        self.cells = np.maximum(1, np.round(2 * belts * np.cos(middle))).astype(np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.cells)])

    def __len__(self) -> int:
        return int(self.first[-1])

    def zone_of(self, ra_deg: NDArray, dec_deg: NDArray) -> NDArray[np.int64]:
        """Number of the zone of each place."""
        belt = np.clip(((np.asarray(dec_deg) + 90.0) / self.height_deg).astype(np.int64), 0, self.belts - 1)
        cell = (np.mod(ra_deg, 360.0) / 360.0 * self.cells[belt]).astype(np.int64)
        return np.asarray(self.first[belt] + np.minimum(cell, self.cells[belt] - 1))

    def corner_deg(self, zone: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray]:
        """Lowest right ascension and declination of each zone, and its width in right ascension."""
        belt = np.searchsorted(self.first, zone, side="right") - 1
        width = 360.0 / self.cells[belt]
        return (zone - self.first[belt]) * width, -90.0 + belt * self.height_deg, width

    def touching(self, center_deg: tuple[float, float], radius_deg: float) -> Iterator[int]:
        """Numbers of the zones that a circle touches, and perhaps of a few more."""
        ra, dec = center_deg
        low, high = dec - radius_deg, dec + radius_deg
        reach = 180.0
        if low > -90.0 and high < 90.0:  # without a pole in it a circle has an easternmost point
            sine = np.sin(np.radians(radius_deg)) / np.cos(np.radians(dec))
            reach = float(np.degrees(np.arcsin(min(1.0, sine)))) if radius_deg < 90.0 else 180.0
        for belt in range(
            max(0, int((low + 90.0) / self.height_deg)), min(self.belts - 1, int((high + 90.0) / self.height_deg)) + 1
        ):
            cells, width = int(self.cells[belt]), 360.0 / int(self.cells[belt])
            begin, end = int(np.floor((ra - reach) / width)), int(np.floor((ra + reach) / width))
            count = min(end - begin + 1, cells)
            yield from (int(self.first[belt]) + (begin + step) % cells for step in range(count))


class ZonedCatalogue:
    """A file of stars by zones, mapped into memory.

    Parameters
    ----------
    path : Path
        As `write_zones` makes it.

    Raises
    ------
    SettingsError
        If the file cannot be read or is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open_file(path) as file:
                header = file.read(_HEADER.size)
            size = path.stat().st_size
        except OSError as error:
            raise SettingsError(
                say(
                    "The star catalogue {path} cannot be read: {why}. Install the program again.",
                    path=path,
                    why=error.strerror or error,
                )
            ) from error
        if len(header) < _HEADER.size or header[:8] not in (MAGIC, MAGIC_WITH_COLOURS):
            raise SettingsError(
                say("{path} is not a star catalogue of this program. Install the program again.", path=path)
            )
        _, belts, zones, stars, self._faint_code_mag, name = _HEADER.unpack(header)
        self.name = name.rstrip(b"\0").decode("ascii", "replace")
        self.zones = Zones(belts)
        self._begins_at = _HEADER.size
        self._stars_at = self._begins_at + 4 * (zones + 1)
        self._has_colours = header[:8] == MAGIC_WITH_COLOURS
        if zones != len(self.zones) or size != self._stars_at + (10 if self._has_colours else 8) * stars:
            raise SettingsError(say("The star catalogue {path} is not whole. Install the program again.", path=path))
        self._count = stars

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _starts(self) -> NDArray[np.uint32]:
        return np.fromfile(self.path, "<u4", len(self.zones) + 1, offset=self._begins_at)

    @cached_property
    def _codes(self) -> NDArray[np.uint64]:
        return np.asarray(np.memmap(self.path, "<u8", "r", self._stars_at, (self._count,)))

    @cached_property
    def _colours(self) -> NDArray[np.uint16]:
        if not self._has_colours:
            return np.broadcast_to(np.uint16(_UNKNOWN_COLOUR), (self._count,))
        return np.asarray(np.memmap(self.path, "<u2", "r", self._stars_at + 8 * self._count, (self._count,)))

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """Stars in a circle on the sky, the brightest first.

        Parameters
        ----------
        center_deg : tuple of float
            Right ascension and declination, ICRS.
        radius_deg : float
        most : int, optional
            Only so many of them, the brightest.

        Returns
        -------
        StarList
        """
        zone = np.fromiter(self.zones.touching(center_deg, radius_deg), np.int64)
        begin, end = self._starts[zone].astype(np.int64), self._starts[zone + 1].astype(np.int64)
        if not np.any(end > begin):
            return joined([])
        runs = [slice(first, last) for first, last in zip(begin, end, strict=True)]
        codes, colours = (np.concatenate([part[run] for run in runs]) for part in (self._codes, self._colours))
        zone = np.repeat(zone, end - begin)
        if most is None:
            return self._decoded(codes, colours, zone).within(center_deg, radius_deg).brightest_first()
        brightness = codes & np.uint64(_MAGNITUDE_STEPS - 1)
        looked = 2 * most
        while looked < codes.size:
            # All that are as bright as the faintest of them, so that ties are not cut by chance.
            limit = np.partition(brightness, looked)[looked]
            bright = brightness <= limit
            found = self._decoded(codes[bright], colours[bright], zone[bright]).within(center_deg, radius_deg)
            if len(found) >= most:
                return found.brightest_first().first(most)
            looked *= 4
        return self._decoded(codes, colours, zone).within(center_deg, radius_deg).brightest_first().first(most)

    def whole_sky(self) -> StarList:
        """All stars, in the order of the zones."""
        starts = self._starts.astype(np.int64)
        zone = np.repeat(np.arange(len(self.zones)), starts[1:] - starts[:-1])
        return self._decoded(np.asarray(self._codes), np.asarray(self._colours), zone)

    def _decoded(self, codes: NDArray[np.uint64], colours: NDArray[np.uint16], zone: NDArray[np.int64]) -> StarList:
        ra0, dec0, width = self.zones.corner_deg(zone)
        ra = (codes >> np.uint64(_PLACE_BITS + _MAGNITUDE_BITS)).astype(np.float64) + 0.5
        dec = (codes >> np.uint64(_MAGNITUDE_BITS) & np.uint64(_PLACE_STEPS - 1)).astype(np.float64) + 0.5
        magnitude = (codes & np.uint64(_MAGNITUDE_STEPS - 1)).astype(np.float32)
        return StarList(
            ra0 + ra * (width / _PLACE_STEPS),
            dec0 + dec * (self.zones.height_deg / _PLACE_STEPS),
            np.float32(self._faint_code_mag) + np.float32(_STEP_MAG) * magnitude,
            *_decoded_colours(colours),
        )


def _decoded_colours(code: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colours and their errors, NaN where unknown."""
    step, power = code >> np.uint16(_ERROR_BITS), code & np.uint16(_ERROR_STEPS - 1)
    colour = np.float32(_BLUEST_MAG) + np.float32(_COLOUR_STEP_MAG) * step.astype(np.float32)
    error = np.float32(_LEAST_ERROR_MAG) * np.float32(_ERROR_RATIO) ** power.astype(np.float32)
    unknown = code == _UNKNOWN_COLOUR
    return np.where(unknown, np.float32(np.nan), colour), np.where(unknown, np.float32(np.nan), error)


def _coded_colours(colour: NDArray[np.float32], error: NDArray[np.float32]) -> NDArray[np.uint16]:
    step = np.round((np.nan_to_num(colour, nan=-99.0) - _BLUEST_MAG) / _COLOUR_STEP_MAG)
    known = np.isfinite(error) & (step >= 0) & (step < _COLOUR_STEPS)
    with np.errstate(divide="ignore"):
        power = np.round(np.log(np.where(known, error, 1.0) / _LEAST_ERROR_MAG) / np.log(_ERROR_RATIO))
    code = np.clip(step, 0, _COLOUR_STEPS - 1) * _ERROR_STEPS + np.clip(power, 0, _ERROR_STEPS - 2)
    return np.where(known, code, _UNKNOWN_COLOUR).astype("<u2")


def write_zones(path: Path, stars: StarList, name: str, *, belts: int = 90) -> None:
    """Write a catalogue in the form that `ZonedCatalogue` reads.

    Parameters
    ----------
    path : Path
    stars : StarList
        In any order; magnitudes span 16 at most. Colours are written if any is known and lies between -1 and
        5.1 mag; others become unknown.
    name : str
        Of the catalogue, in ASCII.
    belts : int
        Belts of declination.
    """
    zones = Zones(belts)
    brightest = float(np.floor(stars.magnitude.min()))
    zone = zones.zone_of(stars.ra_deg, stars.dec_deg)
    order = np.lexsort((stars.dec_deg, stars.ra_deg, stars.magnitude, zone))
    zone = zone[order]
    ra0, dec0, width = zones.corner_deg(zone)

    def code(value: NDArray, steps: int) -> NDArray[np.uint64]:
        return np.clip(np.floor(value), 0, steps - 1).astype(np.uint64)

    ra = code((np.mod(stars.ra_deg[order], 360.0) - ra0) / width * _PLACE_STEPS, _PLACE_STEPS)
    dec = code((stars.dec_deg[order] - dec0) / zones.height_deg * _PLACE_STEPS, _PLACE_STEPS)
    magnitude = code((stars.magnitude[order].astype(np.float64) - brightest) / _STEP_MAG + 0.5, _MAGNITUDE_STEPS)
    codes = ra << np.uint64(_PLACE_BITS + _MAGNITUDE_BITS) | dec << np.uint64(_MAGNITUDE_BITS) | magnitude
    starts = np.searchsorted(zone, np.arange(len(zones) + 1)).astype("<u4")
    has_colours = bool(np.isfinite(stars.colour).any())
    magic = MAGIC_WITH_COLOURS if has_colours else MAGIC
    colours = _coded_colours(stars.colour[order], stars.colour_error[order]).tobytes() if has_colours else b""
    header = _HEADER.pack(magic, belts, len(zones), len(stars), brightest, name.encode("ascii"))
    path.write_bytes(header + starts.tobytes() + codes.astype("<u8").tobytes() + colours)


@cache
def shipped_catalogue() -> ZonedCatalogue:
    """Tycho-2 as it ships with the program."""
    return ZonedCatalogue(Path(__file__).with_name("tycho2.stars"))
