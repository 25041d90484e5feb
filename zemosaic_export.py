"""Files of other formats, made of a finished mosaic: for processing, for the eye, for the web."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

import zemosaic_utils
from zemosaic_engine import __version__
from zemosaic_engine.errors import RunError, SettingsError, SubError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.fits.writer import atomic_path
from zemosaic_engine.mosaic.files import MOSAIC_NAME
from zemosaic_engine.mosaic.hips import HIPS_NAME, write_hips
from zemosaic_engine.mosaic.map_tiles import MAP_NAME, write_map_tiles
from zemosaic_engine.mosaic.processing import (
    PROCESSING_NAME,
    Crop,
    FilledMosaic,
    open_filled,
    processing_cards,
    write_processing,
)
from zemosaic_engine.sentences import say
from zemosaic_engine.subs.faults import read_guarded

#: The file of each format in the output folder.
NAMES = {
    "fits": PROCESSING_NAME,
    "tiff": "mosaic.tif",
    "tiff16": "mosaic_16bit.tif",
    "tiff_stretched": "mosaic_stretched.tif",
    "jpeg": "mosaic_grid.jpg",
    "hips": HIPS_NAME,
    "map": MAP_NAME,
}
_STRIP_ROWS = 64
_CLASSIC_TIFF_BYTES = 3_900_000_000
_CURVE_PX = 2048
_JPEG_QUALITY = 92
_TILE_QUALITY = 88


def export(
    output: Path,
    formats: Sequence[str],
    crop: Crop = "none",
    cancel: CancelToken | None = None,
    *,
    picture_px: int = 4096,
) -> dict[str, Path]:
    """Make files of other formats of the mosaic of a finished run.

    Parameters
    ----------
    output : Path
        Output folder of the run.
    formats : sequence of str
        Of `NAMES`: ``"fits"`` (``mosaic.fit``), ``"tiff"`` (32-bit float, linear), ``"tiff16"`` (16 bits, linear),
        ``"tiff_stretched"`` (16 bits, stretched as the preview), ``"jpeg"`` (as the preview), ``"hips"`` (a folder
        for Aladin and other programs), ``"map"`` (a folder with the tiles of a map).
    crop : str
        The part of the mosaic, as in `processing.crop_box`; a JPEG, a HiPS and a map hold all of it.
    cancel : CancelToken, optional
        Looked at often.
    picture_px : int
        Longest side of the JPEG.

    Returns
    -------
    dict of str to Path
        The files or folders, by format.

    Raises
    ------
    SettingsError
        If the folder holds no mosaic, or a format has no such name.
    RunError
        If the mosaic cannot be read or a file cannot be written.
    """
    cancel = cancel or CancelToken()
    check = cancel.check
    unknown = [name for name in formats if name not in NAMES]
    if unknown:
        names = ", ".join(NAMES)
        raise SettingsError(say("There is no format {name}: name some of {formats}.", name=unknown[0], formats=names))
    science = output / MOSAIC_NAME
    if not science.is_file():
        raise SettingsError(
            say(
                "The folder {output} holds no {name}: name the output folder of a finished run.",
                output=output,
                name=MOSAIC_NAME,
            )
        )
    writers: dict[str, Callable[[Path], object]] = {
        "fits": lambda path: write_processing(science, path, crop, check),
        "tiff": partial(write_tiff, science, crop=crop, check=check),
        "tiff16": partial(write_tiff, science, crop=crop, check=check, bits=16),
        "tiff_stretched": partial(write_tiff, science, crop=crop, check=check, bits=16, stretched=True),
        "jpeg": lambda path: zemosaic_utils.write_jpeg(science, path, picture_px, _JPEG_QUALITY),
        "hips": lambda path: write_hips(science, path, _painter(science), cancel),
        "map": lambda path: write_map_tiles(science, path, _painter(science), cancel),
    }
    made = {}
    for name in dict.fromkeys(formats):
        path = output / NAMES[name]
        _of_readable(science, partial(writers[name], path))
        made[name] = path
    return made


def _of_readable(science: Path, write: Callable[[], object]) -> None:
    """Write a file of a mosaic, which may be damaged, in whatever way that shows.

    Raises
    ------
    RunError
        If the mosaic cannot be read, or the file cannot be written.
    """
    try:
        read_guarded(science, write)
    except SubError as error:
        raise RunError(
            say("{path} cannot be read ({reason}): make the mosaic again.", path=science, reason=error.reason)
        ) from error


@dataclass(frozen=True)
class CurvePainter:
    """Makes pictures by the curve of the preview."""

    curve: zemosaic_utils.Curve

    @property
    def black_adu(self) -> NDArray[np.float32]:
        """Level of the sky in each channel."""
        return self.curve.sky

    @property
    def white_adu(self) -> NDArray[np.float32]:
        """What becomes white in each channel."""
        return self.curve.white_adu()

    def paint(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The picture of pixels in ADU."""
        return self.curve.apply(pixels)

    def write(self, picture: NDArray[np.uint8], path: Path) -> None:
        """Write a picture as JPEG or PNG."""
        zemosaic_utils.write_picture_tile(picture, path, _TILE_QUALITY)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The pixels of a picture."""
        return zemosaic_utils.read_picture_tile(path)


def _painter(science: Path) -> CurvePainter:
    """The painter that draws a mosaic like its preview."""
    curve = zemosaic_utils.curve_of(science, _CURVE_PX)
    if curve is None:
        raise RunError(say("{path} holds no pixel with data.", path=science))
    return CurvePainter(curve)


def write_tiff(
    science: Path,
    path: Path,
    *,
    crop: Crop = "none",
    check: Callable[[], None] | None = None,
    bits: int = 32,
    stretched: bool = False,
) -> None:
    """Write the mosaic as a TIFF: north as in the FITS file, the first row on top, Deflate.

    Parameters
    ----------
    science : Path
        The science mosaic.
    path : Path
        The file to make.
    crop, check
        As in `processing.open_filled`.
    bits : int
        32: floating point from 0 to 1, the values of ``mosaic.fit``. 16: the same times 65535.
    stretched : bool
        Stretch it as the preview, in sRGB; else it is linear.

    Raises
    ------
    RunError
        If a file cannot be read or written.

    Notes
    -----
    The FITS header is in ImageDescription, after the Astro-TIFF specification 1.0 (2022). Files above 4 GB are BigTIFF.
    """
    import tifffile

    with open_filled(science, crop, check) as mosaic, atomic_path(path) as temporary:
        height, width = mosaic.shape
        dtype = np.dtype(np.float32 if bits == 32 else np.uint16)
        shape = (height, width, mosaic.channels) if mosaic.channels > 1 else (height, width)
        rows = _stretched_rows(mosaic, science) if stretched else _linear_rows(mosaic)
        profile = zemosaic_utils.srgb_profile() if stretched and mosaic.channels > 1 else None
        big = height * width * mosaic.channels * dtype.itemsize > _CLASSIC_TIFF_BYTES
        with tifffile.TiffWriter(temporary, bigtiff=big, byteorder="<") as file:
            file.write(
                _strips(rows, mosaic, dtype, check or (lambda: None)),
                shape=shape,
                dtype=dtype,
                rowsperstrip=_STRIP_ROWS,
                photometric="rgb" if mosaic.channels > 1 else "minisblack",
                planarconfig="contig" if mosaic.channels > 1 else None,
                compression="zlib",
                description=astro_tiff_header(mosaic, dtype, stretched=stretched),
                software=f"ZeMosaic {__version__}",
                metadata=None,
                iccprofile=profile,
            )


Rows = Callable[[int, int], NDArray[np.float32]]


def _linear_rows(mosaic: FilledMosaic) -> Rows:
    def rows(first: int, last: int) -> NDArray[np.float32]:
        return np.stack([mosaic.rows(channel, first, last) for channel in range(mosaic.channels)], axis=2)

    return rows


def _stretched_rows(mosaic: FilledMosaic, science: Path) -> Rows:
    """Rows through the curve of the preview; what no sub covers stays black."""
    curve = zemosaic_utils.curve_of(science, _CURVE_PX)
    linear = _linear_rows(mosaic)

    def rows(first: int, last: int) -> NDArray[np.float32]:
        part = linear(first, last)
        outside = (part == 0.0).all(axis=2)
        if curve is None:
            return part
        part *= np.float32(mosaic.scale_adu)
        part -= np.float32(mosaic.pedestal_adu)
        stretched = curve.levels(part)
        stretched[outside] = 0.0
        return stretched

    return rows


def _strips(rows: Rows, mosaic: FilledMosaic, dtype: np.dtype, check: Callable[[], None]) -> Iterator[bytes]:
    """Compressed strips from the top of the picture, which is the last row of a FITS file."""
    height = mosaic.shape[0]
    for top in range(0, height, _STRIP_ROWS):
        check()
        part = rows(max(0, height - top - _STRIP_ROWS), height - top)[::-1]
        if dtype.kind == "u":
            part = np.rint(np.clip(part, 0.0, 1.0) * np.float32(65535.0))
        yield zlib.compress(np.ascontiguousarray(part.astype(dtype.newbyteorder("<"))).tobytes())


def astro_tiff_header(mosaic: FilledMosaic, dtype: np.dtype, *, stretched: bool) -> str:
    """The FITS header as Astro-TIFF wants it: a line a card, from SIMPLE to END."""
    cards = processing_cards(mosaic)
    if dtype.kind == "u":
        cards["BITPIX"] = 16
        cards.set("BZERO", 32768, "offset of unsigned integers", after=f"NAXIS{cards['NAXIS']}")
        cards.set("BSCALE", 1, after="BZERO")
        cards["DATAMAX"] = 65535.0
        cards["ZMSCALE"] = (mosaic.scale_adu / 65535.0, "[adu] that 1 stands for")
    if stretched:
        for keyword in ("ZMSCALE", "ZMPED"):
            cards.remove(keyword, ignore_missing=True)
        cards.add_history("stretched for the eye: not linear")
    text = cards.tostring(sep="\n", endcard=True, padding=False)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def read_astro_tiff_header(path: Path) -> fits.Header:
    """Return the FITS header in the ImageDescription of an Astro-TIFF.

    Raises
    ------
    RunError
        If the file is no TIFF, or holds no FITS header.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            description = file.pages.first.description
    except (OSError, tifffile.TiffFileError) as error:
        raise RunError(say("{path} cannot be read as a TIFF: {reason}.", path=path, reason=error)) from error
    if not description.startswith("SIMPLE"):
        raise RunError(say("{path} holds no FITS header in its description.", path=path))
    return fits.Header.fromstring("\n".join(description.splitlines()), sep="\n")
