"""Stack plans before a run, and pictures after it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zemosaic_engine.calibration_frames.files import write_master
from zemosaic_engine.calibration_frames.finding import find_frames
from zemosaic_engine.calibration_frames.making import MasterMaker, make_all
from zemosaic_engine.calibration_frames.masters import Master, Workshop
from zemosaic_engine.calibration_frames.records import FrameSet, LeftOut
from zemosaic_engine.channels import over_channels
from zemosaic_engine.errors import RunError, SettingsError, SubError
from zemosaic_engine.events import CancelToken, Reporter, Sink, SubCount
from zemosaic_engine.fits import headers, writer
from zemosaic_engine.machine import memory
from zemosaic_engine.machine.threads import run_interruptibly, thread_count
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.run_folder import STATE_NAME
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.solving.copies import CARDS_ENDING, can_be_copied, write_cards, write_copy
from zemosaic_engine.solving.journal import NAME as JOURNAL_NAME
from zemosaic_engine.solving.journal import SolutionJournal
from zemosaic_engine.solving.session import PlateSolver, SolvedSub, as_unsolved, solve_subs
from zemosaic_engine.subs import stack_plan
from zemosaic_engine.subs.finding import Search, find_subs, nothing_found
from zemosaic_engine.subs.folder import FoundSubs
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub
from zemosaic_engine.validity import bright_holes, valid_pixels

# --- calibration frames alone


@dataclass(frozen=True)
class MastersOutcome:
    """What `make_masters` made.

    Attributes
    ----------
    masters : sequence of (str, Path)
        What each master was made of, and its file.
    without : sequence of (str, str)
        Sets of frames of which none was made, and why.
    left_out : sequence of LeftOut
        Frames that are in no master.
    """

    masters: Sequence[tuple[str, Path]]
    without: Sequence[tuple[str, str]]
    left_out: Sequence[LeftOut]


def make_masters(
    input_folder: Path, output: Path, settings: GridSettings, sink: Sink, cancel: CancelToken
) -> MastersOutcome:
    """Make the masters of all calibration frames of a folder.

    Parameters
    ----------
    input_folder : Path
        Folder of darks, flats, biases and dark-flats, in any order; what is none of these is passed over.
    output : Path
        Folder for the masters; made if missing.
    settings : GridSettings
        `saturation_adu`, `pedestal`, `threads`, and the options that name more frames.
    sink, cancel
        Receives log lines; looked at between frames.

    Raises
    ------
    SettingsError
        The folder does not exist or holds no calibration frame, or `output` lies inside it.
    RunError
        A master cannot be written.
    """
    if not input_folder.is_dir():
        raise SettingsError(f"The input folder {input_folder} does not exist.")
    if input_folder.resolve() in (output.resolve(), *output.resolve().parents):
        raise SettingsError(
            f"The folder {output} for masters must lie outside the input folder {input_folder}; name another one."
        )
    found = find_frames((), settings.model_copy(update={"calibration_dir": str(input_folder)}), check=cancel.check)
    if not found.sets and not found.left_out:
        raise SettingsError(f"The folder {input_folder} holds no dark, flat, bias or dark-flat.")
    made: list[tuple[str, Path]] = []
    output.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(
        output, min(_FRAMES_BYTES, memory.available_bytes() // 4), thread_count(settings.threads), cancel
    )

    def save(frames: FrameSet, master: Master) -> None:
        made.append((str(frames.name), write_master(output, frames, master)))

    maker = MasterMaker(settings, workshop, Checkpoints(), Reporter(sink, source=""), save)
    without = run_interruptibly(lambda: make_all(found, settings, maker), cancel)
    return MastersOutcome(made, [(frames.name, reason) for frames, reason in without], maker.left_out)


_FRAMES_BYTES = 512_000_000  # of calibration frames that are held at once

# --- the folder before a run


@dataclass(frozen=True)
class PlanOutcome:
    """What `write_plan` found and wrote.

    Attributes
    ----------
    plan : Path
        The plan.
    rejected_table : Path or None
        The table of files that cannot be used; None if there are none.
    found : FoundSubs
        The subs of the folder and what lies beside them.
    backup : Path or None
        The plan that was there before, under another name.
    notes : sequence of str
        What a person should know, one sentence each.
    """

    plan: Path
    rejected_table: Path | None
    found: FoundSubs
    backup: Path | None
    notes: Sequence[str]

    @property
    def subs(self) -> int:
        """Number of subs in the plan."""
        return len(self.found.subs)


def write_plan(
    input_folder: Path,
    output: Path | None = None,
    on_file: Callable[[int, int], None] | None = None,
    *,
    recursive: bool = True,
) -> PlanOutcome:
    """Write the stack plan of a folder of subs from their headers.

    Parameters
    ----------
    input_folder : Path
        Folder of subs.
    output : Path, optional
        File to write; ``stack_plan.csv`` in the folder if left out. A plan of that name with
        other contents is kept beside it under a numbered ``.bak`` name. Files that cannot be used
        are listed in ``stack_plan_rejected.csv`` beside it.
    on_file : callable, optional
        ``on_file(done, total)`` after each file.
    recursive : bool
        False leaves the sub-folders out.

    Returns
    -------
    PlanOutcome

    Raises
    ------
    SettingsError
        The folder does not exist.
    RunError
        The folder holds no usable sub, or the plan cannot be written.
    """
    if not input_folder.is_dir():
        raise SettingsError(f"The input folder {input_folder} does not exist.")
    target = output if output is not None else input_folder / "stack_plan.csv"
    if target.is_dir():
        raise SettingsError(f"The plan {target} is a folder; name a file.")
    found = find_subs(input_folder, Search(recursive=recursive, use_plan=False), on_file)
    subs = found.subs
    if not subs:
        if not found.rejected:
            raise RunError(nothing_found(input_folder, found, recursive=recursive))
        raise RunError(
            f"No usable sub was found in {input_folder} (files set aside: {len(found.rejected)}, the first: "
            f"{found.rejected[0]}); no plan was written."
        )
    before = target.read_bytes() if target.exists() else None
    backup = None
    if before is not None:
        backup = _free_backup_name(target)
        backup.write_bytes(before)
    stack_plan.write_stack_plan(target, subs)
    if backup is not None and target.read_bytes() == before:
        backup.unlink()
        backup = None
    table = stack_plan.rejected_path(target)
    if found.rejected:
        stack_plan.write_rejected(table, found.rejected)
    else:
        table.unlink(missing_ok=True)  # of an earlier plan
    return PlanOutcome(target, table if found.rejected else None, found, backup, [*found.notes, *_filter_note(subs)])


# --- plate solving by itself


@dataclass(frozen=True)
class SolveOutcome:
    """What `solve_folder` found and wrote.

    Attributes
    ----------
    solved : sequence of SolvedSub
        In the order of time.
    already : int
        Subs that have a solution in their header and were left alone.
    rejected : sequence of SubError
        Files that cannot be used.
    written : int
        Files that were written.
    notes : sequence of str
        What a person should know, one sentence each.
    """

    solved: Sequence[SolvedSub]
    already: int
    rejected: Sequence[SubError]
    written: int
    notes: Sequence[str]


def solve_folder(
    input_folder: Path,
    write: Path | None,
    settings: GridSettings,
    sink: Sink,
    cancel: CancelToken,
    *,
    cards_only: bool = False,
) -> SolveOutcome:
    """Plate-solve the subs of a folder; nothing of the folder is changed.

    Parameters
    ----------
    input_folder : Path
        Folder of subs, or with their ``stack_plan.csv``.
    write : Path, optional
        Folder for copies of the subs with their solutions, in the sub-folders of the originals; made if missing.
        Solutions of an earlier call are kept in it and used again. Nothing is written without it.
    settings : GridSettings
        `plate_solve` (``all`` solves those anew that have a solution), `star_catalogue_dir`, `recursive`, `filter`.
    sink, cancel
        Receives progress; looked at between subs.
    cards_only : bool
        Write headers alone, ``NAME.wcs``, as solve-field does.

    Raises
    ------
    SettingsError
        The folder does not exist or holds no sub, or `write` lies inside it.
    """
    if not input_folder.is_dir():
        raise SettingsError(f"The input folder {input_folder} does not exist.")
    if write is not None and input_folder.resolve() in (write.resolve(), *write.resolve().parents):
        raise SettingsError(
            f"The folder {write} for solved copies must lie outside the input folder {input_folder}; name another one."
        )

    def on_file(done: int, total: int) -> None:
        cancel.check()
        sink(SubCount(done, total))

    found = find_subs(input_folder, Search(settings.recursive, settings.saturation_adu, settings.filter), on_file)
    if not found.subs and not found.rejected:
        raise SettingsError(nothing_found(input_folder, found, recursive=settings.recursive))
    if settings.filter:
        paths = {sub.path for sub in stack_plan.select_filter(found.subs, settings.filter)}
        infos = [info for info in found.infos if info.path in paths]
        found = replace(found, infos=infos, unsolved=[sub for sub in found.unsolved if sub.path in paths])
    anew = settings.plate_solve == "all"
    subs = sorted([*found.unsolved, *(as_unsolved(info) for info in found.infos if anew)], key=stack_plan.time_order)
    known = () if anew else found.infos
    journal = SolutionJournal(None if write is None else write / STATE_NAME / JOURNAL_NAME)
    solver = PlateSolver(settings, journal)
    solved = solve_subs(subs, solver, Reporter(sink), cancel, known=known, anew=anew, threads=settings.threads)
    written = 0
    if write is not None:
        for result in solved:
            cancel.check()
            written += _write_solution(result, input_folder, write, cards_only=cards_only)
    return SolveOutcome(solved, len(known), found.rejected, written, found.notes)


def _write_solution(result: SolvedSub, input_folder: Path, write: Path, *, cards_only: bool) -> bool:
    """Write what was found of a sub; False if nothing was."""
    if result.info is None:
        return False
    path = result.sub.path
    inside = path.is_relative_to(input_folder)
    target = write / (path.relative_to(input_folder) if inside else Path(path.name))
    if cards_only or not can_be_copied(result.sub):
        write_cards(result.sub, result.cards, target.with_suffix(CARDS_ENDING))
    else:
        write_copy(result.sub, result.cards, target)
    return True


def _filter_note(subs: Sequence[SubInfo | UnsolvedSub]) -> list[str]:
    """Return what a run would say about several filters."""
    try:
        stack_plan.select_filter(subs)
    except SettingsError as error:
        return [str(error)]
    return []


def _free_backup_name(path: Path) -> Path:
    number = 1
    while True:
        candidate = path.with_name(f"{path.name}.{number}.bak")
        if not candidate.exists():
            return candidate
        number += 1


# --- the pictures after a run

# The sky comes out as this grey (of 1), dark but not black, and its noise of this amplitude.
_SKY_GREY = 0.11
_SKY_NOISE_GREY = 0.04
# Brighter than this share of all pixels is white.
_WHITE_QUANTILE = 0.9995
# ... but never fewer sigma of the sky than this, or an empty field would be all noise.
_WHITE_MIN_SIGMA = 60.0
# Bytes of the mosaic worked on at once, few enough for the cache of a processor, and pixels for the statistics.
_STRIP_BYTES = 4_000_000
_STATISTICS_PIXELS = 1_000_000
# A hole whose rim is brighter than this (of 1) is the saturated core of a star.
_BRIGHT_RIM = 0.5


def write_preview(mosaic_path: Path, png_path: Path, max_px: int) -> None:
    """Write a picture of a mosaic for the eye: sky dark grey and neutral, stars in colour.

    Parameters
    ----------
    mosaic_path : Path
        FITS file whose first HDU with an image is (3, H, W) or (H, W); NaN = no data.
    png_path : Path
        PNG to write, 8 bits a channel, north up and east left if the WCS is close to upright.
    max_px : int
        Longest side; a larger mosaic is averaged over square blocks.

    Notes
    -----
    The stretch is an asinh of each channel (Lupton, Gunn and Szalay 1999, AJ 118, 1406). Pixels
    without data are black; holes with a bright rim are cores of saturated stars and white.
    Memory is bounded by the picture, not by the mosaic: it is read in strips.
    """
    write_picture(make_preview(mosaic_path, max_px), png_path)


def make_preview(mosaic_path: Path, max_px: int) -> bytes:
    """The PNG of `write_preview`, in memory; `RunError` if the mosaic cannot be read."""
    try:
        hdus = fits.open(mosaic_path, memmap=False)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            say("{path} cannot be read ({reason}): make the mosaic again.", path=mosaic_path, reason=reason)
        ) from error
    with hdus:
        hdu = next(candidate for candidate in hdus if candidate.header.get("NAXIS", 0) >= 2)
        small = block_means(hdu.section, shrinking_factor(hdu.shape[-2:], max_px))
        small = _upright(small, hdu.header)
    return png_of(stretch(small))


def write_picture(picture: bytes, path: Path) -> None:
    """Write the bytes of a picture, whole or not at all."""
    with writer.atomic_path(path) as temporary:
        temporary.write_bytes(picture)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a larger image, upright.

    Attributes
    ----------
    data : bytes
        The encoded picture.
    kind : str
        ``"jpeg"`` or ``"png"``.
    shape : tuple of int
        ``(height, width)`` of the picture.
    top : float
        What the last colour of the scale stands for, if there is a scale.
    """

    data: bytes
    kind: str
    shape: tuple[int, int]
    top: float = 0.0


#: Colours of coverage from its least to its most, in even steps (those of the map "viridis"); black is none.
COVERAGE_COLOURS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"
)  # fmt: skip


def shrink_picture(path: Path, max_px: int) -> Thumbnail:
    """A picture of `write_preview` as a JPEG whose longest side is at most `max_px`."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(path) as picture:
        factor = max(1, -(-max(picture.size) // max_px))
        small = picture.convert("RGB").reduce(factor)
        small.save(file, format="JPEG", quality=88)
    return Thumbnail(file.getvalue(), "jpeg", (small.height, small.width))


def make_coverage_picture(path: Path, max_px: int) -> Thumbnail:
    """A picture of a coverage map in false colours, north up; its longest side is at most `max_px`.

    Parameters
    ----------
    path : Path
        FITS file with an image (H, W), number of subs a pixel.
    max_px : int
        A larger map is averaged over square blocks.
    """
    from PIL import Image

    with fits.open(path, memmap=False) as hdus:
        hdu = next(candidate for candidate in hdus if candidate.header.get("NAXIS", 0) >= 2)
        small = _upright(block_means(hdu.section, shrinking_factor(hdu.shape[-2:], max_px)), hdu.header)[..., 0]
    small = np.nan_to_num(small)
    top = max(float(small.max(initial=0.0)), 1.0)
    index = np.where(small > 0, 1 + np.floor(small / top * 254.0), 0).astype(np.uint8)
    stops = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in COVERAGE_COLOURS], dtype=np.float64)
    at = np.linspace(0.0, len(stops) - 1.0, 255)
    scale = np.stack([np.interp(at, np.arange(len(stops)), stops[:, colour]) for colour in range(3)], axis=1)
    image = Image.fromarray(index, mode="P")
    image.putpalette([0, 0, 0, *np.rint(scale).astype(int).ravel().tolist()])
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return Thumbnail(file.getvalue(), "png", (index.shape[0], index.shape[1]), top)


_LABEL_PX = 24
_GAP_PX = 8
# Differences of this many sigma, or those that 99 % stay below if that is more, are at the ends of the scale.
_DIFFERENCE_SIGMA = 3.0
_DIFFERENCE_QUANTILE = 0.99


def write_comparison(
    first: NDArray[np.float32], second: NDArray[np.float32], header: fits.Header, png_path: Path, max_px: int = 3600
) -> None:
    """Write a picture of two mosaics and their difference, the first two with one stretch.

    Parameters
    ----------
    first, second : ndarray of float32, shape (C, H, W)
        On one grid and one scale, in ADU; NaN = no data.
    header : astropy.io.fits.Header
        With the WCS of the grid; north is turned up.
    png_path : Path
        PNG to write.
    max_px : int
        Longest side of the picture.

    Notes
    -----
    The difference, first minus second, is linear and signed: mid grey where they agree, each channel
    for itself.
    """
    height, width = first.shape[1:]
    across = width < height  # side by side, or one above the other: whatever is nearer to a square
    small = [_upright(_shrunk(planes, max(max_px // 3, 64)), header) for planes in (first, second)]
    curve = measure_curve(small[0])
    panels = [_as_rgb(through_curve(image, curve)) for image in small]
    shown, reach = _signed(small[0] - small[1])
    panels.append(_as_rgb(shown))
    labels = (
        "A",
        "B, on the scale and sky of A, same stretch",
        f"A - B, black to white: -{reach:.3g} to {reach:.3g} ADU",
    )
    write_picture(png_of(_side_by_side(panels, labels, across=across)), png_path)


def _shrunk(planes: NDArray[np.float32], max_px: int) -> NDArray[np.float32]:
    """(C, H, W) as means over square blocks, (h, w, C)."""
    channels, height, width = planes.shape
    factor = shrinking_factor((height, width), max_px)
    shape = (-(-height // factor), -(-width // factor))
    small = np.empty((*shape, channels), dtype=np.float32)
    for channel in range(channels):
        small[..., channel] = _reduce_strip(planes[channel], factor, shape)
    return small


def _signed(difference: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float]:
    """Linear around mid grey, and what its ends stand for; black where one of the two has nothing."""
    sizes = np.abs(difference[np.isfinite(difference)])
    if not sizes.size:
        return np.zeros(difference.shape, dtype=np.uint8), 0.0
    reach = max(_DIFFERENCE_SIGMA * 1.4826 * float(np.median(sizes)), float(np.quantile(sizes, _DIFFERENCE_QUANTILE)))
    shown = np.clip(0.5 + 0.5 * difference / np.float32(reach or 1.0), 0.0, 1.0)
    shown[~np.isfinite(difference).all(axis=2)] = 0.0
    return (shown * np.float32(255.0) + np.float32(0.5)).astype(np.uint8), reach


def _as_rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if picture.shape[2] == 3 else np.repeat(picture, 3, axis=2)


def _side_by_side(panels: Sequence[NDArray[np.uint8]], labels: Sequence[str], *, across: bool) -> NDArray[np.uint8]:
    """Panels of one shape, each with its label above it."""
    from PIL import Image, ImageDraw

    height, width = panels[0].shape[:2]
    step_x, step_y = (width + _GAP_PX if across else 0), (0 if across else height + _LABEL_PX)
    sheet = Image.new(
        "RGB", (width + step_x * (len(panels) - 1), height + _LABEL_PX + step_y * (len(panels) - 1)), (40, 40, 40)
    )
    draw = ImageDraw.Draw(sheet)
    for number, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        left, top = number * step_x, number * step_y
        draw.text((left + 6, top + 6), label, fill=(230, 230, 230))
        sheet.paste(Image.fromarray(panel), (left, top + _LABEL_PX))
    return np.asarray(sheet)


def shrinking_factor(shape: Sequence[int], max_px: int) -> int:
    """The side of square blocks of pixels that bring ``(height, width)`` below `max_px`."""
    return max(1, -(-max(shape) // max_px))


def block_means(section: fits.hdu.image.Section, factor: int, box: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Means over square blocks of `factor` pixels of an image in a file; (h, w, C) float32, NaN where a block has none.

    Strips are read from the file: a memory map would count as memory of this process, page by page. With a `box`
    ``(y0, y1, x0, x1)`` nothing but that part is read.
    """
    *colours, height, width = section.shape
    y0, y1, x0, x1 = box if box is not None else (0, height, 0, width)
    out_shape = (-(-(y1 - y0) // factor), -(-(x1 - x0) // factor))
    channels = colours[0] if colours else 1
    result = np.empty((*out_shape, channels), dtype=np.float32)
    rows = max(1, _STRIP_BYTES // (4 * factor * max(x1 - x0, 1)))
    for row in range(0, out_shape[0], rows):
        last = min(row + rows, out_shape[0])
        lines, columns = slice(y0 + row * factor, min(y0 + last * factor, y1)), slice(x0, x1)
        for channel in range(channels):
            strip = section[channel, lines, columns] if colours else section[lines, columns]
            result[row:last, :, channel] = _reduce_strip(strip.astype(np.float32), factor, (last - row, out_shape[1]))
    return result


def _reduce_strip(strip: NDArray[np.float32], factor: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mean of the finite pixels of each block; NaN where a block has none."""
    if factor == 1:
        return strip
    finite = np.isfinite(strip)
    # Bytes are added at once, other types only after a conversion.
    count = _block_sums(finite.view(np.uint8), factor, shape, np.uint8 if factor**2 < 256 else np.int32)
    total = _block_sums(np.where(finite, strip, np.float32(0)), factor, shape, np.float32)
    mean = np.full(shape, np.nan, dtype=np.float32)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _block_sums(strip: NDArray, factor: int, shape: tuple[int, int], kind: type[np.generic]) -> NDArray:
    """Sums over blocks, the last of which may be cut off; whole rows and columns are added, not single blocks."""
    rows = np.zeros((shape[0], strip.shape[1]), dtype=kind)
    for first in range(factor):
        lines = strip[first::factor]
        rows[: len(lines)] += lines
    sums = np.zeros(shape, dtype=kind)
    for first in range(factor):
        columns = rows[:, first::factor]
        sums[:, : columns.shape[1]] += columns
    return sums


def _upright(image: NDArray[np.float32], header: fits.Header) -> NDArray[np.float32]:
    """Turn rows and columns so that north is up and east is left; PNG rows run downwards."""
    try:
        matrix = headers.celestial_wcs(header, image.shape[:2]).pixel_scale_matrix
    except ValueError:
        # Without a WCS it is shown as FITS viewers show it, first row at the bottom.
        matrix = np.diag([-1.0, 1.0])
    east_is_left = matrix[0, 0] <= 0
    if matrix[1, 1] >= 0:  # north is towards higher rows
        image = image[::-1]
    return image if east_is_left else image[:, ::-1]


def stretch(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch a mosaic from the statistics of its sky.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        C = 1 or 3, in ADU; NaN = no data.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3) or (H, W)
        Sky dark grey and neutral, star colours kept, holes inside bright stars white, no data black.
    """
    picture = through_curve(image, measure_curve(image))
    return picture if image.shape[2] == 3 else picture[..., 0]


def through_curve(image: NDArray[np.float32], curve: Curve | None) -> NDArray[np.uint8]:
    """The image (H, W, C) through a curve, as `stretch` does it; black without one."""
    height, width, channels = image.shape
    picture = np.zeros(image.shape, dtype=np.uint8)
    if curve is not None:
        rows = max(1, _STRIP_BYTES // (16 * width * channels))
        for row in range(0, height, rows):
            picture[row : row + rows] = curve.apply(image[row : row + rows])
        grey = np.zeros((height, width), dtype=np.float32)
        for channel in range(channels):
            grey += picture[..., channel]
        grey = grey / np.float32(channels) / np.float32(255.0)
        picture[bright_holes(~valid_pixels(image), grey, _BRIGHT_RIM)] = 255
    return picture


@dataclass(frozen=True)
class Curve:
    """Asinh of each channel above its sky.

    A channel of the picture never falls where the image rises. One factor for all channels of a pixel would keep
    colours better, but lets a channel fall where another rises faster: cores of stars became darker than their rims.
    Of all curves that never fall, with one shade for grey, this is the one with the strongest colours: the others
    lift a weak channel where a strong one rises.
    """

    sky: NDArray[np.float32]
    softening: float
    gain: float

    def adjusted(self, *, darker: float = 0.0, brighter: float = 0.0, harder: float = 0.0) -> Curve:
        """The curve as a person wants it; 0 changes nothing.

        Parameters
        ----------
        darker : float
            Takes this many times the softening (a few sigma of the sky) from every channel.
        brighter : float
            White is reached at ``2**-brighter`` of the brightness.
        harder : float
            Divides the softening by ``2**harder``: faint light comes up, bright light is pressed together.
        """
        if self.gain <= 0.0:
            return self
        white = self.softening * float(np.sinh((1.0 - _SKY_GREY) / self.gain)) * 2.0**-brighter
        softening = self.softening * 2.0**-harder
        gain = (1.0 - _SKY_GREY) / float(np.arcsinh(white / softening))
        return Curve(self.sky + np.float32(darker * self.softening), softening, gain)

    def white_adu(self) -> NDArray[np.float32]:
        """What becomes white, in each channel."""
        if self.gain <= 0.0:
            return self.sky + np.float32(1.0)
        return self.sky + np.float32(self.softening * np.sinh((1.0 - _SKY_GREY) / self.gain))

    def apply(self, image: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The image (H, W, C) with the same shape in 8 bits; black where a channel is NaN."""
        return (self.levels(image) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)

    def levels(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The image (H, W, C) from 0 to 1, as the eye sees it (sRGB); 0 where a channel is NaN."""
        level = np.empty(image.shape, dtype=np.float32)
        for channel, sky in enumerate(self.sky):
            plane = image[..., channel] - sky
            plane /= np.float32(self.softening)
            np.arcsinh(plane, out=plane)
            plane *= np.float32(self.gain)
            plane += np.float32(_SKY_GREY)
            level[..., channel] = plane
        level[~valid_pixels(level)] = 0.0
        return np.clip(level, np.float32(0.0), np.float32(1.0), out=level)


def measure_curve(image: NDArray[np.float32]) -> Curve | None:
    """The stretch that suits the sky of `image`; None if it holds no data at all."""
    step = max(1, round((image.shape[0] * image.shape[1] / _STATISTICS_PIXELS) ** 0.5))
    pixels = image[::step, ::step]
    pixels = pixels[valid_pixels(pixels)]
    if not pixels.size:  # data may hide between the sampled pixels
        pixels = image[valid_pixels(image)]
    if not pixels.size:
        return None
    planes = [np.sort(plane) for plane in pixels.T]
    sky = np.array([_level_and_noise_of_sorted(plane)[0] for plane in planes], dtype=np.float32)
    brightness = over_channels(np.maximum, pixels - sky)
    noise = float(
        np.median([_level_and_noise_of_sorted(plane - own)[1] for plane, own in zip(planes, sky, strict=True)])
    )
    white = max(float(np.quantile(brightness, _WHITE_QUANTILE)), _WHITE_MIN_SIGMA * noise)
    if white <= 0.0:  # a mosaic of one constant: all of it is sky
        return Curve(sky, 1.0, 0.0)
    noise = max(noise, 1e-4 * white)
    softening = _softening(white / noise) * noise
    return Curve(sky, softening, (1.0 - _SKY_GREY) / float(np.arcsinh(white / softening)))


def sky_level_and_noise(values: NDArray[np.float32]) -> tuple[float, float]:
    """Level and scatter of the sky among pixels that also hold stars and nebula.

    The level is the median after clipping what is brighter than the sky, the scatter comes from
    the pixels below it alone, where nothing but noise can be.

    Parameters
    ----------
    values : ndarray of float32, 1-D
        Finite pixels, at least one.
    """
    return _level_and_noise_of_sorted(np.sort(values))


def _level_and_noise_of_sorted(values: NDArray[np.float32]) -> tuple[float, float]:
    level = float(_middle(values))
    noise = 0.0
    for _ in range(8):
        noise = 1.4826 * float(_middle(level - values[: _up_to(values, level)]))
        new_level = float(_middle(values[: _up_to(values, level + 2.5 * noise)]))
        if abs(new_level - level) <= 0.01 * noise:
            break
        level = new_level
    return level, noise


def _up_to(ordered: NDArray[np.float32], limit: float) -> int:
    """Number of values that do not exceed a limit."""
    return int(np.searchsorted(ordered, np.float32(limit), side="right"))


def _middle(ordered: NDArray[np.float32]) -> np.float32:
    """Median of values in order, or in reverse."""
    return np.float32(ordered[(ordered.size - 1) // 2 : ordered.size // 2 + 1].mean())


def _softening(white_sigma: float) -> float:
    """Softening in sigma of the sky for which the noise of the sky has its wanted amplitude.

    Solves ``(1 - grey) / (s * asinh(white / s)) = noise grey`` for s by bisection; the left side falls with s.
    """
    low, high = 1e-3, white_sigma
    for _ in range(50):
        middle = np.sqrt(low * high)
        if (1.0 - _SKY_GREY) / (middle * np.arcsinh(white_sigma / middle)) > _SKY_NOISE_GREY:
            low = middle
        else:
            high = middle
    return float(np.sqrt(low * high))


def png_of(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture (H, W, 3) or (H, W), first row on top, as the bytes of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", icc_profile=srgb_profile() if picture.ndim == 3 else None)
    return file.getvalue()


def write_picture_tile(picture: NDArray[np.uint8], path: Path, quality: int = 90) -> None:
    """Write one of many small pictures, in the format that its name ends in.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        First row on top; sRGB, with transparency if it has four channels.
    path : Path
        ``.jpg`` or ``.png``; its folder is made if it is missing.
    quality : int
        Of a JPEG.
    """
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    picture = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    options: dict[str, Any] = {"quality": quality} if path.suffix == ".jpg" else {}
    Image.fromarray(picture).save(path, **options)


def read_picture_tile(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture that `write_picture_tile` has written."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def srgb_profile() -> bytes:
    """Return the colour profile of sRGB (ICC), the same bytes at any time."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_PROFILE_DATE] = bytes((0x07, 0xD0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))  # of its making: 1 January 2000
    return bytes(profile)


_PROFILE_DATE = slice(24, 36)


def write_jpeg(mosaic_path: Path, path: Path, max_px: int, quality: int) -> None:
    """Write the picture of `write_preview` as a JPEG."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(make_preview(mosaic_path, max_px))) as picture:
        picture.save(file, format="JPEG", quality=quality, icc_profile=picture.info.get("icc_profile"))
    write_picture(file.getvalue(), path)


def curve_of(mosaic_path: Path, max_px: int) -> Curve | None:
    """Return the curve by which `write_preview` stretches a mosaic, measured on means over blocks of pixels."""
    with fits.open(mosaic_path, memmap=False) as hdus:
        hdu = next(candidate for candidate in hdus if candidate.header.get("NAXIS", 0) >= 2)
        return measure_curve(block_means(hdu.section, shrinking_factor(hdu.shape[-2:], max_px)))
