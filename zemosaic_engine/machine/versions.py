"""Versions of the libraries that the numbers depend on."""

from __future__ import annotations

import importlib.metadata
import platform

_LIBRARIES = ("numpy", "astropy", "scipy", "reproject", "numba")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers depend on, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # A host program may carry a library without its metadata; the run itself does not care.
            versions[name] = "unknown"
    return versions
