"""Digests of values, of files and of the program itself, 64 hexadecimal digits each."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.wcs import WCS

from .. import __version__
from ..machine import versions
from ..regular_files import open_file

_CHUNK = 1 << 20


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def fingerprint(*parts: Any) -> str:
    """SHA-256 of values and of their types: numbers, texts, None, arrays, WCSs, dataclasses, sequences, mappings."""
    digest = hashlib.sha256()
    _feed(digest, parts)
    return digest.hexdigest()


def _feed(digest: _Hash, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, WCS):
        _feed(digest, _wcs_facts(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        digest.update(b"mapping ")
        _feed(digest, sorted(value.items()))
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} of ".encode())
        for item in value:
            _feed(digest, item)
    elif value is None or isinstance(value, bool | int | float | str | np.generic):
        text = repr(value.item() if isinstance(value, np.generic) else value)
        digest.update(f"{len(text)} {text} ".encode("utf-8", "surrogateescape"))
    else:
        raise TypeError(f"a {type(value).__name__} has no fingerprint")


def _wcs_facts(wcs: WCS) -> list[Any]:
    facts: list[Any] = [list(wcs.wcs.ctype), wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.get_pc(), wcs.wcs.get_cdelt()]
    facts += [wcs.wcs.lonpole, wcs.wcs.latpole, [list(term) for term in wcs.wcs.get_pv()]]
    if wcs.sip is not None:
        facts += [wcs.sip.a, wcs.sip.b, wcs.sip.crpix]
    return facts


def file_digest(path: str | Path, span: int | None = None) -> str:
    """SHA-256 of the bytes of a file, or of the first `span` of them.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        left = os.fstat(file.fileno()).st_size if span is None else span
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


@functools.cache
def engine_fingerprint() -> str:
    """Fingerprint of the code and data that make the numbers, and of the libraries that they use.

    It is made from the files of the Grid Mode kit. Where Python's sources are not installed, the version stands for
    them.
    """
    package = Path(__file__).resolve().parents[1]
    return fingerprint(__version__, kit_digests(package.parent), versions.library_versions())


def code_fingerprint(*files: str) -> str:
    """Fingerprint of modules outside the kit, by their ``__file__``; the version stands for those without a source."""
    return fingerprint(__version__, [file_digest(name) if os.path.isfile(name) else "" for name in files])


def kit_digests(folder: Path) -> list[tuple[str, str]]:
    """Path and digest of every file of the Grid Mode kit in a folder, sources and data alike.

    The simulator is left out, which no run uses, and so is what Python and Numba have compiled.
    """
    skipped = {"simulate", "__pycache__"}
    paths = [folder / "grid_mode.py", folder / "zemosaic_stack_core.py", *(folder / "zemosaic_engine").rglob("*")]
    named = ((path.relative_to(folder), path) for path in paths if path.is_file())
    return sorted((name.as_posix(), file_digest(path)) for name, path in named if not skipped & {*name.parts})
