"""Subs in memory, and what their headers say of them.

`read_sub` looks at the header alone, `load_frame` reads the pixels, marks what is not valid
and demosaics. What counts as invalid is said there.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..errors import SubError
from ..fits.headers import HeaderCards, celestial_wcs, has_stray_sip, image_center_deg, pixel_scale_arcsec
from ..fits.reader import StoredImage
from ..fits.zero_points import ToldZeroPoint, told_zero_point
from ..geometry import Box
from ..regular_files import FileState
from ..sentences import say
from .camera_setup import UNKNOWN_SETUP, CameraSetup
from .faults import read_guarded
from .image_files import find_image, read_image
from .saturated_cores import saturated_cores
from .sensor_correction import SensorCorrection, overscan_level


@dataclass(frozen=True)
class Origin:
    """Facts of a header that no step depends on, for the headers of what is made of the sub.

    Attributes
    ----------
    target, telescope, instrument : str
        Empty where the header does not tell.
    focal_length_mm : float
    latitude_deg, longitude_deg : float
        Of the site, east positive; NaN where the header does not tell.
    zero_point : ToldZeroPoint or None
        Photometric zero point of the pixel values as they are stored.
    """

    target: str = ""
    telescope: str = ""
    instrument: str = ""
    focal_length_mm: float = float("nan")
    latitude_deg: float = float("nan")
    longitude_deg: float = float("nan")
    zero_point: ToldZeroPoint | None = None

    @classmethod
    def of(cls, cards: HeaderCards) -> Origin:
        """What a header says."""
        focal_length = cards.number("FOCALLEN", "FOCAL", "FOCLEN")
        return cls(
            cards.text("OBJECT", "TARGET", "OBJNAME"),
            cards.text("TELESCOP"),
            cards.text("INSTRUME", "CAMERA"),
            focal_length if focal_length > 0.0 else math.nan,
            _degrees(cards, ("SITELAT", "LAT-OBS", "OBSGEO-B"), 90.0),
            _degrees(cards, ("SITELONG", "LONG-OBS", "OBSGEO-L"), 360.0),
            told_zero_point(cards, _exposure_s(cards)),
        )


_SEXAGESIMAL = re.compile(r"([+-]?)\s*(\d+)[\s:d°]+(\d+)(?:[\s:m']+(\d+(?:\.\d*)?))?.*")


def _degrees(cards: HeaderCards, keywords: tuple[str, ...], limit: float) -> float:
    """An angle in degrees, also one written as ``+48 12 30``; NaN if there is none within +-`limit`."""
    for keyword in keywords:
        match = _SEXAGESIMAL.fullmatch(cards.text(keyword))
        if match:
            size = float(match[2]) + float(match[3]) / 60.0 + float(match[4] or 0.0) / 3600.0
            value = -size if match[1] == "-" else size
        else:
            value = cards.number(keyword)
        if abs(value) <= limit:
            return value
    return math.nan


@dataclass(frozen=True)
class SubFacts:
    """What the header of a sub says, whether it has a plate solution or not.

    Attributes
    ----------
    path : Path
        The file.
    hdu : int
        Index of the first HDU that holds an image.
    shape : tuple of int
        ``(height, width)`` in pixels, after the colour axis is taken off.
    channels : int
        1 or 3 after demosaicing.
    bayer : str or None
        Colour pattern of the first two rows and columns **of the stored array**
        (``"RGGB"``, ``"GRBG"`` ...), offsets and row order already applied; None if not a Bayer image.
    exposure_s : float
        Exposure time; NaN if the header does not tell.
    filter, mount, session, camera, date_obs : str
        Empty where the header does not tell; `date_obs` in ISO 8601, `session` the date of the evening.
    saturation_adu : float
        Values at or above are saturated; inf if nothing is known.
    state : FileState or None
        What the file looked like when its header was read; None of a sub that was not read from a file.
    span : int
        Bytes of the file, from its beginning, in which header and pixels lie; what is behind them does not count.
    notes : sequence of str
        What in the header was not taken at its word, each in a few words.
    setup : CameraSetup
        How the camera was set.
    """

    path: Path
    hdu: int
    shape: tuple[int, int]
    channels: int
    bayer: str | None
    exposure_s: float
    filter: str = ""
    mount: str = ""
    session: str = ""
    camera: str = ""
    date_obs: str = ""
    saturation_adu: float = float("inf")
    state: FileState | None = None
    span: int = 0
    notes: tuple[str, ...] = ()
    setup: CameraSetup = UNKNOWN_SETUP

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the pixels before demosaicing, channels last: (H, W), or (H, W, 3) of a colour cube."""
        return self.shape if self.bayer is not None or self.channels == 1 else (*self.shape, 3)

    def facts(self) -> dict[str, Any]:
        """These facts by name, without what a solved or an unsolved sub has beside them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(SubFacts)}


@dataclass(frozen=True, kw_only=True)
class SubInfo(SubFacts):
    """What the header of a sub with a plate solution says, before a pixel is read; `SubFacts` has the rest.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS of the stored array, two axes (ICRS), with its distortions.
    pixel_scale_arcsec : float
        Geometric mean of the pixel's two sides at the image centre.
    center_deg : tuple of float
        (ra, dec) of the image centre, ICRS.
    origin : Origin
        What else the header tells of where the sub comes from.
    """

    wcs: WCS
    pixel_scale_arcsec: float
    center_deg: tuple[float, float]
    origin: Origin = Origin()


@dataclass(frozen=True, kw_only=True)
class UnsolvedSub(SubFacts):
    """What the header of a sub without a plate solution says; `SubFacts` has the rest.

    Attributes
    ----------
    header : HeaderCards
        All cards of its header; some may hint at the pointing and the scale (RA, DEC, FOCALLEN, XPIXSZ ...).
    reason : str
        Why it has no plate solution, or what is wrong with the one that it has: the rest of a sentence about the file.
    """

    header: HeaderCards
    reason: str = ""

    def solved(self, wcs: WCS) -> SubInfo:
        """The sub with a plate solution.

        Parameters
        ----------
        wcs : astropy.wcs.WCS
            Celestial WCS of the stored array, two axes (ICRS), as `headers.celestial_wcs` makes it.
        """
        return SubInfo(
            **self.facts(),
            wcs=wcs,
            pixel_scale_arcsec=pixel_scale_arcsec(wcs, self.shape),
            center_deg=image_center_deg(wcs, self.shape),
            origin=Origin.of(self.header),
        )


@dataclass(frozen=True)
class InvalidValues:
    """Which stored values of a sub are invalid; decided for the whole sub, so that its parts agree.

    Attributes
    ----------
    saturation_adu : float
        Values at or above; inf for none.
    zeros : tuple of bool
        Whether exact zeros are, for each colour of the pattern or of the image.
    """

    saturation_adu: float
    zeros: tuple[bool, ...]


@dataclass(frozen=True)
class Frame:
    """A sub in memory: demosaiced, invalid pixels NaN.

    Attributes
    ----------
    info : SubInfo
        Header facts; ``info.wcs`` is the WCS of `pixels`.
    pixels : ndarray of float32, shape (H, W, C), C-contiguous
        In ADU; NaN where saturated, blank or otherwise invalid.
    rules : InvalidValues
        Which stored values were found to be invalid.
    """

    info: SubInfo
    pixels: NDArray[np.float32]
    rules: InvalidValues

    @property
    def name(self) -> str:
        """File name, as it appears in logs and tables."""
        return self.info.path.name


# --- from the header

_MIN_SIDE_PX = 8
#: What a header may say without being believed.
STRAY_SIP = say("SIP parameters without -SIP in CTYPE, taken for leftovers of an earlier solution and not applied")
BINNED_MONO = say("Binned subs with BAYERPAT in the header whose pixels show one colour, taken for mono")


def read_sub_info(path: str | Path, *, saturation_adu: float = 0.0) -> SubInfo:
    """Read the header of a solved sub; no pixel is read.

    Parameters
    ----------
    path : path-like
        FITS file, plain, gzipped or tile-compressed.
    saturation_adu : float
        As in `read_sub`.

    Returns
    -------
    SubInfo

    Raises
    ------
    SubError
        If the file is unreadable, truncated, holds no image of one or three channels or has no
        celestial WCS.
    """
    sub = read_sub(path, saturation_adu=saturation_adu)
    if isinstance(sub, UnsolvedSub):
        raise SubError(sub.path, sub.reason)
    return sub


def read_sub(path: str | Path, *, saturation_adu: float = 0.0) -> SubInfo | UnsolvedSub:
    """Read the header of a sub, plate-solved or not; no pixel is read.

    Parameters
    ----------
    path : path-like
        FITS file, plain, gzipped or tile-compressed.
    saturation_adu : float
        Saturation level; 0 takes it from the header (SATURATE, or DATAMAX where it is the top of an
        analogue-digital converter), else from the data type: 99.9 % of its range for 16 bits and
        more, since cameras that subtract a dark store saturated pixels a little lower.

    Returns
    -------
    SubInfo or UnsolvedSub
        The latter if the header holds no plate solution, or one that cannot be right.

    Raises
    ------
    SubError
        If the file is unreadable, truncated, or holds no image of one or three channels.
    """
    image = read_guarded(path, lambda: find_image(path))
    return sub_of_image(path, image, saturation_adu=saturation_adu)


def sub_of_image(path: str | Path, image: StoredImage, *, saturation_adu: float = 0.0) -> SubInfo | UnsolvedSub:
    """Return what the header of an image says, as `read_sub`."""
    with np.errstate(all="ignore"):  # the numbers of a header may be anything
        return read_guarded(path, lambda: _sub_of_image(Path(path), image, saturation_adu))


def _sub_of_image(path: Path, image: StoredImage, saturation_adu: float) -> SubInfo | UnsolvedSub:
    cards = image.header
    shape, is_colour = _picture_shape(path, image.shape)
    try:
        bayer = None if is_colour else bayer_pattern(cards, shape[0])
    except ValueError as error:
        raise SubError(path, str(error)) from error
    notes = []
    if bayer is not None and cards.integer("XBINNING", 1) > 1 and _has_one_colour(path, image):
        bayer = None
        notes.append(BINNED_MONO)
    if has_stray_sip(cards):
        notes.append(STRAY_SIP)
    date_obs = _observation_date(cards)
    unsolved = UnsolvedSub(
        path=path,
        hdu=image.hdu,
        shape=shape,
        channels=3 if is_colour or bayer else 1,
        bayer=bayer,
        header=cards,
        exposure_s=_exposure_s(cards),
        filter=cards.text("FILTER", "FILTER1", "INSFLNAM"),
        mount=_mount(cards),
        session=_evening(cards, date_obs),
        camera=_camera(cards),
        date_obs=date_obs,
        saturation_adu=saturation_adu if saturation_adu > 0.0 else _saturation_adu(image),
        state=image.state,
        span=image.span,
        notes=tuple(notes),
        setup=CameraSetup.of(cards, shape),
    )
    try:
        wcs = celestial_wcs(cards, shape)
    except ValueError as error:
        return replace(unsolved, reason=str(error))
    return unsolved.solved(wcs)


def _picture_shape(path: Path, shape: tuple[int, ...]) -> tuple[tuple[int, int], bool]:
    """``(height, width)``, and whether a colour axis was taken off."""
    size = " x ".join(str(length) for length in shape[::-1])
    if len(shape) > 3:
        raise SubError(
            path,
            say("its image has {n} axes ({axes}); two, or three with colours, are expected", n=len(shape), axes=size),
        )
    colours = 1
    if len(shape) == 3:
        if shape[0] != 3 and shape[2] not in (1, 3):
            raise SubError(path, say("its image of {axes} pixels has neither one nor three channels", axes=size))
        colours, shape = (3, shape[1:]) if shape[0] == 3 else (shape[2], shape[:2])
    if min(shape) < _MIN_SIDE_PX:
        raise SubError(path, say("its image of {axes} pixels is too small to be a sub", axes=size))
    return (shape[0], shape[1]), colours == 3


_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
_NOT_A_PATTERN = frozenset(("", "NONE", "MONO", "MONOCHROME", "GRAY", "GREY", "0", "F", "FALSE", "N/A", "NO", "COLOR",
                            "RGB", "1", "T", "TRUE"))  # fmt: skip


def bayer_pattern(cards: HeaderCards, height: int) -> str | None:
    """Colours of the first two rows and columns of the stored array; None if it is no Bayer image.

    Parameters
    ----------
    cards : HeaderCards
        BAYERPAT or COLORTYP names the pattern, XBAYROFF and YBAYROFF shift it. ROWORDER says what
        its first row is: the first row of the array (TOP-DOWN, or no such card), or the top row of the
        picture, which is the last row of the array (BOTTOM-UP).
    height : int
        Rows of the image; its parity matters for BOTTOM-UP.

    Raises
    ------
    ValueError
        If the header names a colour filter array that is not a Bayer pattern.
    """
    name = ""
    for keyword in ("BAYERPAT", "COLORTYP", "CFATYPE"):
        name = cards.text(keyword).upper().replace(" ", "")
        if name not in _NOT_A_PATTERN:
            break
    if name in _NOT_A_PATTERN:
        return None
    if name not in _PATTERNS:
        raise ValueError(
            say("its colour filter array {name!r} is not one of {names}", name=name, names=", ".join(_PATTERNS))
        )
    x_offset, y_offset = cards.integer("XBAYROFF"), cards.integer("YBAYROFF")
    bottom_up = cards.text("ROWORDER").upper().replace("_", "-").startswith("BOTTOM")

    def colour(x: int, y: int) -> str:
        row = height - 1 - y if bottom_up else y
        return name[2 * ((row + y_offset) % 2) + (x + x_offset) % 2]

    return colour(0, 0) + colour(1, 0) + colour(0, 1) + colour(1, 1)


_ONE_COLOUR = 0.003  # of the sky; skies of one-shot colour cameras differ by percents between red, green and blue
_ONE_COLOUR_SIGMA = 5.0


def _has_one_colour(path: Path, image: StoredImage) -> bool:
    """True if the four pixels of a Bayer cell see the same sky: a mono camera, whatever the header says.

    Drivers of mono cameras leave BAYERPAT behind, and binning two by two mixes the colours of a Bayer
    sensor, but some drivers bin pixels of one colour: only the pixels tell. Where the sky is within its
    noise nothing does, and the header holds.
    """
    pixels = np.squeeze(read_image(path, image.hdu)).astype(np.float32, copy=False)
    means, errors = [], []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        plane = pixels[y::2, x::2]
        plane = plane[np.isfinite(plane)]
        if not plane.size:
            return False
        low, sky, high = np.quantile(plane, (0.16, 0.5, 0.84))
        sigma = float(high - low) / 2.0
        near = plane[np.abs(plane - sky) <= 3.0 * sigma]
        if sky <= sigma:
            return False
        means.append(float(near.mean(dtype=np.float64)))
        errors.append(sigma / math.sqrt(near.size))
    return max(means) - min(means) <= max(_ONE_COLOUR_SIGMA * max(errors), _ONE_COLOUR * min(means))


def _exposure_s(cards: HeaderCards) -> float:
    exposure = cards.number("EXPTIME", "EXPOSURE", "EXP_TIME", "EXPOSURE_TIME", "ITIME")
    return exposure if exposure >= 0.0 else math.nan


def _mount(cards: HeaderCards) -> str:
    """``"EQ"`` or ``"ALTZ"``; empty if unknown."""
    if "EQMODE" in cards:
        return "EQ" if cards.flag("EQMODE") or cards.number("EQMODE") == 1.0 else "ALTZ"
    words = cards.text("MOUNT", "MOUNTMOD").upper()
    return "EQ" if words.startswith("EQ") else "ALTZ" if words.startswith("ALT") else ""


def _camera(cards: HeaderCards) -> str:
    """Return instrument, telescope and serial number, which distinguish sensors."""
    parts = [
        cards.text(*names) for names in (("INSTRUME", "CAMERA"), ("TELESCOP",), ("CAMERAID", "SERIALNO", "SERIAL"))
    ]
    return ", ".join(dict.fromkeys(part for part in parts if part))


_ISO_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d*)?)?))?.*")
_OLD_DATE = re.compile(r"(\d\d)/(\d\d)/(\d\d)")
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_YEARS = range(1850, 2200)  # programs write the first or the last day that they can name where they know none


def _observation_date(cards: HeaderCards) -> str:
    """Return the start of the exposure in ISO 8601; empty if unknown."""
    for keyword in ("DATE-OBS", "DATE-BEG", "DATE-AVG", "DATE_OBS"):
        text = cards.text(keyword)
        old = _OLD_DATE.fullmatch(text)
        if old:  # the form of before 1997
            text = f"19{old[3]}-{old[2]}-{old[1]}"
        match = _ISO_DATE.fullmatch(text)
        if match and _parsed(match[0]) is not None:
            clock = match[2] or cards.text("TIME-OBS", "UT")
            joined = f"{match[1]}T{clock}" if clock else match[1]
            return joined if _parsed(joined) is not None else match[1]
    mjd = cards.number("MJD-OBS", "MJD-BEG", "MJD-AVG")
    if 0.0 < mjd < 1e5:
        return (_MJD_EPOCH + timedelta(days=mjd)).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return ""


def _parsed(text: str) -> datetime | None:
    """The moment that `text` names; None if there is no such date."""
    match = _ISO_DATE.fullmatch(text)
    if match is None:
        return None
    seconds = (match[2] or "00:00:00")[:8]
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{seconds}")
    except ValueError:
        return None
    return moment if moment.year in _YEARS else None


def _evening(cards: HeaderCards, date_obs: str) -> str:
    """Return the date of the evening on which the night of a sub began, in local time if known."""
    local = _parsed(cards.text("DATE-LOC", "DATE-LTC"))
    moment = local or _parsed(date_obs)
    if moment is None or ("T" not in date_obs and local is None):
        return ""
    longitude = cards.number("SITELONG", "LONG-OBS", "OBSGEO-L")
    if local is None and -360.0 <= longitude <= 360.0:
        moment += timedelta(hours=((longitude + 180.0) % 360.0 - 180.0) / 15.0)
    return (moment - timedelta(hours=12)).date().isoformat()


_INTEGER_RANGE_USED = 0.999


def _saturation_adu(image: StoredImage) -> float:
    cards = image.header
    limit = math.inf
    if image.bitpix > 0:
        scale, zero = cards.number("BSCALE"), cards.number("BZERO")
        raw_top = 255.0 if image.bitpix == 8 else 2.0 ** (image.bitpix - 1) - 1.0
        raw_span = 2.0**image.bitpix - 1.0
        margin = 0.0 if image.bitpix == 8 else (1.0 - _INTEGER_RANGE_USED) * raw_span
        scale, zero = 1.0 if math.isnan(scale) else scale, 0.0 if math.isnan(zero) else zero
        limit = zero + scale * (raw_top - margin) if scale > 0.0 else math.inf
    told = cards.number("SATURATE", "SATLEVEL")
    if told > 0.0:
        return min(told, limit)
    # DATAMAX also comes as the brightest pixel or as a cut for the display; 2^n - 1 is neither.
    highest = cards.number("DATAMAX")
    if image.bitpix > 0 and highest >= 255.0 and math.log2(highest + 1.0).is_integer():
        return min(highest, limit)
    return limit


# --- pixels


def load_frame(
    info: SubInfo, *, hot_pixels: NDArray[np.bool_] | None = None, correction: SensorCorrection | None = None
) -> Frame:
    """Read the pixels of a sub, mark the invalid ones, calibrate and demosaic.

    Invalid, hence NaN, are:

    - NaN, infinite and BLANK pixels;
    - saturated ones: at or above ``info.saturation_adu``, or on a plateau, a highest value that is
      shared by many more pixels than the values just below it (12- and 14-bit cameras);
    - exact zeros where the sky is far above zero: dead columns, borders, dropped rows; in floating-point
      data also those that lie side by side in areas, as registration leaves them. Where the noise of the sky itself
      reaches zero they are clipped noise and stay;
    - the hot pixels handed in, and those that `correction` does not trust.

    Bayer samples that saturate in stars take part in demosaicing with the level at which they saturate.

    Parameters
    ----------
    info : SubInfo
        From `read_sub_info`.
    hot_pixels : ndarray of bool, shape (H, W), optional
        True where the sensor is not to be trusted.
    correction : SensorCorrection, optional
        What calibration frames do to its stored pixels.

    Returns
    -------
    Frame

    Raises
    ------
    SubError
        If the file cannot be read, changed since, is black or has no valid pixel.
    ValueError
        If the shape of `hot_pixels` is not that of the sub.
    """
    if hot_pixels is not None and hot_pixels.shape != info.shape:
        raise ValueError(f"hot_pixels has the shape {hot_pixels.shape}, the sub {info.shape}")
    pixels, rules, cores = read_guarded(info.path, lambda: _pixels_with_rules(info))
    if cores is not None:
        pixels[cores] = rules.saturation_adu
    if correction is not None:
        correct_whole(pixels, correction)
    if hot_pixels is not None:
        pixels[hot_pixels] = np.nan
    known = np.isfinite(pixels)
    if cores is not None:
        known &= ~cores
    if not known.any():
        raise SubError(info.path, say("it has no valid pixel"))
    if info.bayer is not None:
        from .demosaic import demosaic

        pixels = demosaic(pixels, info.bayer, cores)
    elif pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    return Frame(info, np.ascontiguousarray(pixels), rules)


def correct_whole(pixels: NDArray[np.float32], correction: SensorCorrection) -> None:
    """Calibrate the stored pixels of a whole sub in place."""
    overscan = correction.overscan
    level = 0.0 if overscan is None else overscan_level(pixels[overscan.slices])
    correction.apply(pixels, Box(0, pixels.shape[0], 0, pixels.shape[1]), level)


def read_stored_pixels(info: SubInfo) -> NDArray[np.float32]:
    """Pixels before demosaicing with the invalid ones NaN, as `load_frame` defines them, not calibrated.

    Returns
    -------
    ndarray of float32, shape (H, W) or (H, W, 3)
    """
    return read_with_rules(info)[0]


def read_with_rules(info: SubInfo) -> tuple[NDArray[np.float32], InvalidValues]:
    """Pixels as `read_stored_pixels` gives them, and what was found to be invalid in this sub."""
    return read_guarded(info.path, lambda: _pixels_with_rules(info))[:2]


def _pixels_with_rules(info: SubInfo) -> tuple[NDArray[np.float32], InvalidValues, NDArray[np.bool_] | None]:
    """Pixels, what was found to be invalid, and the samples that saturate in stars, if any."""
    raw = read_image(info.path, info.hdu)
    is_integer = raw.dtype.kind in "iu"
    if raw.dtype.kind == "i":
        _refuse_lost_zero(raw, info.path)
    pixels = channels_last(raw, info).astype(np.float32, copy=False)
    if not is_integer:
        pixels[~np.isfinite(pixels)] = np.nan
    top = float(np.fmax.reduce(pixels, axis=None))
    if math.isnan(top):
        raise SubError(info.path, say("it has no valid pixel"))
    saturation = min(info.saturation_adu, top if _is_plateau(pixels, top, is_integer) else math.inf)
    cores = None if info.bayer is None else saturated_cores(pixels, saturation)
    mark_invalid(pixels, InvalidValues(saturation, ()), info.bayer)
    has_zeros = bool((pixels == 0.0).any())
    planes = _colour_planes(pixels, info.bayer)
    zeros = tuple(has_zeros and _has_false_zeros(plane, info.path, is_integer) for plane in planes)
    mark_invalid(pixels, InvalidValues(math.inf, zeros), info.bayer)
    return pixels, InvalidValues(saturation, zeros), cores


_LOST_ZERO_SHARE = 0.25  # of the way from 0 to the lowest integer; no sky is so far below 0


def _refuse_lost_zero(raw: NDArray[Any], path: Path) -> None:
    """Refuse integers that are so far below 0 that they can only be unsigned ones without their BZERO.

    Solved with the others, they would be subs with a pedestal of -32768 ADU, of which illumination makes a bowl.
    """
    lowest = int(np.iinfo(raw.dtype).min)
    sample = raw.ravel()[:: max(1, raw.size // 65536)]
    middle = float(np.median(sample))
    if middle < _LOST_ZERO_SHARE * lowest:
        raise SubError(
            path,
            say(
                "half of its values are below {middle:.0f}: its header must have lost the card BZERO = {zero}",
                middle=middle,
                zero=-lowest,
            ),
        )


def mark_invalid(pixels: NDArray[np.float32], rules: InvalidValues, bayer: str | None) -> None:
    """Make what the rules of a sub say NaN, in place; a part of a sub begins at an even row and column."""
    if math.isfinite(rules.saturation_adu):
        pixels[pixels >= np.float32(rules.saturation_adu)] = np.nan
    if any(rules.zeros):
        for plane, is_false in zip(_colour_planes(pixels, bayer), rules.zeros, strict=True):
            if is_false:
                plane[plane == 0.0] = np.nan


def channels_last(raw: NDArray, info: SubInfo | UnsolvedSub) -> NDArray:
    """(H, W) or (H, W, 3) in memory order, from any of the ways to store it."""
    if raw.ndim == 3 and raw.shape[0] == 3:
        raw = raw.transpose(1, 2, 0)
    elif raw.ndim == 3 and raw.shape[2] == 1:
        raw = raw[:, :, 0]
    if raw.shape != info.stored_shape:
        raise SubError(info.path, say("the file changed since its header was read"))
    return np.ascontiguousarray(raw)


_PLATEAU_PIXELS = 8
_PLATEAU_SHARE = 0.02  # a larger share of equal pixels is a picture of something, not clipped stars
_BELOW_PLATEAU = 0.03  # of the height above the sky


def _is_plateau(pixels: NDArray[np.float32], top: float, is_integer: bool) -> bool:
    """True if the highest value is where the detector ends and not just the brightest pixel."""
    at_top = int(np.count_nonzero(pixels == np.float32(top)))
    if not _PLATEAU_PIXELS <= at_top <= _PLATEAU_SHARE * pixels.size:
        return False
    sample = pixels.ravel()[:: max(1, pixels.size // 65536)]
    height = top - float(np.median(sample[np.isfinite(sample)])) if np.isfinite(sample).any() else top
    # A few steps of an integer scale at least: the noise of a faint frame fills a few steps only.
    below = max(_BELOW_PLATEAU * height, 4.0 if is_integer else 0.0)
    just_below = int(np.count_nonzero(pixels >= np.float32(top - below))) - at_top
    return at_top > 2 * just_below


def _colour_planes(pixels: NDArray[np.float32], bayer: str | None) -> Iterator[NDArray[np.float32]]:
    """Views of `pixels`, each of one colour only."""
    if bayer is not None:
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            yield pixels[y::2, x::2]
    elif pixels.ndim == 3:
        for channel in range(pixels.shape[2]):
            yield pixels[:, :, channel]
    else:
        yield pixels


_FAR_ABOVE_ZERO = 5.0  # sigma of the sky


_SCATTERED = 0.01  # share of a plane that may be zeros without neighbours, beside areas of them


def _are_areas(zero: NDArray[np.bool_]) -> bool:
    """True if zeros lie side by side in areas, as registration leaves borders: noise has single ones."""
    solid = zero[1:-1, 1:-1].copy()
    for dy, dx in itertools.product((0, 1, 2), repeat=2):
        solid &= zero[dy : dy + solid.shape[0], dx : dx + solid.shape[1]]
    inside = np.zeros_like(zero)
    for dy, dx in itertools.product((0, 1, 2), repeat=2):
        inside[dy : dy + solid.shape[0], dx : dx + solid.shape[1]] |= solid
    # Whole lines along the edge have no square of zeros around them; they go with the areas.
    scattered = int(np.count_nonzero(zero & ~inside))
    return bool(solid.any()) and scattered < max(_SCATTERED * zero.size, int(np.count_nonzero(inside)) // 4)


def _has_false_zeros(plane: NDArray[np.float32], path: Path, is_integer: bool) -> bool:
    """True if exact zeros cannot be noise of the sky."""
    count = int(np.count_nonzero(plane == 0.0))
    if count == 0:
        return False
    step = max(1, math.isqrt(plane.size // 65536))
    sample = plane[::step, ::step]
    sample = sample[np.isfinite(sample) & (sample != 0.0)]
    if sample.size:
        low, sky = np.quantile(sample, (0.16, 0.5))
        if sky - _FAR_ABOVE_ZERO * (sky - low) > 0.0:
            return True
    if not is_integer and _are_areas(plane == 0.0):
        return True
    if is_integer and 2 * count > plane.size:
        raise SubError(path, say("it is black: {share:.0f} % of its pixels are 0", share=100.0 * count / plane.size))
    return _are_an_area(plane == 0.0)


_AREA_PX = 5
_LEAST_AREA_PX = 100
_SCATTERED = 0.02  # of the pixels; so many are lost with the areas at most


def _are_an_area(zeros: NDArray[np.bool_]) -> bool:
    """True if exact zeros fill areas, such as the borders of a registered frame, and hardly any lies elsewhere.

    Noise around zero that was rounded or clipped leaves zeros that are scattered; it never fills a square of 5 pixels.
    """
    from scipy import ndimage

    square = np.ones((_AREA_PX, _AREA_PX), dtype=bool)
    # Beyond the edge of the image everything is zero, so that a narrow border is an area too.
    inside = ndimage.binary_erosion(zeros, square, border_value=1)
    if np.count_nonzero(inside) < _LEAST_AREA_PX:
        return False
    around = ndimage.binary_dilation(inside, square, iterations=2)  # the steps of a slanted border belong to it
    return int(np.count_nonzero(zeros & ~around)) <= _SCATTERED * zeros.size
