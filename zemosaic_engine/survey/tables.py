"""Reports survey photometry: log lines, the table of subs, and the illumination of each camera."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..channels import channel_names
from ..events import Reporter
from ..fits.writer import atomic_path, write_fits
from ..names import shown_name
from ..photometry.calibration import PATTERN_TERMS, pattern_terms, sensor_places
from ..sentences import say
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from .channel import FITTED_TERMS, FLAT_WIDTH, PEDESTAL_TOLD
from .measurements import SubMeasurement
from .solve import SurveySolution


def report_solution(solution: SurveySolution, infos: Sequence[SubInfo], reporter: Reporter) -> dict[str, float]:
    """Log the solution, and return its metrics by name."""
    names = channel_names(solution.background.size)
    used = [c for c in solution.calibrations if c.used]
    reporter.log(
        say(
            "Survey photometry: {n} of {n2} subs on one scale, that of {name}",
            n=len(used),
            n2=len(infos),
            name=infos[solution.reference].path.name,
        )
    )
    groups = int(solution.group.max(initial=0)) + 1
    if groups > 1:
        sizes = np.bincount(solution.group[solution.group >= 0])
        reporter.log(
            say(
                "The subs form {groups} groups without common sky ({names} subs): each keeps a level of "
                "its own, brought to that of the reference",
                groups=groups,
                names=", ".join(map(str, sizes)),
            ),
            "WARN",
        )
    for info, calibration in zip(infos, solution.calibrations, strict=True):
        if calibration.used and calibration.reason:
            reporter.log(say("{name}: {reason}", name=info.path.name, reason=calibration.reason), "WARN")
    for pattern in solution.patterns:
        for channel, name in enumerate(names):
            corner = pattern_terms(*np.sqrt([0.5, 0.5]))
            light = float(pattern.coefficients[channel] @ corner)
            reporter.log(
                say(
                    "Illumination of {camera} (channel {name}): {value:+.2f} % in the corners",
                    camera=pattern.camera,
                    name=name,
                    value=100 * light,
                )
            )
    _report_pedestals(solution, reporter)
    metrics: dict[str, float] = {}
    for channel, name in enumerate(names):
        before, after = solution.zero_point_before_mmag[channel], solution.zero_point_after_mmag[channel]
        error = 1085.7 * float(np.sqrt(np.mean([c.gain_error[channel] ** 2 for c in used])))
        scatter = say(
            "bright stars scatter by {before:.1f} mmag from sub to sub before, {after:.1f} mmag after; "
            "gains are known to {error:.1f} mmag",
            before=before,
            after=after,
            error=error,
        )
        reporter.metric("Zero point", scatter, channel=name)
        adu, sigma = solution.sky_residual_adu[channel], solution.sky_residual_sigma[channel]
        residual = say("{adu:.3f} ADU, {sigma:.3f} sigma of a cell", adu=adu, sigma=sigma)
        reporter.metric("Sky residual", residual, channel=name)
        metrics |= {
            f"zero_point_before_mmag_{name}": before, f"zero_point_after_mmag_{name}": after,
            f"sky_residual_adu_{name}": adu, f"sky_residual_sigma_{name}": sigma,
        }  # fmt: skip
    return {key: float(value) for key, value in metrics.items()}


_EVEN_SIGMA = 3.0
_EVEN_SHARE = 0.01
_TOLD = 0.75  # of what flats are usually wrong by: an error below is of the subs and not of that


def report_verification(solution: SurveySolution, cameras: Collection[str], reporter: Reporter) -> None:
    """Say how even the light of the cameras that flats have calibrated is: what the subs say of it by themselves."""
    names = channel_names(solution.background.size)
    corner = pattern_terms(*np.sqrt([0.5, 0.5]))
    usual = FLAT_WIDTH * float(np.linalg.norm(corner[list(FITTED_TERMS)]))
    for pattern in solution.patterns:
        if pattern.camera not in cameras:
            continue
        lights = pattern.coefficients @ corner
        errors = np.sqrt(np.square(pattern.error) @ np.square(corner))
        for name, light, error in zip(names, lights, errors, strict=True):
            is_even = abs(light) <= max(_EVEN_SIGMA * error, _EVEN_SHARE)
            percent, certainty = 100.0 * float(light), 100.0 * float(error)
            text = say(
                "{light:+.2f} % in the corners, known to {error:.2f} %: the flats hold", light=percent, error=certainty
            )
            if not is_even:
                text = say(
                    "{light:+.2f} % in the corners, known to {error:.2f} %: the flats do not fit the subs",
                    light=percent,
                    error=certainty,
                )
            elif error > _TOLD * usual:
                text = say("the subs overlap too little to judge the flats by")
            reporter.metric("Flat", text, channel=name)
            if not is_even:
                reporter.log(
                    say("{camera}, channel {name}: {what}", camera=pattern.camera, name=name, what=text), "WARN"
                )


def _report_pedestals(solution: SurveySolution, reporter: Reporter) -> None:
    """The electronic offset of each camera, one for all its colours, and channels whose gains are from stars alone."""
    names = channel_names(len(solution.stars_alone))
    for name in (name for name, alone in zip(names, solution.stars_alone, strict=True) if alone):
        reporter.log(
            say(
                "Gains (channel {name}) are from stars alone: with the structure of the sky they did not come to rest",
                name=name,
            ),
            "WARN",
        )
    for pattern in solution.patterns:
        certain = 1.0 / np.square(np.where(pattern.pedestal_error > 0, pattern.pedestal_error, np.inf))
        if not certain.any():
            continue  # it was given, or the run is too large to tell how wrong it may be
        adu = float(np.average(pattern.pedestal, weights=certain))
        # Each channel knows what the others do: no error is smaller for being read three times.
        error = float(np.min(pattern.pedestal_error[pattern.pedestal_error > 0]))
        if not pattern.pedestal.any():
            reporter.log(
                say(
                    "Pedestal of {camera}: the subs do not tell it, 0 ADU is taken; they would tell {least:.2g} ADU",
                    camera=pattern.camera,
                    least=PEDESTAL_TOLD * error,
                )
            )
            continue
        reporter.log(
            say(
                "Pedestal of {camera}: {adu:.4g} ADU, known to {error:.2g} ADU, is taken off the subs",
                camera=pattern.camera,
                adu=adu,
                error=error,
            )
        )


_BELOW_ZERO = 3.0  # noises of a pixel; a sky that a dark took to 0 may well be a little below it


def report_dark_skies(measured: Sequence[SubMeasurement], infos: Sequence[SubInfo], reporter: Reporter) -> None:
    """Tell of subs whose sky is below 0, which no light makes: what was taken off them was too much."""
    below = np.array([np.nanmin(np.append(m.sky + _BELOW_ZERO * m.noise, np.inf)) for m in measured])
    number = np.count_nonzero(below < 0.0)
    if number:
        darkest = int(np.argmin(below))
        reporter.log(
            say(
                "The sky of {n} subs is below 0, that of {name} at {adu:.4g} ADU: a dark or a bias that is too bright "
                "was taken off, or the header has lost the card BZERO; a pedestal is at least 0",
                n=number,
                name=infos[darkest].path.name,
                adu=float(np.nanmin(measured[darkest].sky)),
            ),
            "WARN",
        )


def write_survey(
    folder: Path, solution: SurveySolution, infos: Sequence[SubInfo], measured: Sequence[SubMeasurement]
) -> None:
    """Write ``sub_photometry.ecsv``, one row a sub, and the illumination of each camera as a small FITS image."""
    names = channel_names(solution.background.size)
    columns: dict[str, list] = {"file": [shown_name(info.path.name) for info in infos]}
    columns["used"] = [c.used for c in solution.calibrations]
    columns["reason"] = [c.reason for c in solution.calibrations]
    columns["group"] = solution.group.tolist()
    columns["fwhm"] = [m.fwhm_px for m in measured]
    columns["stars"] = [m.stars.x.size for m in measured]
    for channel, name in enumerate(names):
        add = [(c, m) for c, m in zip(solution.calibrations, measured, strict=True)]
        columns[f"gain_{name}"] = [c.gain[channel] for c, _ in add]
        columns[f"gain_error_{name}"] = [c.gain[channel] * c.gain_error[channel] for c, _ in add]
        columns[f"offset_{name}"] = [c.offset[channel] for c, _ in add]
        columns[f"offset_error_{name}"] = [c.offset_error[channel] for c, _ in add]
        for axis, letter in enumerate("uv"):
            columns[f"slope_{letter}_{name}"] = [c.slope[channel, axis] for c, _ in add]
            columns[f"slope_{letter}_error_{name}"] = [c.slope_error[channel, axis] for c, _ in add]
        for term, letters in enumerate(("uu", "uv", "vv")):
            bowls = [np.zeros(3) if c.curvature is None else c.curvature[channel] for c, _ in add]
            columns[f"curvature_{letters}_{name}"] = [bowl[term] for bowl in bowls]
        columns[f"sky_{name}"] = [m.sky[channel] for _, m in add]
        columns[f"noise_{name}"] = [m.noise[channel] for _, m in add]
        columns[f"weight_{name}"] = [c.weight[channel] if c.weight is not None else np.nan for c, _ in add]
        columns[f"common_stars_{name}"] = solution.stars[:, channel].tolist()
        columns[f"residual_{name}"] = solution.residual[:, channel].tolist()
    table = Table(columns)
    for name in table.colnames:
        if name.startswith(("offset", "slope", "curvature", "sky", "noise")):
            table[name].unit = "adu"
        elif name.startswith("weight"):
            table[name].unit = "1/adu2"
    table["fwhm"].unit = "pix"
    with atomic_path(folder / "sub_photometry.ecsv") as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    _write_patterns(folder, solution, infos)


_PATTERN_STEP = 8


def _write_patterns(folder: Path, solution: SurveySolution, infos: Sequence[SubInfo]) -> None:
    """Illumination of each camera, every eighth pixel of its sensor, one extension a camera."""
    hdus: list = [fits.PrimaryHDU()]
    for pattern in solution.patterns:
        # Behind the sensor stands how its subs were calibrated.
        height, width = next(info.shape for info in infos if pattern.camera.startswith(sensor_key(info)))
        y, x = np.mgrid[0:height:_PATTERN_STEP, 0:width:_PATTERN_STEP]
        terms = pattern_terms(*sensor_places(x, y, (height, width)))
        light = (1.0 + terms @ pattern.coefficients.T).astype(np.float32)
        hdu = fits.ImageHDU(np.ascontiguousarray(light.transpose(2, 0, 1)), name="PATTERN")
        hdu.header["CAMERA"] = pattern.camera.encode("ascii", "replace").decode()[:60]
        hdu.header["ZMSTEP"] = (_PATTERN_STEP, "sensor pixels per pixel of this image")
        for channel in range(pattern.coefficients.shape[0]):
            hdu.header[f"PED{channel}"] = (pattern.pedestal[channel], "[adu] electronic offset of the subs")
            hdu.header[f"EPED{channel}"] = (pattern.pedestal_error[channel], "[adu] its error; 0 if it was given")
            for term, name in enumerate(PATTERN_TERMS):
                hdu.header[f"P{channel}_{name.upper()}"] = (pattern.coefficients[channel, term], "coefficient")
                hdu.header[f"E{channel}_{name.upper()}"] = (pattern.error[channel, term], "its error")
        hdus.append(hdu)
    write_fits(folder / "illumination.fits", hdus)
