"""What things are, in 64 hexadecimal digits: values, files and the program itself."""

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
from ..fits.files import open_file
from ..machine import versions

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
    """Of the code that makes the numbers, and of the libraries below it: another engine, other numbers.

    From the sources of the Grid Mode kit; from the version alone where only compiled files are installed.
    """
    package = Path(__file__).resolve().parents[1]
    sources = sorted(path for path in package.rglob("*.py") if "simulate" not in path.parts)
    sources += [package.parent / name for name in ("grid_mode.py", "zemosaic_stack_core.py")]
    code = [(path.name, file_digest(path)) for path in sources if path.is_file()]
    return fingerprint(__version__, code, versions.library_versions())
