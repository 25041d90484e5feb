"""FITS header cards as plain values, and the celestial WCS that they mean, in any dialect.

Cards are parsed here rather than by astropy because headers in the wild break the standard in
ways that make it warn or raise half-way, and because a run looks at thousands of headers.
World coordinates of every WCS made here are ICRS right ascension and declination in degrees.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, Sip, WcsError
from numpy.typing import NDArray

from ..sentences import say
from .exact_wcs import ExactWCS

CardValue = str | int | float | bool

_CARD_BYTES = 80
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")
_LONGEST_TEXT = 65_536  # characters of a value that is continued over many cards; what is behind is left out
_COMMENTARY = frozenset(("COMMENT", "HISTORY", "", "END"))


class HeaderCards(Mapping[str, CardValue]):
    """The cards of one header as plain Python values, keyed by upper-case keyword.

    Cards that are blank, undefined or that nobody can read are left out, as are comments. Where
    a keyword comes twice the last one holds, as in WCSLIB: programs that solve again append.

    Parameters
    ----------
    values : mapping
        Keywords and values.
    """

    def __init__(self, values: Mapping[str, CardValue]) -> None:
        self._values = dict(values)

    @classmethod
    def parse(cls, block: bytes) -> HeaderCards:
        """Cards of the header `block` (80 bytes each) up to its END."""
        text = block.decode("latin-1")
        values: dict[str, CardValue] = {}
        continued = ""
        for start in range(0, len(text), _CARD_BYTES):
            card = text[start : start + _CARD_BYTES]
            keyword = card[:8].rstrip().upper()
            if keyword == "END" and not card[8:].strip():
                break
            if keyword == "CONTINUE" and continued:
                continued = _continue_string(values, continued, card[8:])
                continue
            continued = ""
            field = _value_field(card, keyword)
            if field is None:
                continue
            keyword, rest = field
            value = parse_value(rest)
            if value is not None:
                values[keyword] = value
                continued = keyword if isinstance(value, str) else ""
        return cls(values)

    @classmethod
    def from_header(cls, header: fits.Header) -> HeaderCards:
        """Values of an astropy header that a program made; unreadable cards are left out."""
        values: dict[str, CardValue] = {}
        for card in header.cards:
            try:
                keyword, value = card.keyword.upper(), card.value
            except fits.VerifyError:
                continue
            if keyword not in _COMMENTARY and isinstance(value, (str, bool, int, float, np.bool_, np.number)):
                values[keyword] = value.item() if isinstance(value, np.generic) else value
        return cls(values)

    def __getitem__(self, keyword: str) -> CardValue:
        return self._values[keyword]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, *keywords: str) -> str:
        """The first of `keywords` that holds something, as text without blanks around; empty if none does."""
        for keyword in keywords:
            text = str(self._values.get(keyword, "")).strip()
            if text:
                return text
        return ""

    def number(self, *keywords: str) -> float:
        """The first of `keywords` that holds a finite number, also one written as text; NaN if none does."""
        for keyword in keywords:
            value = self._values.get(keyword)
            if isinstance(value, str):
                match = _NUMBER.match(value.strip())
                value = _to_float(match.group()) if match else None
            if value is not None and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        return math.nan

    def integer(self, keyword: str, default: int = 0) -> int:
        """A whole number; `default` if the card is missing or holds none."""
        value = self.number(keyword)
        return default if math.isnan(value) else round(value)

    def flag(self, keyword: str) -> bool:
        """True if the card is there and says T."""
        return self._values.get(keyword) is True


def _value_field(card: str, keyword: str) -> tuple[str, str] | None:
    """Keyword and the text behind the equals sign; None for cards that hold no value."""
    if keyword == "HIERARCH":
        name, equals, rest = card[8:].partition("=")
        return (name.strip().upper(), rest) if equals and name.strip() else None
    if keyword in _COMMENTARY or card[8:9] != "=":
        return None
    return keyword, card[9:]


def parse_value(field: str) -> CardValue | None:
    """Value of a card from the text behind its equals sign; None if it is blank or unreadable."""
    field = field.strip()
    if field.startswith("'"):
        return _parse_string(field)
    token = field.split("/", 1)[0].strip()
    if token in ("T", "F"):
        return token == "T"
    if _INTEGER.fullmatch(token):
        return int(token)
    if _NUMBER.fullmatch(token):
        return _to_float(token)
    return None


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def _parse_string(field: str) -> str:
    """A quoted string; two quotes are one, trailing blanks mean nothing, a missing end quote is forgiven.

    Control characters are blanks: programs pad with NUL, and a tab or an escape sequence means nothing here.
    """
    return _CONTROL.sub(" ", _quoted(field)).rstrip()


def _quoted(field: str) -> str:
    end = 1
    while True:
        end = field.find("'", end)
        if end < 0:
            return field[1:].replace("''", "'").rstrip()
        if field[end + 1 : end + 2] != "'":
            return field[1:end].replace("''", "'").rstrip()
        end += 2


def _continue_string(values: dict[str, CardValue], keyword: str, rest: str) -> str:
    """Append a CONTINUE card to the string it continues; return the keyword if more may follow."""
    so_far = values[keyword]
    more = parse_value(rest)
    if not (isinstance(so_far, str) and so_far.endswith("&") and isinstance(more, str)):
        return ""
    if len(so_far) > _LONGEST_TEXT:
        return keyword
    values[keyword] = so_far[:-1] + more
    return keyword


def _to_float(text: str) -> float:
    return float(text.upper().replace("D", "E"))


# --- celestial WCS


class ThreadSafeWCS(ExactWCS):
    """A WCS that several threads may use at once.

    Astropy evaluates SIP in scratch memory that belongs to the WCS, without Python's lock: two
    threads on one object get positions that are wrong by pixels, mostly without an error. Here each
    object is used by one thread at a time. Arrays of pixel positions must not be shared between
    threads either: astropy shifts them in place and back.
    """

    def all_pix2world(self, *args: Any, **kwargs: Any) -> Any:
        """As in `astropy.wcs.WCS`."""
        with _lock_of(self):
            return super().all_pix2world(*args, **kwargs)

    def all_world2pix(self, *args: Any, **kwargs: Any) -> Any:
        """As in `astropy.wcs.WCS`."""
        with _lock_of(self):
            return super().all_world2pix(*args, **kwargs)


# A lock inside the object would not survive pickling; objects share these few instead.
_LOCKS = tuple(threading.RLock() for _ in range(64))


def _lock_of(wcs: WCS) -> threading.RLock:
    return _LOCKS[id(wcs) // 64 % len(_LOCKS)]


_CELESTIAL_TYPE = re.compile(r"(RA|DEC|GLON|GLAT)-{1,6}([A-Z]{3})(?:-([A-Z]+))?")
_ZENITHAL = frozenset(("AZP", "SZP", "TAN", "STG", "SIN", "ARC", "ZPN", "ZEA", "AIR", "TPV"))
_OTHER_PROJECTIONS = frozenset(
    ("CYP", "CEA", "CAR", "MER", "SFL", "PAR", "MOL", "AIT", "COP", "COE", "COD", "COO", "BON", "PCO", "TSC", "CSC",
     "QSC", "HPX")
)  # fmt: skip
_DEGREES_PER_UNIT = {
    "": 1.0, "DEG": 1.0, "DEGREE": 1.0, "DEGREES": 1.0, "ARCMIN": 1 / 60.0, "ARCSEC": 1 / 3600.0, "MAS": 1 / 3.6e6,
    "RAD": math.degrees(1.0),
}  # fmt: skip
_SCALES_ARCSEC = (1e-4, 36000.0)  # from interferometers to all-sky cameras, with room
_MAX_SIP_SHIFT = 0.25  # of the longer side, at a corner; lenses bend by a few percent


@dataclass(frozen=True)
class _Axes:
    """Which FITS axes (1-based) hold longitude and latitude on the sky, and x and y on the detector."""

    lon: int
    lat: int
    x: int
    y: int
    system: str
    projection: str
    has_sip: bool


def celestial_wcs(header: Mapping[str, CardValue] | fits.Header, shape: tuple[int, int]) -> WCS:
    """Build the two-axis celestial WCS of an image from a header in any dialect.

    Read are CD, PC + CDELT, CDELT + CROTA, SIP, TPV (also SCAMP's TAN with PV), units other than
    degrees, declination before right ascension, and cubes whose colour axis is the first or the
    last. Mended is what is known to be wrong in the wild: CD beside CDELT/CROTA/PC (CD holds),
    an all-zero CD (the other form holds), SIP parameters without ``-SIP`` in CTYPE (left over
    from an earlier solution: dropped), ``-SIP`` without parameters, PV cards that are no
    polynomial on TAN (dropped: they would move the pole), blank cards, numbers written as text.

    Parameters
    ----------
    header : mapping or astropy.io.fits.Header
        Raw cards.
    shape : tuple of int
        ``(height, width)`` of the image in pixels.

    Returns
    -------
    astropy.wcs.WCS
        World axes are ICRS right ascension and declination in this order, pixel axes x and y.
        FK5 of another equinox than 2000, FK4 and galactic coordinates are rotated to ICRS; FK5 at 2000
        is taken as ICRS (they differ by 0.03 arcsec at most). No warning is emitted. Threads may share it.

    Raises
    ------
    ValueError
        If there is no celestial WCS or it cannot be right; the message is the end of a sentence
        about the file.
    """
    cards = HeaderCards.from_header(header) if isinstance(header, fits.Header) else HeaderCards(header)
    axes = _find_axes(cards)
    units = [_degrees_per_unit(cards, axis) for axis in (axes.lon, axes.lat)]
    wcs = ThreadSafeWCS(naxis=2)
    crval = [_required(cards, f"CRVAL{axis}") * unit for axis, unit in zip((axes.lon, axes.lat), units, strict=True)]
    if not -90.0 <= crval[1] <= 90.0:
        raise ValueError(
            say(
                "its plate solution is wrong: the declination of its reference point is {angle:g} degrees",
                angle=crval[1],
            )
        )
    sip = _sip(cards, axes) if axes.has_sip else None
    parameters = _projection_parameters(cards, axes)
    projection = _true_projection(axes.projection, parameters)
    suffix = "-SIP" if sip is not None else ""
    wcs.wcs.ctype = ["RA---" + projection + suffix, "DEC--" + projection + suffix]
    wcs.wcs.cunit = ["deg", "deg"]
    crpix = [_number_or(cards, f"CRPIX{axis}", 0.0) for axis in (axes.x, axes.y)]
    wcs.wcs.crpix = crpix
    wcs.wcs.cd = _cd_matrix(cards, axes, units)
    wcs.wcs.radesys = "ICRS"
    _set_pole(wcs, cards, axes, crval)
    wcs.wcs.set_pv(parameters)
    if sip is not None:
        wcs.sip = Sip(*sip, crpix)
    return _checked(wcs, shape)


def _find_axes(cards: HeaderCards) -> _Axes:
    found: dict[str, tuple[int, str, str, str]] = {}
    for axis in range(1, 5):
        match = _CELESTIAL_TYPE.fullmatch(cards.text(f"CTYPE{axis}").upper())
        if match:
            name, projection, distortion = match.groups()
            kind = "lon" if name in ("RA", "GLON") else "lat"
            system = "galactic" if name.startswith("G") else "equatorial"
            found.setdefault(kind, (axis, system, projection, distortion or ""))
    if len(found) < 2:
        raise ValueError(_why_no_wcs(cards))
    (lon, system, projection, lon_distortion), (lat, other, second, lat_distortion) = found["lon"], found["lat"]
    if system != other or projection != second:
        raise ValueError(
            say("its plate solution mixes {x} with {y}", x=cards.text(f"CTYPE{lon}"), y=cards.text(f"CTYPE{lat}"))
        )
    if projection not in _ZENITHAL | _OTHER_PROJECTIONS:
        raise ValueError(say("the projection {name} of its plate solution is not supported", name=projection))
    unknown = {lon_distortion, lat_distortion} - {"", "SIP"}
    if unknown:
        raise ValueError(say("the distortion {name} of its plate solution is not supported", name=unknown.pop()))
    x, y = sorted((lon, lat))
    has_sip = "SIP" in (lon_distortion, lat_distortion)
    return _Axes(lon, lat, x, y, system, projection, has_sip)


def _why_no_wcs(cards: HeaderCards) -> str:
    types = [cards.text(f"CTYPE{axis}") for axis in (1, 2)]
    if any(types):
        return say(
            "it has no celestial WCS (its axes are {why!r} and {why2!r}): solve it",
            why=types[0] or "blank",
            why2=types[1] or "blank",
        )
    return say("it has no celestial WCS: it was not plate-solved")


def _degrees_per_unit(cards: HeaderCards, axis: int) -> float:
    unit = cards.text(f"CUNIT{axis}")
    if unit.upper() not in _DEGREES_PER_UNIT:
        raise ValueError(say("the unit {name!r} of its plate solution is not an angle", name=unit))
    return _DEGREES_PER_UNIT[unit.upper()]


def _number_or(cards: HeaderCards, keyword: str, default: float) -> float:
    value = cards.number(keyword)
    return default if math.isnan(value) else value


def _required(cards: HeaderCards, keyword: str) -> float:
    value = cards.number(keyword)
    text = cards.text(keyword)
    if math.isnan(value) or (isinstance(cards.get(keyword), str) and not _NUMBER.fullmatch(text)):
        state = say("is {value!r}", value=text) if text else say("is missing")
        raise ValueError(say("its plate solution is not complete: {keyword} {why}", keyword=keyword, why=state))
    return value


def _cd_matrix(cards: HeaderCards, axes: _Axes, units: list[float]) -> NDArray[np.float64]:
    """Degrees per pixel, rows longitude and latitude, columns x and y."""
    rows, columns = (axes.lon, axes.lat), (axes.x, axes.y)

    def element(prefix: str, i: int, j: int, default: float) -> float:
        # Before the standard of 2002 the two indices had three digits each: PC001002.
        return _number_or(cards, f"{prefix}{i}_{j}", _number_or(cards, f"{prefix}{i:03d}{j:03d}", default))

    def read(prefix: str, identity: float) -> NDArray[np.float64]:
        return np.array([[element(prefix, i, j, identity * (i == j)) for j in columns] for i in rows])

    scale = np.array(units)[:, None]
    cd = read("CD", 0.0)
    if np.linalg.det(cd) != 0.0:
        return cd * scale
    cdelt = np.array([cards.number(f"CDELT{axis}") for axis in rows])
    has_pc = any(f"PC{i}_{j}" in cards or f"PC{i:03d}{j:03d}" in cards for i in rows for j in columns)
    if np.isnan(cdelt).any():
        if not has_pc:
            raise ValueError(say("its plate solution has no pixel scale (neither CD nor CDELT)"))
        cdelt = np.where(np.isnan(cdelt), 1.0, cdelt)
    pc = read("PC", 1.0)
    if not has_pc or np.linalg.det(pc) == 0.0:
        pc = _rotation(cards, axes, cdelt)
    matrix = cdelt[:, None] * pc * scale
    if np.linalg.det(matrix) == 0.0:
        raise ValueError(say("its plate solution has a pixel scale of zero"))
    return matrix


def _rotation(cards: HeaderCards, axes: _Axes, cdelt: NDArray[np.float64]) -> NDArray[np.float64]:
    """PC matrix of the old CROTA convention (Calabretta & Greisen 2002, A&A 395, 1077, section 6.1)."""
    angle = math.radians(_number_or(cards, f"CROTA{axes.lat}", _number_or(cards, f"CROTA{axes.lon}", 0.0)))
    if not cdelt.all():
        raise ValueError(say("its plate solution has a pixel scale of zero"))
    skew = cdelt[1] / cdelt[0]
    turned = np.array([[math.cos(angle), -math.sin(angle) * skew], [math.sin(angle) / skew, math.cos(angle)]])
    # Rows are the sky, columns the detector: with declination first, x belongs to the second row.
    return turned if axes.lon < axes.lat else turned[:, ::-1]


def _sip(cards: HeaderCards, axes: _Axes) -> tuple[NDArray[np.float64] | None, ...] | None:
    """Polynomials A, B, AP, BP of the SIP convention (Shupe et al. 2005); None if the header has none."""
    if axes.projection == "TPV":
        return None
    orders = {name: cards.integer(f"{name}_ORDER", -1) for name in ("A", "B", "AP", "BP")}
    if max(orders["A"], orders["B"]) < 1:
        return None
    if max(orders.values()) > 9:
        raise ValueError(say("the order {n} of its SIP distortion is not possible", n=max(orders.values())))
    forward = max(orders["A"], orders["B"])
    inverse = max(orders["AP"], orders["BP"])
    a, b = (_sip_polynomial(cards, name, forward) for name in ("A", "B"))
    if not (a.any() or b.any()):
        return None
    if min(orders["AP"], orders["BP"]) < 1:
        return a, b, None, None
    return a, b, _sip_polynomial(cards, "AP", inverse), _sip_polynomial(cards, "BP", inverse)


def has_stray_sip(cards: HeaderCards) -> bool:
    """True if a header has SIP parameters that bend something and CTYPE does not ask for them."""
    types = cards.text("CTYPE1") + cards.text("CTYPE2")
    if not types or "SIP" in types.upper() or max(cards.integer("A_ORDER"), cards.integer("B_ORDER")) < 1:
        return False
    return any(re.fullmatch(r"[AB]_\d_\d", keyword) and cards.number(keyword) != 0.0 for keyword in cards)


def _sip_polynomial(cards: HeaderCards, name: str, order: int) -> NDArray[np.float64]:
    polynomial = np.zeros((order + 1, order + 1))
    for p in range(order + 1):
        for q in range(order + 1 - p):
            polynomial[p, q] = _number_or(cards, f"{name}_{p}_{q}", 0.0)
    return polynomial


def _projection_parameters(cards: HeaderCards, axes: _Axes) -> list[tuple[int, int, float]]:
    """PV cards as (1 for longitude or 2 for latitude, m, value), without those that harm."""
    if not any(keyword.startswith("PV") for keyword in cards):
        return []
    parameters = {}
    for number, axis in ((1, axes.lon), (2, axes.lat)):
        for m in range(40):
            value = cards.number(f"PV{axis}_{m}")
            if not math.isnan(value):
                parameters[number, m] = value
    if axes.projection in ("TAN", "TPV"):
        is_polynomial = axes.projection == "TPV" or any(number == 2 or m > 4 for number, m in parameters)
        if axes.has_sip or not is_polynomial:
            return []
        for number in {number for number, _ in parameters}:
            # The linear term is 1 if the header leaves it out; as zero it is a filler, and so are the others.
            if parameters.setdefault((number, 1), 1.0) == 0.0:
                return []
    elif not (parameters.get((1, 1)) or parameters.get((1, 2))):
        # PV1_1 and PV1_2 move the fiducial point of a projection; as zeros they are a writer's mistake.
        parameters = {key: value for key, value in parameters.items() if key not in ((1, 0), (1, 1), (1, 2))}
    return [(number, m, value) for (number, m), value in sorted(parameters.items())]


def _true_projection(projection: str, parameters: list[tuple[int, int, float]]) -> str:
    """TAN with a PV polynomial is TPV (SCAMP's older dialect); TPV without one is TAN."""
    if projection in ("TAN", "TPV"):
        return "TPV" if parameters else "TAN"
    return projection


def _set_pole(wcs: WCS, cards: HeaderCards, axes: _Axes, crval: list[float]) -> None:
    """Set the reference point and the pole, rotated to ICRS where the header is in another frame."""
    lonpole, latpole = cards.number("LONPOLE"), cards.number("LATPOLE")
    frame = _foreign_frame(cards, axes)
    if frame is not None:
        if axes.projection not in _ZENITHAL:
            raise ValueError(
                say(
                    "its plate solution in {frame} coordinates with the projection {name} is not supported",
                    frame=frame[0],
                    name=axes.projection,
                )
            )
        crval, turn = _to_icrs(crval, *frame)
        lonpole = (180.0 if math.isnan(lonpole) else lonpole) + turn
        latpole = math.nan
    wcs.wcs.crval = crval
    if not math.isnan(lonpole):
        wcs.wcs.lonpole = lonpole
    if not math.isnan(latpole):
        wcs.wcs.latpole = latpole


def _foreign_frame(cards: HeaderCards, axes: _Axes) -> tuple[str, float] | None:
    """Name and equinox of a frame that is not ICRS (or FK5 at 2000, which is taken as ICRS)."""
    if axes.system == "galactic":
        return "galactic", 2000.0
    name = cards.text("RADESYS", "RADECSYS").upper()
    equinox = cards.number("EQUINOX", "EPOCH")
    if not 1800.0 <= equinox <= 2200.0:  # zero and other fillers, or none
        equinox = math.nan
    if not name.startswith(("FK4", "FK5", "ICRS")):
        # The rule of the standard for a missing RADESYS (Calabretta & Greisen 2002, section 3.1).
        name = "ICRS" if math.isnan(equinox) else ("FK4" if equinox < 1984.0 else "FK5")
    if name.startswith("FK4"):
        return "FK4", 1950.0 if math.isnan(equinox) else equinox
    if name.startswith("FK5") and not math.isnan(equinox) and abs(equinox - 2000.0) > 0.01:
        return "FK5", equinox
    return None


def _to_icrs(crval: list[float], frame: str, equinox: float) -> tuple[list[float], float]:
    """Reference point in ICRS, and the angle by which the native longitude of the pole turns there.

    A change of frame is a rotation of the sphere; about the native pole of a zenithal projection it
    is the change of the pole's place and of the direction to north. FK4's aberration terms (0.3
    arcsec, constant over a field) are in the place of the reference point.
    """
    from astropy import units as u
    from astropy.coordinates import FK4, FK5, Galactic, SkyCoord

    frames = {
        "FK4": lambda: FK4(equinox=f"B{equinox}"),
        "FK5": lambda: FK5(equinox=f"J{equinox}"),
        "galactic": Galactic,
    }
    here = SkyCoord(crval[0] * u.deg, crval[1] * u.deg, frame=frames[frame]())
    icrs = here.icrs
    # A short step to the old north, seen in the new frame, gives the angle between the norths.
    step = here.directional_offset_by(0.0 * u.deg, 0.01 * u.deg).icrs
    return [float(icrs.ra.deg), float(icrs.dec.deg)], float(icrs.position_angle(step).wrap_at(180 * u.deg).deg)


def _checked(wcs: WCS, shape: tuple[int, int]) -> WCS:
    """The WCS made ready for use by several threads, or a ValueError if it makes no sense on the image."""
    height, width = shape
    wcs.array_shape = (height, width)
    try:
        wcs.wcs.set()
        center = wcs.all_pix2world([[(width - 1) / 2.0, (height - 1) / 2.0]], 0)
    except (WcsError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(say("its plate solution cannot be used ({error})", error=reason)) from error
    if not np.isfinite(center).all():
        raise ValueError(say("its plate solution is undefined at the centre of the image"))
    scale = pixel_scale_arcsec(wcs, shape)
    if not _SCALES_ARCSEC[0] <= scale <= _SCALES_ARCSEC[1]:
        raise ValueError(say("its plate solution is wrong: its pixels have a side of {side:.3g} arcsec", side=scale))
    if wcs.sip is not None:
        _check_sip(wcs, shape)
    return wcs


def _check_sip(wcs: WCS, shape: tuple[int, int]) -> None:
    height, width = shape
    corners = np.array([[0, 0], [0, height - 1], [width - 1, 0], [width - 1, height - 1]], dtype=np.float64)
    # sip_pix2foc gives offsets from CRPIX.
    shift = wcs.sip_pix2foc(corners, 0) + wcs.wcs.crpix - 1.0 - corners
    largest = float(np.abs(shift).max())
    if not largest <= _MAX_SIP_SHIFT * max(height, width):
        raise ValueError(
            say("its plate solution is wrong: its SIP distortion moves a corner by {n:.0f} pixels", n=largest)
        )


def image_center_deg(wcs: WCS, shape: tuple[int, int]) -> tuple[float, float]:
    """(ra, dec) of the centre of an image of `shape` ``(height, width)``, in degrees."""
    ra, dec = wcs.all_pix2world((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0, 0)
    return float(ra) % 360.0, float(dec)


def pixel_scale_arcsec(wcs: WCS, shape: tuple[int, int]) -> float:
    """Geometric mean of the two sides of the pixel at the centre of the image, distortion included.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS with two axes.
    shape : tuple of int
        ``(height, width)`` in pixels.

    Returns
    -------
    float
        Arcseconds: the square root of the pixel's solid angle, so that it also serves skewed pixels.
    """
    x, y = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    ends = np.array([[x - 0.5, y], [x + 0.5, y], [x, y - 0.5], [x, y + 0.5]])
    vectors = unit_vectors(*wcs.all_pix2world(ends, 0).T)
    area = np.linalg.norm(np.cross(vectors[1] - vectors[0], vectors[3] - vectors[2]))
    return math.degrees(math.sqrt(float(area))) * 3600.0


def unit_vectors(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places on the sky as unit vectors, shape (..., 3)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
