"""HiPS: the mosaic as tiles on the sphere, which Aladin, ESASky and other programs show like a map.

After the IVOA recommendations HiPS 1.0 (2017) and MOC 1.1 (2019). The linear tiles of every channel are made by
`reproject.hips`; it reads the mosaic through `SkyTiles`, which resamples the part under one tile at a time, so that
memory does not grow with the mosaic.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.pixel_maps import pixel_map, source_box
from ..channels import channel_names
from ..events import CancelToken
from ..fits.headers import pixel_scale_arcsec
from ..fits.writer import atomic_folder
from ..geometry import Box
from ..machine.threads import run_all, thread_count
from ..resampling.resample import Kernel, kernel_reach, resample
from .painter import Painter
from .processing import FilledMosaic, open_filled

#: The folder of the surveys in the output folder.
HIPS_NAME = "hips"
TILE_PX = 512
#: The survey of pictures in the folder of a HiPS; beside it lies one of FITS tiles for each channel.
PICTURE_SURVEY = "picture"
#: Width of a base cell of the sphere: the square root of its area.
_BASE_CELL_DEG = math.degrees(math.sqrt(math.pi / 3.0))
#: The cells of the coverage map are this many orders finer than the tiles: 32 pixels a side.
MOC_FINER = 4
_LOWEST_ORDER = 3
_DEEPEST_ORDER = 20
#: Pixels of a thumbnail in the picture of all tiles of order 3, and thumbnails in one of its rows.
_THUMBNAIL_PX = 64
_THUMBNAILS_A_ROW = 27
#: White of a linear picture, as a share of that of the preview, which presses bright light together.
_LINEAR_WHITE = 0.05
_KERNEL: Kernel = "lanczos3"

Read = Callable[[Box], NDArray[np.float32]]


def hips_order(scale_arcsec: float) -> int:
    """Order of the tiles whose pixels are at most as large as those of the mosaic.

    Parameters
    ----------
    scale_arcsec : float
        Of a pixel of the mosaic, in arcseconds.

    Returns
    -------
    int
        From 3 to 20. A tile of order k is 58.6 degrees / 2**k wide and has 512 pixels a side.
    """
    widest = _BASE_CELL_DEG * 3600.0 / TILE_PX
    return min(max(math.ceil(math.log2(widest / scale_arcsec)), _LOWEST_ORDER), _DEEPEST_ORDER)


@dataclass(frozen=True)
class SkyTiles:
    """The pixels of a mosaic on tiles of the sphere.

    Attributes
    ----------
    read : callable
        Returns the pixels of a `Box` of the mosaic, float32 (h, w, C), NaN where there is no data.
    wcs : astropy.wcs.WCS
        Of the mosaic.
    shape : tuple of int
        ``(height, width)`` of the mosaic.
    channels : int
    """

    read: Read
    wcs: WCS
    shape: tuple[int, int]
    channels: int

    def tile(self, target: WCS) -> NDArray[np.float32]:
        """The pixels of one tile.

        Parameters
        ----------
        target : astropy.wcs.WCS
            Of the tile.

        Returns
        -------
        ndarray of float32, shape (512, 512, C)
            In the order of FITS rows; NaN where the mosaic has no data.
        """
        box = Box(0, TILE_PX, 0, TILE_PX)
        mapping = pixel_map(self.wcs, target, box, src_shape=self.shape)
        part = source_box(mapping, box, self.shape, kernel_reach(_KERNEL, mapping.scale, self.channels))
        if part.is_empty:
            return np.full((TILE_PX, TILE_PX, self.channels), np.nan, dtype=np.float32)
        return resample(self.read(part), mapping, kernel=_KERNEL, origin=(part.y0, part.x0), shape=self.shape)


def write_hips(science: Path, folder: Path, painter: Painter, cancel: CancelToken, threads: int = 0) -> None:
    """Write the mosaic as a HiPS: ``picture/`` as it looks, and a folder of FITS tiles for each channel.

    Parameters
    ----------
    science : Path
        The science mosaic.
    folder : Path
        The folder to make; an older one is replaced.
    painter : Painter
        Makes pictures of linear pixels.
    cancel : CancelToken
        Looked at for every tile.
    threads : int
        That make tiles; 0 is one for each core.

    Raises
    ------
    RunError
        If a file cannot be read or written.
    """
    threads = thread_count(threads)
    with open_filled(science, "none", cancel.check) as mosaic, atomic_folder(folder) as temporary:
        properties = survey_properties(mosaic.header, folder.name)
        cuts = [
            f"{black:.6g} {black + _LINEAR_WHITE * (white - black):.6g}"
            for black, white in zip(painter.black_adu, painter.white_adu, strict=True)
        ]
        surveys = write_channel_surveys(science, temporary, properties, cuts, threads, cancel.check)
        order = int(read_properties(surveys[0])["hips_order"])
        picture = temporary / PICTURE_SURVEY
        cells = _write_pictures(mosaic, painter, surveys[0], picture, order, threads, cancel)
        own = {key: value for key, value in read_properties(surveys[0]).items() if key != "hips_pixel_cut"}
        write_properties(
            picture,
            own | {"obs_title": properties["obs_title"], "hips_tile_format": "png", "dataproduct_subtype": "color"},
        )
        for survey in (*surveys, picture):
            share = write_moc(survey / "Moc.fits", *cells)
            told = read_properties(survey) | {"moc_sky_fraction": f"{share:.6g}"}
            told["creator_did"] += f"/{survey.name}"
            told["hips_pixel_scale"] = f"{_BASE_CELL_DEG / 2**order / TILE_PX:.6g}"
            write_properties(survey, told)
        painter.write(thumbnails(picture, painter.read), picture / "Norder3" / "Allsky.png")


def write_channel_surveys(
    science: Path,
    folder: Path,
    properties: dict[str, str],
    cuts: Sequence[str],
    threads: int,
    check: Callable[[], None],
) -> list[Path]:
    """Write a HiPS of FITS tiles for each channel of the science mosaic.

    Parameters
    ----------
    science : Path
        The science mosaic, whose image is not compressed.
    folder : Path
        That gets a folder for each channel, named as the channel.
    properties : dict of str to str
        For the files ``properties``, see `survey_properties`.
    cuts : sequence of str
        ``hips_pixel_cut`` of each channel: black and white in ADU.
    threads : int
        That make tiles.
    check : callable
        Called for every tile; it may raise to stop.

    Returns
    -------
    list of Path
        The folders of the surveys.
    """
    from reproject.hips import reproject_to_hips

    surveys = []
    with fits.open(science, memmap=True) as hdus:
        wcs, data = WCS(hdus[0].header, naxis=2), hdus[0].data
        planes = data if data.ndim == 3 else data[None]
        order = hips_order(pixel_scale_arcsec(wcs, planes.shape[1:]))
        for name, plane, cut in zip(channel_names(len(planes)), planes, cuts, strict=True):
            tiles = SkyTiles(_reader(plane), wcs, plane.shape, 1)

            def sample(_: object, header: fits.Header, tiles: SkyTiles = tiles) -> tuple[NDArray, NDArray]:
                check()
                pixels = tiles.tile(WCS(header))[..., 0]
                return pixels, np.isfinite(pixels).astype(np.float32)

            survey = folder / name
            with warnings.catch_warnings():
                # A tile may hold no star-free pixel at all: the mean of nothing is NaN, as it should be.
                warnings.simplefilter("ignore", RuntimeWarning)
                reproject_to_hips(
                    (plane, wcs), coord_system_out="equatorial", reproject_function=sample, level=order,
                    output_directory=str(survey), tile_size=TILE_PX, threads=threads,
                    properties={**properties, "obs_title": f"{properties['obs_title']} {name}", "hips_pixel_cut": cut},
                )  # fmt: skip
            (survey / "index.html").unlink()  # it would load a script from the network
            _remove_empty_folders(survey)
            write_linear_thumbnails(survey)
            surveys.append(survey)
    return surveys


def _reader(plane: NDArray[np.float32]) -> Read:
    def read(box: Box) -> NDArray[np.float32]:
        return np.ascontiguousarray(plane[box.slices], dtype=np.float32)[..., None]

    return read


def _remove_empty_folders(survey: Path) -> None:
    for folder, _, _ in os.walk(survey, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _write_pictures(
    mosaic: FilledMosaic,
    painter: Painter,
    linear: Path,
    survey: Path,
    order: int,
    threads: int,
    cancel: CancelToken,
) -> tuple[NDArray[np.int64], int]:
    """Write the pictures of the tiles that a survey of a channel has; return the covered cells and their order."""
    lock = threading.Lock()

    def read(box: Box) -> NDArray[np.float32]:
        with lock:  # one file, one place in it
            return mosaic.adu(box)

    source = SkyTiles(read, WCS(mosaic.header, naxis=2), mosaic.shape, mosaic.channels)

    def draw(tile: tuple[int, Path]) -> NDArray[np.int64]:
        cancel.check()
        number, path = tile
        pixels = source.tile(WCS(fits.getheader(path)))[::-1]
        seen = np.asarray(np.isfinite(pixels).all(axis=2))
        picture = np.zeros((*seen.shape, 4), dtype=np.uint8)
        picture[..., :3] = painter.paint(pixels)
        picture[..., 3] = np.where(seen, np.uint8(255), np.uint8(0))
        painter.write(picture, tile_path(survey, order, number, ".png"))
        return covered_cells(seen, number)

    tiles = list(survey_tiles(linear, order, ".fits"))
    cells = run_all(draw, tiles, threads, cancel)
    for above in range(order - 1, -1, -1):
        cancel.check()
        for number, _ in survey_tiles(linear, above, ".fits"):
            _join_four(survey, above, number, painter)
    return np.sort(np.concatenate(cells)), order + MOC_FINER


def _join_four(survey: Path, order: int, number: int, painter: Painter) -> None:
    """Write the picture of a tile from the four below it."""
    half = TILE_PX // 2
    picture = np.zeros((TILE_PX, TILE_PX, 4), dtype=np.uint8)
    for quarter in range(4):
        path = tile_path(survey, order + 1, 4 * number + quarter, ".png")
        if path.is_file():
            y, x = half * (quarter & 1), half * (quarter >> 1)
            picture[y : y + half, x : x + half] = mean_of_blocks(painter.read(path), 2)
    painter.write(picture, tile_path(survey, order, number, ".png"))


def survey_tiles(survey: Path, order: int, suffix: str) -> Iterator[tuple[int, Path]]:
    """The tiles of one order of a survey: their numbers (nested) and files, in the order of the numbers."""
    files = (survey / f"Norder{order}").glob(f"Dir*/Npix*{suffix}")
    yield from sorted((int(path.stem.removeprefix("Npix")), path) for path in files)


def tile_path(survey: Path, order: int, number: int, suffix: str) -> Path:
    """The file of a tile, as the standard names it."""
    return survey / f"Norder{order}" / f"Dir{number // 10000 * 10000}" / f"Npix{number}{suffix}"


def survey_properties(header: fits.Header, name: str) -> dict[str, str]:
    """What the file ``properties`` of a survey says of the mosaic; nothing in it depends on when it was made."""
    title = str(header.get("OBJECT", "")).strip() or "Mosaic"
    identifier = "".join(letter if letter.isalnum() else "-" for letter in title)
    properties = {
        "creator_did": f"ivo://zemosaic/P/{identifier}/{name}",
        "obs_title": title,
        "obs_description": f"Mosaic of {header.get('STACKCNT', '?')} exposures",
        "hips_release_date": str(header.get("DATE-END", "2000-01-01T00:00:00"))[:16] + "Z",
        "hips_builder": str(header.get("CREATOR", "ZeMosaic")),
    }
    for key, card in (("t_min", "DATE-BEG"), ("t_max", "DATE-END")):
        if card in header:
            properties[key] = f"{Time(header[card], scale='utc').mjd:.6f}"
    return properties


def write_properties(survey: Path, properties: dict[str, str]) -> None:
    """Write the file ``properties`` of a survey."""
    lines = [f"{key:<20} = {value}\n" for key, value in properties.items()]
    (survey / "properties").write_text("".join(lines), encoding="utf-8")


def read_properties(survey: Path) -> dict[str, str]:
    """The file ``properties`` of a survey."""
    pairs = (line.partition("=") for line in (survey / "properties").read_text("utf-8").splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def covered_cells(seen: NDArray[np.bool_], number: int) -> NDArray[np.int64]:
    """Numbers (nested) of the cells of the coverage map that a tile has data in.

    Parameters
    ----------
    seen : ndarray of bool, shape (512, 512)
        Where the tile has data, first row on top.
    number : int
        Of the tile.

    Returns
    -------
    ndarray of int64
        Ascending, of the order of the tile + 4.
    """
    side = 2**MOC_FINER
    rows, columns = np.nonzero(seen.reshape(side, TILE_PX // side, side, TILE_PX // side).any(axis=(1, 3)))
    inside = np.zeros(len(rows), dtype=np.int64)
    for bit in range(MOC_FINER):  # rows count along the first axis of a base cell, columns along the second
        inside |= ((rows >> bit) & 1) << (2 * bit) | ((columns >> bit) & 1) << (2 * bit + 1)
    return np.sort(number * side**2 + inside)


def write_moc(path: Path, cells: NDArray[np.int64], order: int) -> float:
    """Write cells of one order of the sphere as a multi-order coverage map and return their share of the sky.

    Parameters
    ----------
    path : Path
        FITS file to make.
    cells : ndarray of int64
        Their numbers (nested), each once.
    order : int
        Of the cells.
    """
    share = len(cells) / (12 * 4**order)
    found, level = np.sort(cells), order
    numbers = []
    while level > 0 and len(found):
        parents, counts = np.unique(found // 4, return_counts=True)
        whole = parents[counts == 4]
        numbers.append(4 * 4**level + found[~np.isin(found // 4, whole)])
        found, level = whole, level - 1
    numbers.append(4 * 4**level + found)
    column = fits.Column(name="UNIQ", format="K", array=np.sort(np.concatenate(numbers)))
    table = fits.BinTableHDU.from_columns([column])
    table.header.update(PIXTYPE="HEALPIX", ORDERING="NUNIQ", COORDSYS="C", MOCORDER=order, MOCTOOL="ZeMosaic")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return share


_ALLSKY_SHAPE = (-(-12 * 4**_LOWEST_ORDER // _THUMBNAILS_A_ROW) * _THUMBNAIL_PX, _THUMBNAILS_A_ROW * _THUMBNAIL_PX)


def thumbnails(survey: Path, read: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The picture of all tiles of order 3: their thumbnails in rows, first row on top, (1856, 1728, 4)."""
    picture = np.zeros((*_ALLSKY_SHAPE, 4), dtype=np.uint8)
    for place, path in _thumbnail_places(survey, ".png"):
        picture[place] = mean_of_blocks(read(path), TILE_PX // _THUMBNAIL_PX)
    return picture


def write_linear_thumbnails(survey: Path) -> None:
    """Write ``Allsky.fits`` of a survey of FITS tiles; it looks as the picture does when its first row is below."""
    sky = np.full(_ALLSKY_SHAPE, np.nan, dtype=np.float32)
    side, factor = _THUMBNAIL_PX, TILE_PX // _THUMBNAIL_PX
    for place, path in _thumbnail_places(survey, ".fits"):
        tile = fits.getdata(path)[::-1].reshape(side, factor, side, factor)
        seen = np.isfinite(tile)
        count = seen.sum(axis=(1, 3))
        total = np.where(seen, tile, 0.0).sum(axis=(1, 3))
        sky[place] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    fits.PrimaryHDU(np.ascontiguousarray(sky[::-1])).writeto(survey / f"Norder{_LOWEST_ORDER}" / "Allsky.fits")


def _thumbnail_places(survey: Path, suffix: str) -> Iterator[tuple[tuple[slice, slice], Path]]:
    """Where the thumbnail of each tile of order 3 lies, first row on top, and the file of the tile."""
    for number, path in survey_tiles(survey, _LOWEST_ORDER, suffix):
        y, x = (_THUMBNAIL_PX * place for place in divmod(number, _THUMBNAILS_A_ROW))
        yield (slice(y, y + _THUMBNAIL_PX), slice(x, x + _THUMBNAIL_PX)), path


def mean_of_blocks(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """A picture with transparency (H, W, 4) made smaller; colours of transparent pixels do not count."""
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    blocks = picture.reshape(height, factor, width, factor, 4).astype(np.float32)
    alpha = blocks[..., 3:]
    weight = alpha.sum(axis=(1, 3))
    colours = (blocks[..., :3] * alpha).sum(axis=(1, 3)) / np.maximum(weight, 1.0)
    return np.concatenate([np.rint(colours), np.rint(weight / factor**2)], axis=2).astype(np.uint8)
