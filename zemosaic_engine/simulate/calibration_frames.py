"""Writes the calibration frames of a simulated survey: biases, darks, flats and dark-flats, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from . import sensor

if TYPE_CHECKING:
    from .survey import SurveySpec, Telescope

GAIN, OFFSET = 80, 20
_TOP_ADU = 65535
_BIAS_EXPOSURE_S = 0.0001
#: Folder and IMAGETYP of each kind.
KINDS = {
    "bias": ("biases", "Bias"),
    "dark": ("darks", "Dark"),
    "flat": ("flats", "Flat"),
    "dark-flat": ("darkflats", "DarkFlat"),
}
TRUTH_NAME = "calibration.npz"


@dataclass(frozen=True)
class SimulatedFrame:
    """One calibration frame that is to be made.

    Attributes
    ----------
    kind : str
        Key of `KINDS`.
    telescope, number : int
    exposure_s, temperature_c : float
    light_adu : float
        Light in the middle of a flat; 0 of a closed camera.
    """

    kind: str
    telescope: int
    number: int
    exposure_s: float
    temperature_c: float
    light_adu: float = 0.0

    @property
    def name(self) -> str:
        """Path below the folder of the survey."""
        return f"{KINDS[self.kind][0]}/{self.kind}_{self.telescope}_{self.number:03d}.fits"


def frames_of(spec: SurveySpec) -> Iterator[SimulatedFrame]:
    """All calibration frames of a survey."""
    wanted, cold = spec.calibration, spec.temperature_c
    dark_cold = cold if wanted.dark_temperature_c is None else wanted.dark_temperature_c
    for number, telescope in enumerate(spec.telescopes):
        dark_s = telescope.exposure_s if wanted.dark_exposure_s is None else wanted.dark_exposure_s
        for count, kind, exposure_s, temperature_c, light in (
            (wanted.biases, "bias", _BIAS_EXPOSURE_S, cold, 0.0),
            (wanted.darks, "dark", dark_s, dark_cold, 0.0),
            (wanted.flats, "flat", wanted.flat_exposure_s, cold, wanted.flat_adu),
            (wanted.dark_flats, "dark-flat", wanted.flat_exposure_s, cold, 0.0),
        ):
            for frame in range(count):
                yield SimulatedFrame(kind, number, frame, exposure_s, temperature_c, light)


def render_frame(spec: SurveySpec, frame: SimulatedFrame, seed: int) -> NDArray[np.uint16]:
    """Pixels of a calibration frame, shape (H, W), or (3, H, W) of an RGB camera."""
    kind = list(KINDS).index(frame.kind)
    rng = np.random.default_rng([seed, 50, kind, frame.telescope, frame.number])
    pixels = sensor.dark(spec, frame.telescope, seed, frame.exposure_s, frame.temperature_c)
    if frame.light_adu:
        pixels = pixels + np.float32(frame.light_adu) * sensor.flat(spec, frame.telescope, seed)
    sensor.add_noise(spec, pixels, rng)
    pixels += sensor.bias(spec, frame.telescope, seed) + np.float32(0.5)
    return np.clip(pixels, 0.0, _TOP_ADU).astype(np.uint16)


def write_calibration_frames(out: Path, spec: SurveySpec, seed: int) -> None:
    """Write the calibration frames of a survey into folders below it, and what is true of each sensor."""
    if not spec.calibration.any:
        return
    first = datetime(2025, 8, 20, 18, 0, 0)
    for count, frame in enumerate(frames_of(spec)):
        path = out / frame.name
        path.parent.mkdir(exist_ok=True)
        header = frame_header(spec, frame)
        header["DATE-OBS"] = (first + timedelta(seconds=12 * count)).isoformat(timespec="seconds")
        fits.PrimaryHDU(render_frame(spec, frame, seed), header).writeto(path, overwrite=True)
    _write_truth(out, spec, seed)


def frame_header(spec: SurveySpec, frame: SimulatedFrame) -> fits.Header:
    """Cards of a calibration frame as a capture program writes them."""
    telescope: Telescope = spec.telescopes[frame.telescope]
    header = fits.Header()
    header["IMAGETYP"] = KINDS[frame.kind][1]
    header["EXPTIME"] = (frame.exposure_s, "[s] exposure time")
    header["INSTRUME"] = f"Simulated {telescope.name}"
    header["TELESCOP"] = f"{telescope.name}_{frame.telescope}"
    header["GAIN"] = GAIN
    add_camera_cards(header, frame.temperature_c)
    if frame.light_adu:
        header["FILTER"] = spec.filter
    if telescope.sensor in ("GRBG", "RGGB", "BGGR", "GBRG"):
        header["BAYERPAT"] = (telescope.sensor, "colours of the first two rows")
    return header


def add_camera_cards(header: fits.Header, temperature_c: float) -> None:
    """Add the cards of the camera by which lights and calibration frames are matched."""
    header["OFFSET"] = OFFSET
    header["CCD-TEMP"] = (temperature_c, "[degC] of the sensor")
    header["XBINNING"], header["YBINNING"] = 1, 1


def remove_calibration_frames(out: Path) -> None:
    """Remove the frames of an earlier simulation."""
    for kind, (folder, _) in KINDS.items():
        for path in (out / folder).glob(f"{kind}_*_[0-9][0-9][0-9].fits"):
            path.unlink()


def _write_truth(out: Path, spec: SurveySpec, seed: int) -> None:
    """Bias, dark (of a light) and flat of each sensor without noise, named as ``bias_0``."""
    maps: dict[str, NDArray[np.float32]] = {}
    for number, telescope in enumerate(spec.telescopes):
        level = np.broadcast_to(sensor.bias(spec, number, seed), telescope.shape).astype(np.float32)
        collected = sensor.dark(spec, number, seed, telescope.exposure_s, spec.temperature_c)
        named = {"bias": level, "dark": collected, "flat": sensor.flat(spec, number, seed)}
        maps |= {f"{name}_{number}": pixels for name, pixels in named.items()}
    np.savez(out / "truth" / TRUTH_NAME, **maps)  # type: ignore[arg-type]
