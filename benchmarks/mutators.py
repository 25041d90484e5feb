"""Files and texts that are wrong in ways that nobody wrote down, made from good ones by a seed."""

from __future__ import annotations

import gzip
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from .image_samples import image_samples

_BLOCK, _CARD = 2880, 80
_VALUES = (
    "0", "1", "-1", "3", "999", "1E999", "-1E999", "1E-320", "NaN", "T", "F", "''", "'", "'\0'", "9" * 19,
    "-" + "9" * 19, "2147483647", "-2147483648", "4294967296", "0.5", "1D400", "(1.0, 2.0)", "'TAN'", "'RA---TAN'",
    "'DEC--ZPN'", "'" + "x" * 66,
)  # fmt: skip
_KEYWORDS = (
    "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "BLANK",
    "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "CDELT1",
    "CROTA2", "CUNIT1", "LONPOLE", "LATPOLE", "PV1_1", "PV2_1", "PV2_0", "A_ORDER", "B_ORDER", "A_2_0", "B_0_2",
    "AP_ORDER", "RADESYS", "EQUINOX", "BAYERPAT", "XBAYROFF", "ROWORDER", "DATE-OBS", "MJD-OBS", "SITELONG",
    "EXPTIME", "FILTER", "INSTRUME", "SATURATE", "DATAMAX", "XBINNING", "EXTEND", "WCSAXES", "XTENSION", "TFIELDS",
    "TFORM1", "TTYPE1", "TSCAL1", "TZERO1", "TNULL1", "TDIM1", "THEAP", "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS",
    "ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2", "ZNAME1", "ZVAL1", "ZQUANTIZ", "ZDITHER0", "ZSCALE", "ZZERO", "ZBLANK",
    "CONTINUE", "HIERARCH", "END",
)  # fmt: skip
_TOKENS = (
    "", "\0", "\t", "\n", '"', "'", ";", ",", "|", "#", "=", "[", "]", "{", "}", "1e999", "-1e999", "nan", "inf", "N/A",
    "12:34:56.7", "12 34 56", "\ufeff", "\x1b[2J", "\u202e", "null", "true", "-0", "9" * 400, "x" * 5000, "../..",
    "/dev/zero", "\\\\server\\share", "[[" * 50, "é", "\U0001f600",
)  # fmt: skip
_METHODS = ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS")


@dataclass(frozen=True)
class Samples:
    """Good things to be made worse, small.

    Attributes
    ----------
    subs : mapping of str to bytes
        By how they are stored: plain, gz and each method of tile compression.
    plan, settings, catalogue : str
        A stack plan, a settings file and a catalogue of stars.
    images : mapping of str to bytes
        Subs in other formats than FITS, by name.
    notes : str
        What a telescope writes beside its subs (``shotsInfo.json``).
    records : mapping of str to bytes
        State files by name.
    """

    subs: dict[str, bytes]
    images: dict[str, bytes]
    notes: str
    plan: str
    settings: str
    catalogue: str
    records: dict[str, bytes]


def samples_of(survey: Path, state: Path) -> Samples:
    """Samples from a simulated survey and the state of its run."""
    sub = sorted(survey.glob("*.fits"))[0]
    with fits.open(sub) as hdus:
        pixels, header = hdus[0].data[:64, :96].copy(), hdus[0].header.copy()
    plain = _bytes_of(fits.PrimaryHDU(pixels, header))
    subs = {"plain": plain, "gz": gzip.compress(plain, 1)}
    for method in _METHODS:
        data = (pixels % 4096).astype(np.int16) if method == "PLIO_1" else pixels
        subs[method] = _bytes_of(fits.CompImageHDU(data, header, compression_type=method, tile_shape=(16, 96)))
    records = {path.name: path.read_bytes() for path in sorted(state.rglob("*.record"))[:6]}
    records["subs.journal"] = (state / "subs.journal").read_bytes()
    plan = (survey / "stack_plan.csv").read_text()
    settings = (
        'photometry = "survey"\nstack_kappa_low = 3.0\nfilter = "LP"\nthreads = 2\nwinsor_limits = [0.05, 0.05]\n'
    )
    catalogue = "ra,dec,mag_r,mag_g,mag_b\n" + "".join(
        f"{312 + k / 100},{44 + k / 90},{9 + k / 7},10,11\n" for k in range(40)
    )
    images = image_samples(pixels.astype(np.uint16), "\n".join(str(card).rstrip() for card in header.cards))
    notes = json.dumps(
        {"RA": 20.8, "DEC": 44.3, "exp": 10, "gain": "80", "ir": "VIS", "target": "NGC 7000", "binning": 1}
    )
    return Samples(subs, images, notes, plan, settings, catalogue, records)


def _bytes_of(hdu: fits.PrimaryHDU | fits.CompImageHDU) -> bytes:
    file = io.BytesIO()
    hdu.writeto(file)
    return file.getvalue()


# --- files


def mutated_sub(samples: Samples, choice: random.Random) -> tuple[str, bytes]:
    """A name and the bytes of a sub that is wrong somewhere."""
    kind = choice.choice(sorted(samples.subs))
    data = bytearray(samples.subs[kind])
    name = {"plain": "a.fits", "gz": "a.fits.gz"}.get(kind, "a.fits.fz")
    if kind == "gz" and choice.random() < 0.5:
        inner = bytearray(samples.subs["plain"])
        _mutate_fits(inner, choice)
        return name, gzip.compress(bytes(inner), 1) + choice.choice((b"", b"\0" * 100, b"rest", bytes(inner[:50])))
    (_flip if kind == "gz" else _mutate_fits)(data, choice)
    return name, bytes(data)


def mutated_image(samples: Samples, choice: random.Random) -> tuple[str, bytes]:
    """A name and the bytes of a TIFF, XISF or raw file that is wrong somewhere."""
    name = choice.choice(sorted(samples.images))
    data = bytearray(samples.images[name])
    for _ in range(choice.choice((1, 1, 2, 4, 8))):
        choice.choice((_flip_at_ends, _flip_at_ends, _extreme_number, _extreme_number, _flip, _cut_some, _insert))(
            data, choice
        )
    return name, bytes(data)


def _flip_at_ends(data: bytearray, choice: random.Random) -> None:
    """Tags and headers lie at the beginning or the end of a file."""
    if data:
        place = choice.randrange(min(len(data), 600))
        data[place if choice.random() < 0.5 else -1 - place] = choice.randrange(256)


def _extreme_number(data: bytearray, choice: random.Random) -> None:
    """Where tags are: sizes, counts and places."""
    place = choice.randrange(min(len(data), 600)) if data else 0
    if choice.random() < 0.5:
        place = max(0, len(data) - 600) + place
    number = choice.choice(
        (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0", b"\xff\xff")
    )
    data[place : place + len(number)] = number


def _cut_some(data: bytearray, choice: random.Random) -> None:
    place = choice.randrange(len(data) + 1)
    del data[place : place + choice.choice((1, 2, 12, 200, len(data)))]


def damaged_fits(data: bytes, choice: random.Random) -> bytes:
    """A FITS file that is wrong somewhere."""
    damaged = bytearray(data)
    _mutate_fits(damaged, choice)
    return bytes(damaged)


def _mutate_fits(data: bytearray, choice: random.Random) -> None:
    for _ in range(choice.choice((1, 1, 2, 4))):
        choice.choice((_set_card, _set_card, _set_card, _shuffle_cards, _flip, _flip_in_data, _cut, _insert))(
            data, choice
        )


def _headers(data: bytearray) -> list[int]:
    """Where cards lie, as far as the first two headers reach."""
    places = []
    for start in range(0, min(len(data), 8 * _BLOCK), _CARD):
        if bytes(data[start : start + 8]).rstrip(b" ").isascii() and data[start + 8 : start + 9] in (b"=", b" "):
            places.append(start)
    return places or [0]


def _set_card(data: bytearray, choice: random.Random) -> None:
    place = choice.choice(_headers(data))
    keyword = choice.choice(_KEYWORDS)
    for start in _headers(data):  # the card that is there, if there is one
        if bytes(data[start : start + 8]).rstrip() == keyword.encode() and choice.random() < 0.9:
            place = start
    card = f"{keyword:<8}= {choice.choice(_VALUES):>20}".ljust(_CARD)[:_CARD]
    data[place : place + _CARD] = card.encode("latin-1")


def _shuffle_cards(data: bytearray, choice: random.Random) -> None:
    a, b = choice.choice(_headers(data)), choice.choice(_headers(data))
    data[a : a + _CARD], data[b : b + _CARD] = data[b : b + _CARD], data[a : a + _CARD]


def _flip(data: bytearray, choice: random.Random) -> None:
    for _ in range(choice.choice((1, 1, 3, 30))):
        if data:
            data[choice.randrange(len(data))] = choice.choice((0, 255, choice.randrange(256)))


def _flip_in_data(data: bytearray, choice: random.Random) -> None:
    """Where descriptors and the first bytes of streams are more often than where pixels are."""
    first = min(len(data), 3 * _BLOCK)
    for _ in range(choice.choice((1, 2, 8))):
        if first < len(data):
            spread = min(len(data) - first, choice.choice((64, 400, len(data))))
            data[first + choice.randrange(spread)] = choice.choice((0, 1, 127, 128, 255, choice.randrange(256)))


def _cut(data: bytearray, choice: random.Random) -> None:
    del data[choice.randrange(len(data) + 1) :]


def _insert(data: bytearray, choice: random.Random) -> None:
    place = choice.randrange(len(data) + 1)
    data[place:place] = choice.randbytes(choice.choice((1, 79, 80, 2880)))


# --- texts


def mutated_text(text: str, choice: random.Random) -> bytes:
    """A text that is wrong somewhere, encoded in one way or another."""
    for _ in range(choice.choice((1, 2, 5))):
        lines = text.splitlines() or [""]
        number = choice.randrange(len(lines))
        how = choice.choice((_token, _token, _token, _repeat, _drop, _swap))
        how(lines, number, choice)
        text = "\n".join(lines) + choice.choice(("\n", "", "\r\n"))
    encoding = choice.choice(("utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16", "cp1252"))
    data = bytearray(text.encode(encoding, "surrogateescape" if encoding == "utf-8" else "replace"))
    if choice.random() < 0.3:
        _flip(data, choice)
    return bytes(data)


def _token(lines: list[str], number: int, choice: random.Random) -> None:
    line = lines[number]
    start = choice.randrange(len(line) + 1)
    end = min(len(line), start + choice.choice((0, 0, 1, 5, 20)))
    lines[number] = line[:start] + choice.choice(_TOKENS) + line[end:]


def _repeat(lines: list[str], number: int, choice: random.Random) -> None:
    lines[number : number + 1] = [lines[number]] * choice.choice((2, 3, 200))


def _drop(lines: list[str], number: int, choice: random.Random) -> None:
    del lines[number]


def _swap(lines: list[str], number: int, choice: random.Random) -> None:
    other = choice.randrange(len(lines))
    lines[number], lines[other] = lines[other], lines[number]


# --- state


def mutated_record(samples: Samples, choice: random.Random) -> tuple[str, bytes]:
    """A name and the bytes of a state file that is wrong somewhere, its checksum often right nevertheless."""
    import hashlib

    name = choice.choice(sorted(samples.records))
    data = bytearray(samples.records[name])
    if name == "subs.journal":
        return name, _mutated_journal(bytes(data), choice)
    _flip(data, choice)
    if choice.random() < 0.7:
        _, _, body = bytes(data).partition(b"\n")
        magic = samples.records[name].split(b" ")[0]
        return name, magic + b" " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    return name, bytes(data)


def _mutated_journal(data: bytes, choice: random.Random) -> bytes:
    import zlib

    lines = [line.partition(b" ")[2] for line in data.splitlines() if line]
    made = []
    for line in lines:
        text = mutated_text(line.decode(), choice).replace(b"\n", b" ").replace(b"\r", b" ")
        made.append(f"{zlib.crc32(text):08x} ".encode() + text)
    return b"\n".join(made)
