"""The telescope that breaks the true sky into subs, in ways that are written down.

A pixel of a sub, before noise, is

    pedestal + glow(u, v) + V(u, v) * (gain_c * T(u, v) * scene_c + sky_c * slope(u, v)) + hot pixels + trail

where u, v are pixel offsets from the frame's centre over half its diagonal,
V = (1 - vignetting * (u**2 + v**2)) * dust, gain_c = transparency * exposure ratio * throughput_c,
scene_c is the true sky on the sub's WCS at its seeing, T the share that uneven clouds let through, and
slope = 1 + gx * u + gy * v + cuu * u**2 + cuv * u * v + cvv * v**2. Every term can be switched off alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..catalogues.passbands import read_passbands
from ..errors import RunError, SettingsError
from ..events import PhaseStarted, Progress, Sink
from . import calibration_frames, sensor, troubles
from .scene import (
    Nebula,
    Psf,
    Scene,
    blackbody_fluxes,
    draw_temperatures,
    make_nebula,
    make_stars,
    tangent_plane,
)
from .sensor import sensor_grid

SATURATION_ADU = 65535
Sensor = Literal["GRBG", "RGGB", "BGGR", "GBRG", "mono", "rgb"]
WcsFlavour = Literal["cd", "pc", "crota", "sip"]


class Telescope(BaseModel):
    """One telescope with its camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "S50"
    shape: tuple[int, int] = Field(default=(1920, 1080), description="Sensor (height, width) in pixels.")
    scale_arcsec: float = Field(default=2.37, gt=0.0)
    exposure_s: float = Field(default=10.0, gt=0.0)
    throughput: tuple[float, float, float] = Field(
        default=(1.0, 1.0, 1.0), description="R, G, B relative to the scene's ADU."
    )
    sensor: Sensor = "GRBG"
    fwhm_px: float = Field(default=2.8, gt=1.0, description="Median seeing, as a Gaussian fit to the pixels finds it.")
    mirrored: bool = False
    wcs_flavour: WcsFlavour = "cd"
    distortion_px: float = Field(default=1.5, description="Displacement in the corners; only a WCS with SIP has any.")


class CalibrationSpec(BaseModel):
    """The calibration frames of each telescope; none by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    biases: int = Field(default=0, ge=0)
    darks: int = Field(default=0, ge=0)
    flats: int = Field(default=0, ge=0)
    dark_flats: int = Field(default=0, ge=0)
    dark_exposure_s: float | None = Field(default=None, gt=0.0, description="None exposes darks as long as lights.")
    dark_temperature_c: float | None = Field(default=None, description="None takes darks as warm as lights.")
    flat_adu: float = Field(default=25000.0, ge=0.0, description="Level of the flats in their middle, above the bias.")
    flat_exposure_s: float = Field(default=2.0, gt=0.0)

    @property
    def any(self) -> bool:
        """True if there is any frame."""
        return bool(self.biases or self.darks or self.flats or self.dark_flats)


class SurveySpec(BaseModel):
    """What is observed and everything that goes wrong. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # the sky
    center_deg: tuple[float, float] = (312.75, 44.37)
    stars_per_mpx: float = Field(default=800.0, ge=0.0)
    faintest_adu: float = Field(default=300.0, gt=0.0)
    brightest_adu: float = Field(default=3.0e6, gt=0.0)
    spectra: Literal["power", "blackbody"] = Field(
        default="power", description="Colours of stars: power laws, or blackbodies through `passbands`."
    )
    passbands: str = Field(default="nikon_d5100", description="Of the camera: a name, or a CSV file.")
    nebula: Literal["none", "part", "full-field"] = "part"
    nebula_adu: float = Field(default=300.0, ge=0.0, description="Brightness exceeded on 1 % of the field.")
    # the plan
    panels: tuple[int, int] = Field(default=(2, 2), description="(rows, columns) of pointings.")
    overlap: float = Field(default=0.2, ge=-1.0, lt=1.0, description="Shared fraction of neighbouring pointings.")
    subs_per_panel: int = Field(default=4, ge=1)
    nights: int = Field(default=1, ge=1)
    telescopes: tuple[Telescope, ...] = Field(
        default=(Telescope(),), min_length=1, description="Night n uses n modulo these."
    )
    mount: Literal["ALTZ", "EQ"] = "ALTZ"
    filter: str = "LP"
    position_angle_deg: float = 0.0
    rotation_deg: float = Field(default=10.0, ge=0.0, description="Field rotation of an alt-az mount over one night.")
    dither_px: float = Field(default=15.0, ge=0.0, description="Largest random shift along each axis.")
    # the air
    transparency_spread: float = Field(
        default=0.08, ge=0.0, lt=0.5, description="Loss between nights and scatter within."
    )
    sky_adu: float = Field(default=1000.0, ge=0.0, description="Sky level in ADU of the first telescope's sub.")
    sky_spread: float = Field(
        default=0.25, ge=0.0, description="Scatter of the level between nights (of its logarithm)."
    )
    sky_colour: tuple[float, float, float] = (0.95, 1.10, 0.90)
    sky_colour_spread: float = Field(default=0.08, ge=0.0, description="Scatter of the colour between nights.")
    gradient: float = Field(
        default=0.06, ge=0.0, description="Change of sky brightness along the diagonal, as a fraction."
    )
    curvature: float = Field(
        default=0.0, description="Second-order change of the sky from the centre along its gradient, as a fraction."
    )
    cloudy_fraction: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Share of subs behind uneven clouds that leave 25 to 90 % of the light.",
    )
    seeing_jitter: float = Field(default=0.05, ge=0.0)
    psf: Psf = "gaussian"
    # the camera
    pedestal_adu: float = Field(default=0.0, ge=0.0)
    bias_structure_adu: float = Field(
        default=0.0, ge=0.0, description="Columns and a ramp in the bias, sigma and half."
    )
    dark_current_adu: float = Field(default=0.0, ge=0.0, description="In a light of the first telescope.")
    temperature_c: float = Field(default=-10.0, description="Of the sensor.")
    prnu: float = Field(default=0.0, ge=0.0, lt=0.5, description="Scatter of the response of the pixels.")
    vignetting: float = Field(default=0.03, ge=0.0, lt=1.0, description="Light lost in the corners.")
    glow_adu: float = Field(default=0.0, ge=0.0, description="Glow of the amplifier in one corner of the sensor.")
    glow_size: float = Field(default=0.11, gt=0.0, description="Sigma of the glow over the diagonal of the sensor.")
    dust: int = Field(default=0, ge=0, description="Ring-shaped shadows of dust.")
    dust_depth: float = Field(default=0.1, ge=0.0, lt=1.0, description="Light lost in the darkest ring.")
    dust_radius: float = Field(default=0.08, gt=0.0, description="Radius of the rings over half the diagonal.")
    photon_noise: bool = True
    electrons_per_adu: float = Field(default=1.0, gt=0.0)
    read_noise_adu: float = Field(default=4.0, ge=0.0)
    hot_pixel_fraction: float = Field(default=0.0007, ge=0.0, lt=0.1)
    trail_fraction: float = Field(default=0.08, ge=0.0, le=1.0, description="Share of subs crossed by a satellite.")
    calibration: CalibrationSpec = CalibrationSpec()
    comet_adu: float = Field(default=0.0, ge=0.0, description="Height of a comet that crosses the middle of the field.")
    comet_px: float = Field(default=3.4, gt=0.0, description="How far it moves from one sub to the next.")
    # the plate solutions in the headers
    wcs_error_arcsec: float = Field(default=0.0, ge=0.0, description="Scatter of the written WCS around the true one.")
    wcs_shift_arcsec: float = Field(default=0.0, ge=0.0, description="Largest further shift, in any direction.")
    wcs_rotation_deg: float = Field(default=0.0, ge=0.0, description="Largest error of the written rotation.")
    wcs_scale_error: float = Field(default=0.0, ge=0.0, lt=0.5, description="Largest relative error of the scale.")
    wcs_half_pixel: bool = Field(default=False, description="CRPIX counts from 0.5 where FITS counts from 1.")
    wcs_without_sip: bool = Field(default=False, description="The distortion is left out of the header.")
    wcs_wrong_fraction: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Share of subs with the errors of shift, rotation, scale and SIP."
    )
    wcs_panel_off_px: float = Field(default=0.0, description="Shift of all headers of the first panel, along x.")
    # the files: anything but the defaults makes them float32
    sky_left_adu: float | None = Field(
        default=None, description="Median of each colour after a subtraction of dark and sky; None subtracts nothing."
    )
    border_px: int = Field(default=0, ge=0, description="Exact zeros along all sides, as registration leaves them.")
    unit_adu: float = Field(default=1.0, gt=0.0, description="ADU of one unit of the files: 65535 makes them 0 to 1.")

    def but(self, **changes: Any) -> SurveySpec:
        """Return the spec with some fields changed; fields of `Telescope` change in every telescope."""
        of_telescope = {k: v for k, v in changes.items() if k in Telescope.model_fields}
        data = {**self.model_dump(), **{k: v for k, v in changes.items() if k not in of_telescope}}
        data["telescopes"] = [
            {**(t.model_dump() if isinstance(t, Telescope) else t), **of_telescope} for t in data["telescopes"]
        ]
        return SurveySpec.model_validate(data)

    def without_effects(self) -> SurveySpec:
        """The same sky and plan seen by a perfect telescope through perfect air, sky level kept."""
        return self.but(
            rotation_deg=0.0,
            dither_px=0.0,
            transparency_spread=0.0,
            sky_spread=0.0,
            sky_colour=(1.0, 1.0, 1.0),
            sky_colour_spread=0.0,
            gradient=0.0,
            curvature=0.0,
            cloudy_fraction=0.0,
            seeing_jitter=0.0,
            pedestal_adu=0.0,
            bias_structure_adu=0.0,
            dark_current_adu=0.0,
            prnu=0.0,
            vignetting=0.0,
            glow_adu=0.0,
            dust=0,
            photon_noise=False,
            read_noise_adu=0.0,
            hot_pixel_fraction=0.0,
            trail_fraction=0.0,
            calibration=CalibrationSpec(),
            wcs_error_arcsec=0.0,
            wcs_shift_arcsec=0.0,
            wcs_rotation_deg=0.0,
            wcs_scale_error=0.0,
            wcs_half_pixel=False,
            wcs_without_sip=False,
            wcs_panel_off_px=0.0,
        )

    @property
    def field_arcmin(self) -> tuple[float, float]:
        """(width, height) of the part of the sky that any sub can see, with a margin."""
        first = self.telescopes[0]
        step = 1.0 - self.overlap
        spans = [
            (count - 1) * step * pixels * first.scale_arcsec
            for count, pixels in zip(self.panels[::-1], first.shape[::-1], strict=True)
        ]
        reach = max(math.hypot(*t.shape) * t.scale_arcsec for t in self.telescopes)
        dither = 2.0 * (self.dither_px + 40.0) * max(t.scale_arcsec for t in self.telescopes)
        turned = math.radians(self.position_angle_deg)
        cos, sin = abs(math.cos(turned)), abs(math.sin(turned))
        width, height = spans[0] * cos + spans[1] * sin, spans[0] * sin + spans[1] * cos
        return (width + reach + dither) / 60.0, (height + reach + dither) / 60.0


_SMALL_SENSOR = Telescope(shape=(960, 540), mirrored=True, wcs_flavour="sip")

_UNKIND = SurveySpec(
    panels=(2, 3), subs_per_panel=6, nights=3, telescopes=(Telescope(shape=(480, 320)),), stars_per_mpx=2500.0
)

PRESETS: dict[str, SurveySpec] = {
    "tiny": SurveySpec(
        panels=(2, 2),
        subs_per_panel=4,
        nights=2,
        telescopes=(Telescope(shape=(320, 240)),),
        stars_per_mpx=2500.0,
        faintest_adu=800.0,
        dither_px=12.0,
        rotation_deg=6.0,
    ),
    "small": SurveySpec(panels=(2, 3), subs_per_panel=8, nights=3, telescopes=(_SMALL_SENSOR,)),
    "bench": SurveySpec(
        panels=(3, 3), subs_per_panel=12, nights=3, telescopes=(Telescope(mirrored=True, wcs_flavour="sip"),)
    ),
    # One trouble each, as cameras, skies and other programs make it; the last with the frames that take it away.
    "pedestal": _UNKIND.but(pedestal_adu=300.0, vignetting=0.12),
    "glow": _UNKIND.but(glow_adu=190.0),
    "dust": _UNKIND.but(dust=6),
    "moon": _UNKIND.but(sky_adu=2500.0, gradient=0.24, curvature=0.03),
    "clouds": _UNKIND.but(cloudy_fraction=0.3),
    "dark-subtracted": _UNKIND.but(sky_left_adu=20.0),
    "registered": _UNKIND.but(sky_left_adu=0.0, border_px=20, rotation_deg=0.0),
    "unit": _UNKIND.but(unit_adu=65535.0),
    "comet": SurveySpec(
        panels=(1, 1),
        subs_per_panel=14,
        telescopes=(Telescope(shape=(300, 300)),),
        trail_fraction=0.15,
        comet_adu=900.0,
    ),
    "uncalibrated": _UNKIND.but(
        pedestal_adu=2048.0,
        bias_structure_adu=6.0,
        dark_current_adu=40.0,
        glow_adu=250.0,
        prnu=0.01,
        vignetting=0.45,
        dust=6,
        dust_depth=0.12,
        calibration={"biases": 20, "darks": 20, "flats": 20, "dark_flats": 20},
    ),
}


@dataclass(frozen=True)
class SurveyTruth:
    """A simulated survey: where it lies, what was asked for, and what is true.

    Attributes
    ----------
    folder : Path
        Folder of the subs and of ``stack_plan.csv``.
    spec : SurveySpec
        What was asked for.
    seed : int
        Seed of everything random.
    scene : Scene
        The true sky.
    subs : astropy.table.Table
        One row a sub: file, panel, night, telescope, date_obs, exposure_s, transparency,
        gain_r/g/b, sky_r/g/b (ADU), gradient_x, gradient_y, curvature_uu/uv/vv, cloud_depth, cloud_u, cloud_v,
        cloud_phase, fwhm_px, ra_deg, dec_deg, rotation_deg, trail, and what is wrong with the header:
        wcs_dx_arcsec, wcs_dy_arcsec, wcs_rotation_deg, wcs_scale (written over true), wcs_crpix_x, wcs_crpix_y
        (written minus true, px), wcs_sip (False where a distortion is not written).
    """

    folder: Path
    spec: SurveySpec
    seed: int
    scene: Scene
    subs: Table

    def telescope(self, index: int) -> Telescope:
        """Telescope of sub `index`."""
        return self.spec.telescopes[int(self.subs["telescope"][index])]

    def wcs(self, index: int, *, written: bool = False) -> WCS:
        """True WCS of sub `index`, or the one `written` in its header."""
        return WCS(_wcs_header(self.telescope(index), self.subs[index], with_error=written))

    def path(self, index: int) -> Path:
        """File of sub `index`."""
        return self.folder / str(self.subs["file"][index])


def simulate_survey(out: Path, spec: SurveySpec, seed: int = 1, sink: Sink | None = None) -> SurveyTruth:
    """Write a survey and its truth.

    Parameters
    ----------
    out : Path
        Folder for ``sub_NNNN.fits``, ``stack_plan.csv`` and ``truth/``. It must be new or empty,
        or hold an earlier simulation, which is replaced.
    spec : SurveySpec
        What to simulate; see `PRESETS`.
    seed : int
        The same seed and spec give the same files.
    sink : callable, optional
        Told about the progress.

    Returns
    -------
    SurveyTruth

    Raises
    ------
    SettingsError
        The folder holds other things.
    RunError
        The folder cannot be written.
    """
    tell = sink if sink is not None else _say_nothing
    out = Path(out)
    _clear_folder(out)
    truth = plan_survey(out, spec, seed)
    sensors = [_sensor_of(spec, number, seed) for number in range(len(spec.telescopes))]
    total = len(truth.subs)
    tell(PhaseStarted("Simulating subs", 1, 1.0))

    def write(index: int) -> None:
        _write_sub(truth, index, render_sub(truth, index, sensors[int(truth.subs["telescope"][index])]))

    try:
        _write_truth(truth)
        pool = ThreadPoolExecutor(max_workers=2)
        try:
            for done, _ in enumerate(pool.map(write, range(total)), start=1):
                tell(Progress("Simulating subs", done, total))
        finally:
            # A sink that stops the run, or a full disk, must not wait for the subs still queued.
            pool.shutdown(cancel_futures=True)
        _write_plan(truth)
        calibration_frames.write_calibration_frames(out, spec, seed)
    except OSError as error:
        raise RunError(f"The simulated survey could not be written to {out}: {error}") from error
    return truth


def load_truth(out: Path) -> SurveyTruth:
    """The truth of a survey that `simulate_survey` wrote, read back from its folder.

    Raises
    ------
    SettingsError
        The folder holds no simulated survey.
    """
    folder = Path(out)
    if not (folder / "truth" / "spec.json").is_file():
        raise SettingsError(f"{folder} holds no simulated survey: truth/spec.json is missing.")
    data = json.loads((folder / "truth" / "spec.json").read_text(encoding="utf-8"))
    spec = SurveySpec.model_validate(data["spec"])
    stars = Table.read(folder / "truth" / "stars.ecsv", format="ascii.ecsv")
    scene = Scene(
        center_deg=spec.center_deg,
        pixel_scale_arcsec=spec.telescopes[0].scale_arcsec,
        ra_deg=np.asarray(stars["ra_deg"], dtype=float),
        dec_deg=np.asarray(stars["dec_deg"], dtype=float),
        flux_adu=np.column_stack([np.asarray(stars[f"flux_{c}_adu"], dtype=float) for c in "rgb"]).reshape(-1, 3),
        nebula=Nebula.from_dict(data["nebula"]),
        temperature_k=np.asarray(stars["temperature"], dtype=float) if "temperature" in stars.colnames else None,
    )
    subs = Table.read(folder / "truth" / "subs.ecsv", format="ascii.ecsv")
    return SurveyTruth(folder, spec, int(data["seed"]), scene, subs)


def make_scene(spec: SurveySpec, seed: int) -> Scene:
    """The true sky of a survey."""
    rng = np.random.default_rng([seed, 10])
    width, height = spec.field_arcmin
    scale = spec.telescopes[0].scale_arcsec
    count = round(spec.stars_per_mpx * width * height * 3600.0 / scale**2 / 1.0e6)
    stars = make_stars(rng, count, spec.center_deg, (width, height), spec.faintest_adu, spec.brightest_adu)
    nebula = make_nebula(
        np.random.default_rng([seed, 11]), spec.nebula, spec.nebula_adu, (width, height), 48.0 * scale / 60.0
    )
    if spec.spectra == "power":
        return Scene(spec.center_deg, scale, *stars, nebula)
    ra, dec, flux = stars
    temperature = draw_temperatures(np.random.default_rng([seed, 12]), count)
    flux = blackbody_fluxes(flux[:, 1], temperature, read_passbands(spec.passbands))
    return Scene(spec.center_deg, scale, ra, dec, flux, nebula, temperature)


def plan_survey(out: Path, spec: SurveySpec, seed: int) -> SurveyTruth:
    """Everything about a survey but its pixels; nothing is written."""
    nights = _draw_nights(spec, seed)
    rng = np.random.default_rng([seed, 21])
    rows = [
        _draw_sub(spec, nights[night], rng, number, panel, night, fraction)
        for number, (panel, night, fraction) in enumerate(_visits(spec))
    ]
    crossed = math.ceil(spec.trail_fraction * len(rows))
    for number in np.random.default_rng([seed, 22]).permutation(len(rows))[:crossed]:
        rows[number]["trail"] = True
    clouds = np.random.default_rng([seed, 23])
    for number in clouds.permutation(len(rows))[: round(spec.cloudy_fraction * len(rows))]:
        rows[number].update(troubles.draw_cloud(clouds))
    _draw_wcs_errors(spec, rows, np.random.default_rng([seed, 24]))
    return SurveyTruth(Path(out), spec, seed, make_scene(spec, seed), Table(rows=rows))


def _visits(spec: SurveySpec) -> Iterator[tuple[int, int, float]]:
    """Panels in the order they are observed: (panel, night, share of the night that is over)."""
    panels = spec.panels[0] * spec.panels[1]
    repeats = [len(range(night, spec.subs_per_panel, spec.nights)) for night in range(spec.nights)]
    for night, repeat in enumerate(repeats):
        for step in range(panels * repeat):
            yield step // repeat, night, (step + 0.5) / (panels * repeat)


def _draw_nights(spec: SurveySpec, seed: int) -> list[dict[str, Any]]:
    """What all subs of a night share."""
    nights = []
    for number in range(spec.nights):
        rng = np.random.default_rng([seed, 20, number])
        colour = np.asarray(spec.sky_colour) * np.exp(spec.sky_colour_spread * rng.normal(size=3))
        nights.append(
            {
                "transparency": 1.0 - spec.transparency_spread * rng.uniform(0.0, 2.0),
                "sky": spec.sky_adu * math.exp(spec.sky_spread * rng.normal()) * colour,
                "drift": spec.sky_spread * rng.uniform(-0.5, 0.5),
                "gradient_angle": rng.uniform(0.0, 2.0 * math.pi),
                "gradient": spec.gradient * rng.uniform(0.7, 1.3),
                "rotation": spec.position_angle_deg + spec.rotation_deg * rng.uniform(-0.5, 0.5),
            }
        )
    return nights


def _panel_center_arcmin(spec: SurveySpec, panel: int) -> NDArray[np.float64]:
    """Offset of a pointing from the survey's centre; neighbours follow each other (serpentine)."""
    rows, columns = spec.panels
    row, column = divmod(panel, columns)
    if row % 2:
        column = columns - 1 - column
    first = spec.telescopes[0]
    step = (1.0 - spec.overlap) * first.scale_arcsec / 60.0
    x = (column - (columns - 1) / 2.0) * step * first.shape[1]
    y = (row - (rows - 1) / 2.0) * step * first.shape[0]
    angle = math.radians(spec.position_angle_deg)
    return np.array([x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)])


def _draw_sub(
    spec: SurveySpec,
    of_night: dict[str, Any],
    rng: np.random.Generator,
    number: int,
    panel: int,
    night: int,
    fraction: float,
) -> dict[str, Any]:
    """One row of the table of subs."""
    which = night % len(spec.telescopes)
    telescope, first = spec.telescopes[which], spec.telescopes[0]
    throughput = np.asarray(telescope.throughput) * telescope.exposure_s / first.exposure_s
    area = (telescope.scale_arcsec / first.scale_arcsec) ** 2
    transparency = min(1.0, of_night["transparency"] * (1.0 - 0.5 * spec.transparency_spread * abs(rng.normal())))
    level = 1.0 + of_night["drift"] * (fraction - 0.5) + 0.04 * spec.sky_spread * rng.normal()
    sky = of_night["sky"] * level * throughput * area
    # The gradient points to the horizon or the Moon: nearly fixed on an alt-az sensor, so on
    # the sky it turns with the field.
    angle = of_night["gradient_angle"] + 0.1 * rng.normal()
    slope = 0.5 * of_night["gradient"] * (1.0 + 0.1 * rng.normal())
    offset = _panel_center_arcmin(spec, panel)
    offset = offset + rng.uniform(-1.0, 1.0, 2) * spec.dither_px * telescope.scale_arcsec / 60.0
    sky_position = tangent_plane(spec.center_deg).wcs_pix2world(offset[None, :], 0)[0]
    start = datetime(2025, 8, 20, 21, 0, 0) + timedelta(days=night, seconds=number * (telescope.exposure_s + 2.0))
    wcs_error = rng.normal(size=2) * spec.wcs_error_arcsec
    return {
        "file": f"sub_{number:04d}.fits",
        "panel": panel,
        "night": night,
        "telescope": which,
        "date_obs": start.isoformat(timespec="milliseconds"),
        "exposure_s": telescope.exposure_s,
        "transparency": transparency,
        **{f"gain_{c}": float(transparency * throughput[k]) for k, c in enumerate("rgb")},
        **{f"sky_{c}": float(sky[k]) for k, c in enumerate("rgb")},
        "gradient_x": slope * math.cos(angle),
        "gradient_y": slope * math.sin(angle),
        # Like the gradient it turns with the field.
        "curvature_uu": spec.curvature * math.cos(angle) ** 2,
        "curvature_uv": spec.curvature * math.sin(2.0 * angle),
        "curvature_vv": spec.curvature * math.sin(angle) ** 2,
        **troubles.NO_CLOUD,
        "fwhm_px": telescope.fwhm_px * max(0.7, 1.0 + spec.seeing_jitter * float(rng.normal())),
        "ra_deg": float(sky_position[0]),
        "dec_deg": float(sky_position[1]),
        "rotation_deg": of_night["rotation"] + spec.rotation_deg * (fraction - 0.5),
        "trail": False,
        "wcs_dx_arcsec": float(wcs_error[0]),
        "wcs_dy_arcsec": float(wcs_error[1]),
    }


def _draw_wcs_errors(spec: SurveySpec, rows: list[dict[str, Any]], rng: np.random.Generator) -> None:
    """What the header of each sub gets wrong beyond scatter, into its row."""
    wrong = rng.permutation(len(rows)) < round(spec.wcs_wrong_fraction * len(rows))
    half = 0.5 if spec.wcs_half_pixel else 0.0
    for row, is_wrong in zip(rows, wrong, strict=True):
        angle, share, turn, stretch = rng.uniform(0.0, 2.0 * math.pi), *rng.uniform([0.0, -1.0, -1.0], 1.0)
        off = float(is_wrong)
        # The square root spreads the shifts evenly over a disc.
        shift = off * spec.wcs_shift_arcsec * math.sqrt(share)
        row["wcs_dx_arcsec"] += shift * math.cos(angle)
        row["wcs_dy_arcsec"] += shift * math.sin(angle)
        row["wcs_rotation_deg"] = off * spec.wcs_rotation_deg * turn
        row["wcs_scale"] = 1.0 + off * spec.wcs_scale_error * stretch
        row["wcs_crpix_x"] = -half + (spec.wcs_panel_off_px if row["panel"] == 0 else 0.0)
        row["wcs_crpix_y"] = -half
        row["wcs_sip"] = not (spec.wcs_without_sip and is_wrong)


def _wcs_header(telescope: Telescope, row: Any, *, with_error: bool) -> fits.Header:
    """WCS cards of a sub in the dialect of its telescope."""
    height, width = telescope.shape
    scale, degrees = telescope.scale_arcsec / 3600.0, float(row["rotation_deg"])
    ra, dec = float(row["ra_deg"]), float(row["dec_deg"])
    crpix = np.array([(width + 1) / 2.0, (height + 1) / 2.0])
    sip = telescope.wcs_flavour == "sip"
    if with_error:
        ra += float(row["wcs_dx_arcsec"]) / 3600.0 / math.cos(math.radians(dec))
        dec += float(row["wcs_dy_arcsec"]) / 3600.0
        degrees += float(row["wcs_rotation_deg"])
        scale *= float(row["wcs_scale"])
        crpix += float(row["wcs_crpix_x"]), float(row["wcs_crpix_y"])
        sip = sip and bool(row["wcs_sip"])
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # A camera sees east to the left unless a mirror turns it over: then the determinant is positive.
    cdelt = (scale if telescope.mirrored else -scale, scale)
    header = fits.Header()
    header["WCSAXES"] = 2
    header["CTYPE1"], header["CTYPE2"] = ("RA---TAN-SIP", "DEC--TAN-SIP") if sip else ("RA---TAN", "DEC--TAN")
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["CRPIX1"], header["CRPIX2"] = float(crpix[0]), float(crpix[1])
    header["CRVAL1"], header["CRVAL2"] = ra % 360.0, dec
    if telescope.wcs_flavour == "pc":
        header["PC1_1"], header["PC1_2"], header["PC2_1"], header["PC2_2"] = cos, -sin, sin, cos
        # PC carries the rotation after scaling by CDELT, so unequal signs need the ratio.
        header["PC1_2"] *= cdelt[1] / cdelt[0]
        header["PC2_1"] *= cdelt[0] / cdelt[1]
        header["CDELT1"], header["CDELT2"] = cdelt
    elif telescope.wcs_flavour == "crota":
        header["CDELT1"], header["CDELT2"] = cdelt
        header["CROTA2"] = degrees
    else:
        header["CD1_1"], header["CD1_2"] = cdelt[0] * cos, -cdelt[1] * sin
        header["CD2_1"], header["CD2_2"] = cdelt[0] * sin, cdelt[1] * cos
    header["RADESYS"] = "ICRS"
    if sip:
        _add_sip(header, telescope)
    return header


def _add_sip(header: fits.Header, telescope: Telescope) -> None:
    """Barrel distortion with a little tilt, `distortion_px` in the corners."""
    half = math.hypot(*telescope.shape) / 2.0
    cubic = 0.85 * telescope.distortion_px / half**3
    tilt = 0.15 * telescope.distortion_px / half**2
    header["A_ORDER"], header["B_ORDER"] = 3, 3
    header["A_3_0"], header["A_1_2"], header["A_2_0"] = cubic, cubic, tilt
    header["B_0_3"], header["B_2_1"], header["B_0_2"] = cubic, cubic, -tilt


@dataclass(frozen=True)
class _Sensor:
    """What is the same in all subs of a sensor: its hot pixels, its dark current and its bias."""

    hot: tuple[NDArray[np.intp], NDArray[np.float32]]
    dark: NDArray[np.float32] | None
    bias: NDArray[np.float32] | np.float32


def _sensor_of(spec: SurveySpec, number: int, seed: int) -> _Sensor:
    return _Sensor(
        sensor.hot_pixels(spec, number, seed),
        sensor.dark_current(spec, number, seed),
        sensor.bias(spec, number, seed),
    )


def render_sub(
    truth: SurveyTruth, index: int, of_sensor: _Sensor | None = None
) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Pixels of one sub, shape (H, W), or (3, H, W) from an RGB camera; float32 where other programs had the file."""
    spec, row, telescope = truth.spec, truth.subs[index], truth.telescope(index)
    rng = np.random.default_rng([truth.seed, 40, index])
    fwhm = float(row["fwhm_px"])
    scene = truth.scene.render_planes(truth.wcs(index), telescope.shape, fwhm, psf=spec.psf)
    if spec.comet_adu:
        scene += _comet(truth, index)
    planes = _light(truth, index, scene)
    pixels = sensor.through_filter_array(planes, telescope.sensor)
    if row["trail"]:
        pixels += _trail(rng, telescope.shape)
    if of_sensor is None:
        of_sensor = _sensor_of(spec, int(row["telescope"]), truth.seed)
    where, strength = of_sensor.hot
    pixels.reshape(-1, telescope.shape[0] * telescope.shape[1])[:, where] += strength
    if of_sensor.dark is not None:
        pixels += of_sensor.dark
    sensor.add_noise(spec, pixels, rng)
    pixels += of_sensor.bias + np.float32(0.5)
    recorded = np.clip(pixels, 0.0, SATURATION_ADU, out=pixels).astype(np.uint16)
    bayer = telescope.sensor not in ("mono", "rgb")
    return troubles.as_processed(
        recorded, bayer=bayer, sky_left_adu=spec.sky_left_adu, border_px=spec.border_px, unit_adu=spec.unit_adu
    )


def _comet(truth: SurveyTruth, index: int) -> NDArray[np.float32]:
    """Light of the comet in a sub: in the middle of the first night it is in the middle of the field; moves north."""
    spec, telescope = truth.spec, truth.telescope(index)
    times = np.array([datetime.fromisoformat(str(date)).timestamp() for date in truth.subs["date_obs"]])
    first_night = np.asarray(truth.subs["night"]) == 0
    late = (times[index] - np.median(times[first_night])) / (telescope.exposure_s + 2.0)
    ra, dec = spec.center_deg
    moved = dec + late * spec.comet_px * telescope.scale_arcsec / 3600.0
    x, y = (float(place) for place in truth.wcs(index).all_world2pix(ra, moved, 0))
    return troubles.comet(telescope.shape, (x, y), spec.comet_adu)


def dust_of(truth: SurveyTruth, telescope: int) -> NDArray[np.float32]:
    """Share of the light that the dust on a sensor lets through, shape (H, W)."""
    return sensor.dust(truth.spec, telescope, truth.seed)


def _light(truth: SurveyTruth, index: int, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn the scene into what the sensor records, in place: air, clouds, sky, vignetting, dust, glow."""
    spec, telescope, row = truth.spec, truth.telescope(index), truth.subs[index]
    u, v = places = sensor_grid(telescope.shape)
    slope = np.float32(1.0) + np.float32(row["gradient_x"]) * u + np.float32(row["gradient_y"]) * v
    if spec.curvature:
        slope = slope + np.float32(row["curvature_uu"]) * u * u + np.float32(row["curvature_vv"]) * v * v
        slope += np.float32(row["curvature_uv"]) * (u * v)
    flat = sensor.flat(spec, int(row["telescope"]), truth.seed)
    for channel, plane in zip("rgb", planes, strict=True):
        plane *= np.float32(row[f"gain_{channel}"])
        shine = slope
        if row["cloud_depth"]:
            passed = troubles.cloud(places, row)
            plane *= passed
            shine = slope * (np.float32(1.0) + np.float32(troubles.CLOUD_SHINE) * (np.float32(1.0) - passed))
        plane += np.float32(row[f"sky_{channel}"]) * shine
        plane *= flat
    glow = sensor.glow(spec, int(row["telescope"]))
    if glow is not None:
        planes += glow
    return planes


def _trail(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A satellite's trail: a straight line right across the frame."""
    height, width = shape
    angle = rng.uniform(0.0, math.pi)
    through_y, through_x = rng.uniform(0.25, 0.75) * height, rng.uniform(0.25, 0.75) * width
    peak, sigma = math.exp(rng.uniform(math.log(150.0), math.log(4000.0))), rng.uniform(1.2, 2.2)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(through_x)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(through_y)
    distance = np.float32(math.sin(angle) / sigma) * x - np.float32(math.cos(angle) / sigma) * y
    return np.float32(peak) * np.exp(np.float32(-0.5) * distance * distance)


def _write_sub(truth: SurveyTruth, index: int, pixels: NDArray[np.uint16] | NDArray[np.float32]) -> None:
    row, telescope = truth.subs[index], truth.telescope(index)
    header = fits.Header()
    header["OBJECT"] = ("Simulated field", "made by ZeMosaic's simulator")
    header["DATE-OBS"] = (str(row["date_obs"]), "start of exposure (UTC)")
    header["EXPTIME"] = (float(row["exposure_s"]), "[s] exposure time")
    header["FILTER"] = truth.spec.filter
    header["INSTRUME"] = f"Simulated {telescope.name}"
    header["TELESCOP"] = f"{telescope.name}_{int(row['telescope'])}"
    header["CREATOR"] = "ZeMosaic simulator"
    header["GAIN"] = calibration_frames.GAIN
    if truth.spec.calibration.any:
        header["IMAGETYP"] = "Light"
        calibration_frames.add_camera_cards(header, truth.spec.temperature_c)
    if telescope.sensor in ("GRBG", "RGGB", "BGGR", "GBRG"):
        header["BAYERPAT"] = (telescope.sensor, "colours of the first two rows")
        header["XBAYROFF"], header["YBAYROFF"] = 0, 0
    header["RA"] = (float(row["ra_deg"]), "[deg] pointing")
    header["DEC"] = (float(row["dec_deg"]), "[deg] pointing")
    header.extend(_wcs_header(telescope, row, with_error=True), end=True)
    fits.PrimaryHDU(pixels, header).writeto(truth.path(index), overwrite=True)


def _write_plan(truth: SurveyTruth) -> None:
    lines = ["order,batch_id,mount,bortle,filter,exposure,file_path"]
    lines += [
        f"{n},night{int(row['night']) + 1},{truth.spec.mount},5,{truth.spec.filter},{row['exposure_s']:g},{row['file']}"
        for n, row in enumerate(truth.subs, start=1)
    ]
    (truth.folder / "stack_plan.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_truth(truth: SurveyTruth) -> None:
    folder = truth.folder / "truth"
    folder.mkdir(parents=True, exist_ok=True)
    scene = truth.scene
    stars = Table({"ra_deg": scene.ra_deg, "dec_deg": scene.dec_deg})
    for k, channel in enumerate("rgb"):
        stars[f"flux_{channel}_adu"] = scene.flux_adu[:, k]
    if scene.temperature_k is not None:
        stars["temperature"] = scene.temperature_k
        stars["temperature"].unit = "K"
    stars.write(folder / "stars.ecsv", format="ascii.ecsv", overwrite=True)
    truth.subs.write(folder / "subs.ecsv", format="ascii.ecsv", overwrite=True)
    data = {"spec": truth.spec.model_dump(mode="json"), "seed": truth.seed, "nebula": scene.nebula.to_dict()}
    (folder / "spec.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


def _clear_folder(out: Path) -> None:
    """Make way for a survey: only an earlier simulation is ever removed."""
    if not out.exists():
        return
    if not out.is_dir():
        raise SettingsError(f"{out} is a file: name a folder for the simulated survey.")
    if not any(out.iterdir()):
        return
    if not (out / "truth" / "spec.json").is_file():
        raise SettingsError(f"{out} is not empty and holds no simulated survey: name a new folder.")
    for path in out.glob("sub_[0-9][0-9][0-9][0-9].fits"):
        path.unlink()
    calibration_frames.remove_calibration_frames(out)


def _say_nothing(event: object) -> None:
    """Nobody watches."""
