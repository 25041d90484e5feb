"""Writes FITS files, each whole or not at all."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from astropy.io import fits

from ..errors import RunError
from ..sentences import say
from . import streams

_TEMPORARY_NUMBER = itertools.count()


@contextmanager
def atomic_path(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Write a file whole or not at all.

    Gives the body a temporary name in the same folder (which is made if it is missing) with the
    same ending. When the body is done the file is brought to disk and renamed to `path`; on any
    exception it is removed and an older file at `path` stays as it was.

    Parameters
    ----------
    path : path-like
        The file to make.
    sync : bool
        False leaves it to the system when the file comes to disk: for files whose checksum is kept elsewhere and
        that are made again if a power cut took them.

    Yields
    ------
    Path
        Where to write. The name begins with a dot.

    Raises
    ------
    RunError
        In place of an `OSError`: disk full, folder not writable, name taken by a folder.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{next(_TEMPORARY_NUMBER)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if sync:
            with temporary.open("r+b") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # not there, or its folder cannot be written: the error above says it
            temporary.unlink()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Write a folder whole or not at all; one that was there before goes when the new one is complete.

    Parameters
    ----------
    path : path-like
        The folder to make.

    Yields
    ------
    Path
        An empty folder beside it, with a name that begins with a dot.

    Raises
    ------
    RunError
        In place of an `OSError`, as in `atomic_path`.
    """
    path = Path(path)
    number = f"{os.getpid()}-{next(_TEMPORARY_NUMBER)}"
    temporary, old = (path.with_name(f".{path.name}.{number}{word}.part") for word in ("", "-old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            path.rename(old)
        temporary.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> RunError:
    why = error.strerror or error
    return RunError(say("{path} cannot be written: {why}. {what}", path=path, why=why, what=_what_to_do(error)))


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _what_to_do(error: OSError) -> str:
    """The advice that fits what the system said."""
    if error.errno in _NO_ROOM:
        return say("Free some space there or choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return say("Choose a folder that you may write to, or ask for the right to.")
    return say("Choose another folder, or look after its disk.")


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, so that a rename outlives a power cut; Windows does it by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such thing
            raise
    finally:
        os.close(descriptor)


def write_fits(
    path: str | Path,
    hdus: Sequence[fits.PrimaryHDU | fits.ImageHDU],
    check: Callable[[], None] | None = None,
    *,
    sync: bool = True,
    parts: streams.Parts | None = None,
    on_image: Callable[[int], None] | None = None,
    threads: int = 1,
) -> Path:
    """Write images to a FITS file under a temporary name, then rename it; each gets CHECKSUM and DATASUM.

    The same images and cards give the same bytes, whenever they are written.

    Parameters
    ----------
    path : path-like
        The file to make; an older one is replaced.
    hdus : sequence of astropy HDUs
        Images, the primary HDU first; their data may be views in any memory order.
    check : callable, optional
        Called often, at least for every 8 MB; it may raise to stop.
    sync : bool
        As in `atomic_path`.
    parts : Parts, optional
        The pixels of the first image in place of its data, which tell no more than shape and type.
    on_image : callable, optional
        Called with the number of each image that is written.
    threads : int
        As for `streams.write_image`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    RunError
        If the disk is full or the folder cannot be written; nothing is left behind.
    """
    with atomic_path(path, sync=sync) as temporary, temporary.open("wb") as file:
        for number, hdu in enumerate(hdus):
            cards = hdu.header.copy()
            if number == 0 and len(hdus) > 1:
                cards.set("EXTEND", True, after=f"NAXIS{cards['NAXIS']}" if cards["NAXIS"] else "NAXIS")
            pixels = parts if parts is not None and number == 0 else hdu.data
            streams.write_image(file, cards, pixels, check or (lambda: None), sync=sync, threads=threads)
            if on_image is not None:
                on_image(number)
    return Path(path)
