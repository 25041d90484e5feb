"""Solutions as files: copies of subs with their WCS, or headers beside nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from astropy.io import fits

from ..errors import SubError
from ..fits.headers import CardValue
from ..fits.writer import atomic_path
from ..sentences import say
from ..subs.faults import read_guarded
from ..subs.frames import UnsolvedSub
from ..subs.image_files import Kind, kind_of
from .cards import is_wcs_card

CARDS_ENDING = ".wcs"


def can_be_copied(sub: UnsolvedSub) -> bool:
    """True if the sub is a FITS file; others get a file of cards."""
    return kind_of(sub.path) is Kind.FITS


def write_copy(sub: UnsolvedSub, cards: Mapping[str, CardValue], target: Path) -> None:
    """Write a copy of a sub, its pixels and cards as they are, with a plate solution in place of any other.

    Parameters
    ----------
    sub : UnsolvedSub
        A FITS file.
    cards : mapping
        As `cards.plate_cards` makes them.
    target : Path

    Raises
    ------
    SubError
        If the sub cannot be read.
    RunError
        If the copy cannot be written.
    """
    with atomic_path(target) as temporary:
        read_guarded(sub.path, lambda: _copied(sub, cards, temporary))


def _copied(sub: UnsolvedSub, cards: Mapping[str, CardValue], temporary: Path) -> None:
    try:
        source = fits.open(sub.path, memmap=False, do_not_scale_image_data=True, ignore_missing_simple=True)
    except OSError as error:
        raise SubError(sub.path, say("it cannot be read: {why}", why=error.strerror or error)) from error
    with source as hdus:
        header = hdus[sub.hdu].header
        for keyword in [name for name in header if is_wcs_card(name)]:
            header.remove(keyword, ignore_missing=True, remove_all=True)
        for keyword, value in cards.items():
            header[keyword] = value
        hdus.writeto(temporary, output_verify="silentfix", overwrite=True)


def write_cards(sub: UnsolvedSub, cards: Mapping[str, CardValue], target: Path) -> None:
    """Write a FITS header without pixels, as solve-field does.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    header = fits.Header([("IMAGEW", sub.shape[1]), ("IMAGEH", sub.shape[0]), *cards.items()])
    with atomic_path(target) as temporary:
        fits.PrimaryHDU(header=header).writeto(temporary)
