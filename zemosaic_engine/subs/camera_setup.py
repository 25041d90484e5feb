"""How a camera was set when it took a frame: what decides which calibration frames belong to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..fits.headers import HeaderCards
from ..geometry import Box

#: Telescopes that subtract a dark of their own from every sub that they write.
_SUBTRACT_THEIR_DARK = ("seestar",)


@dataclass(frozen=True)
class CameraSetup:
    """The settings of a camera, and what was done to the frame since.

    Attributes
    ----------
    camera, serial, telescope : str
        Empty where the header does not tell.
    binning : tuple of int
        ``(x, y)``; 0 where the header does not tell.
    gain, offset : float
        Settings of the camera (cards GAIN, and OFFSET or BLKLEVEL), not in ADU; NaN where unknown.
    temperature_c : float
        Of the sensor; NaN where unknown.
    rotation_deg : float
        Mechanical angle of the rotator in front of the camera (ROTATANG or ROTATOR); NaN where unknown.
    readout : str
        Mode in which the sensor was read.
    pedestal_adu : float
        What a program added to every pixel (PEDESTAL); 0 where the header names nothing. Some programs write it
        negative, as the number that is to be added to get rid of it.
    black_level_adu : float
        Electronic offset in ADU (BLACKLEV); NaN where unknown.
    calibrated : str
        Which of ``"B"`` (bias), ``"D"`` (dark) and ``"F"`` (flat) were applied already (CALSTAT).
    subtracts_dark : bool
        True for a telescope that subtracts its own dark.
    overscan, exposed : Box or None
        Pixels that light never reaches (BIASSEC), and those that it does (TRIMSEC or DATASEC), of the stored array.
    """

    camera: str = ""
    serial: str = ""
    telescope: str = ""
    binning: tuple[int, int] = (0, 0)
    gain: float = math.nan
    offset: float = math.nan
    temperature_c: float = math.nan
    rotation_deg: float = math.nan
    readout: str = ""
    pedestal_adu: float = 0.0
    black_level_adu: float = math.nan
    calibrated: str = ""
    subtracts_dark: bool = False
    overscan: Box | None = None
    exposed: Box | None = None

    @classmethod
    def of(cls, cards: HeaderCards, shape: tuple[int, int]) -> CameraSetup:
        """What a header says of an image of `shape` (height, width)."""
        x_binning = max(0, cards.integer("XBINNING"))
        pedestal = cards.number("PEDESTAL")
        black_level = cards.number("BLACKLEV", "BLKLVL")
        names = " ".join(cards.text(name) for name in ("INSTRUME", "TELESCOP", "CREATOR")).casefold()
        return cls(
            camera=cards.text("INSTRUME", "CAMERA"),
            serial=cards.text("CAMERAID", "SERIALNO", "SERIAL"),
            telescope=cards.text("TELESCOP"),
            binning=(x_binning, max(0, cards.integer("YBINNING", x_binning))),
            gain=cards.number("GAIN", "ISOSPEED", "ISO"),
            offset=cards.number("OFFSET", "BLKLEVEL"),
            temperature_c=_temperature_c(cards),
            rotation_deg=cards.number("ROTATANG", "ROTATOR"),
            readout=cards.text("READOUTM", "READMODE"),
            pedestal_adu=0.0 if math.isnan(pedestal) else abs(pedestal),
            black_level_adu=black_level if black_level >= 0.0 else math.nan,
            calibrated="".join(letter for letter in "BDF" if letter in cards.text("CALSTAT").upper()),
            subtracts_dark=any(name in names for name in _SUBTRACT_THEIR_DARK),
            overscan=_section(cards.text("BIASSEC"), shape),
            exposed=_section(cards.text("TRIMSEC", "DATASEC"), shape),
        )


#: Of a frame whose header tells nothing.
UNKNOWN_SETUP = CameraSetup()

_COLDEST_C, _WARMEST_C = -120.0, 90.0


def _temperature_c(cards: HeaderCards) -> float:
    """The measured temperature of the sensor, else the one that was asked for; NaN outside what sensors stand."""
    for keyword in ("CCD-TEMP", "CCDTEMP", "SENSTEMP", "DET-TEMP", "SET-TEMP"):
        temperature = cards.number(keyword)
        if _COLDEST_C < temperature < _WARMEST_C:
            return temperature
    return math.nan


_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")


def _section(text: str, shape: tuple[int, int]) -> Box | None:
    """The pixels that ``[x1:x2, y1:y2]`` names, counted from 1 and both included; None if they are not in the image."""
    match = _SECTION.fullmatch(text.strip())
    if match is None:
        return None
    x0, x1, y0, y1 = (int(number) for number in match.groups())
    box = Box(min(y0, y1) - 1, max(y0, y1), min(x0, x1) - 1, max(x0, x1))
    whole = Box(0, shape[0], 0, shape[1])
    return box if box.intersect(whole) == box else None
