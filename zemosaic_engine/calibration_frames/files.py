"""Writes masters with their provenance: FITS files that this program and others take for masters again."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from .. import __version__
from ..fits.writer import write_fits
from ..names import shown_name
from ..resume.fingerprints import file_digest, fingerprint
from ..subs.roles import Role
from .masters import Master
from .records import FrameSet

#: Folder for masters in an output folder.
MASTERS_NAME = "masters"
_TYPES = {
    Role.DARK: "Master Dark",
    Role.BIAS: "Master Bias",
    Role.FLAT: "Master Flat",
    Role.DARK_FLAT: "Master DarkFlat",
}
_DIGEST_DIGITS = 16


def master_path(folder: Path, frames: FrameSet) -> Path:
    """The file of a master: named after its kind, camera, exposure, gain, temperature, filter and date."""
    conditions, setup = frames.conditions, frames.conditions.setup
    parts = ["master", str(frames.role).replace("-", "")]
    parts += [setup.camera, conditions.filter if frames.role is Role.FLAT else ""]
    parts += [f"{conditions.exposure_s:g}s" if conditions.exposure_s > 0.0 and frames.role is not Role.BIAS else ""]
    parts += [f"gain{setup.gain:g}" if math.isfinite(setup.gain) else ""]
    parts += [f"{setup.temperature_c:.0f}C" if math.isfinite(setup.temperature_c) else ""]
    parts += [f"{conditions.shape[1]}x{conditions.shape[0]}", frames.frames[0].sub.date_obs[:10]]
    parts += [fingerprint([str(frame.path) for frame in frames.frames])[:6]]  # two sets may share all of the above
    name = "_".join(re.sub(r"[^\w.+-]+", "-", part) for part in parts if part)
    return folder / f"{name}.fits"


def write_master(folder: Path, frames: FrameSet, master: Master) -> Path:
    """Write a master with the frames that it was made of, each with the beginning of its SHA-256.

    Parameters
    ----------
    folder : Path
        Made if missing.
    frames : FrameSet
    master : Master

    Raises
    ------
    RunError
        If the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = master_path(folder, frames)
    pixels = master.pixels if master.pixels.ndim == 2 else master.pixels.transpose(2, 0, 1)
    write_fits(path, [fits.PrimaryHDU(np.ascontiguousarray(pixels), header=_cards(frames, master))])
    return path


def _cards(frames: FrameSet, master: Master) -> fits.Header:
    conditions, setup = frames.conditions, frames.conditions.setup
    header = fits.Header()
    header["IMAGETYP"] = _TYPES[frames.role]
    header["NCOMBINE"] = (master.frames, "number of frames")
    header["STACKCNT"] = (master.frames, "number of frames")
    texts = (
        ("INSTRUME", setup.camera), ("CAMERAID", setup.serial), ("TELESCOP", setup.telescope),
        ("FILTER", conditions.filter), ("BAYERPAT", conditions.bayer or ""), ("READOUTM", setup.readout),
        ("DATE-OBS", frames.frames[0].sub.date_obs),
    )  # fmt: skip
    for keyword, text in texts:
        if text:
            header[keyword] = text.encode("ascii", "replace").decode()[:60]
    numbers = (
        ("EXPTIME", conditions.exposure_s, "[s] of one frame"), ("GAIN", setup.gain, "setting of the camera"),
        ("OFFSET", setup.offset, "setting of the camera"), ("CCD-TEMP", setup.temperature_c, "[degC] median"),
        ("ROTATANG", setup.rotation_deg, "[deg] of the rotator"),
        ("ZMNOISE", master.noise, "random noise of a pixel"), ("ZMREJ", master.rejected_pct, "[%] samples rejected"),
    )  # fmt: skip
    for keyword, number, comment in numbers:
        if math.isfinite(number):
            header[keyword] = (number, comment)
    for keyword, binning in zip(("XBINNING", "YBINNING"), setup.binning, strict=True):
        if binning:
            header[keyword] = binning
    header["BUNIT"] = "adu" if frames.role is not Role.FLAT else ""
    header["CREATOR"] = (f"ZeMosaic {__version__}", "program that wrote this file")
    _add_history(header, frames, master)
    return header


def _add_history(header: fits.Header, frames: FrameSet, master: Master) -> None:
    left_out = {one.path: one.reason for one in master.left_out}
    for frame in frames.frames:
        name = shown_name(frame.path.name)
        if str(frame.path) in left_out:
            header.add_history(_ascii(f"left out {name}: {left_out[str(frame.path)]}"))
        else:
            header.add_history(
                _ascii(f"frame {name} sha256 {file_digest(frame.path, frame.sub.span or None)[:_DIGEST_DIGITS]}")
            )


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
