"""The terms of a solution as a gnomonic WCS with SIP, that every other program understands."""

from __future__ import annotations

import numpy as np

from .header_model import HEADER_POWERS, HeaderModel, header_terms
from .normal_equations import Terms
from .results import RefinedWcs
from .sub_frames import SUB_TERMS, FloatArray, distortion_terms, sky_angles, sub_shift

_PLAIN_PX = 2e-3  # a distortion below is none
_NEWTON_STEPS = 20
_SAMPLES = 12


def corrected_pixels(model: HeaderModel, terms: Terms, number: int, plain: FloatArray) -> FloatArray:
    """Corrected pixels (n, 2) of a sub at pixels (n, 2) from its centre."""
    frames = model.frames
    places, camera = plain / frames.half[number], int(frames.camera[number])
    shift = sub_shift(np.broadcast_to(terms.of_subs[number], (len(plain), SUB_TERMS)), places)
    distortion = distortion_terms(places, frames.span[[number]]) @ terms.of_cameras[camera]
    return np.asarray(plain + header_terms(places) @ model.base[camera] + shift + distortion)


def refined_wcs(model: HeaderModel, terms: Terms) -> RefinedWcs:
    """WCSs of all subs by the terms of a solution."""
    frames = model.frames
    high = [k for k, (i, j) in enumerate(HEADER_POWERS) if i + j > 3]
    order = 5 if np.abs(model.base[:, high]).sum() > 0.0 else 3
    count = len(frames)
    crpix, cd, sip = np.empty((count, 2)), np.empty((count, 2, 2)), np.zeros((count, 2, order + 1, order + 1))
    for number in range(count):
        crpix[number], cd[number], sip[number] = _about_the_pole(model, terms, number, order)
    ra, dec = sky_angles(frames.axes[:, 2])
    return RefinedWcs(np.stack([ra, dec], axis=1), crpix, np.degrees(cd), sip)


def _about_the_pole(
    model: HeaderModel, terms: Terms, number: int, order: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """CRPIX, CD in radians and SIP of a sub: its polynomial around the pixel that lies on the pole of its plane."""
    frames = model.frames
    height, width = frames.shapes[number]
    centre, half = frames.centre[number], frames.half[number]
    origin = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        step = corrected_pixels(model, terms, number, origin[None])[0]
        origin = origin - step
        if np.abs(step).max() < 1e-10:
            break
    columns, rows = np.meshgrid(np.linspace(0, width - 1, _SAMPLES), np.linspace(0, height - 1, _SAMPLES))
    plain = np.stack([columns.ravel(), rows.ravel()], axis=1) - centre
    value = corrected_pixels(model, terms, number, plain)
    powers = [(total - j, j) for total in range(1, order + 1) for j in range(total + 1)]
    u, v = ((plain - origin) / half).T
    design = np.stack([u**i * v**j for i, j in powers], axis=1)
    found = np.linalg.lstsq(design, value, rcond=None)[0]
    linear = found[:2].T / half
    # SIP comes before CD: what the linear terms will do to it is undone here.
    bent = np.linalg.solve(linear, found[2:].T)
    sip = np.zeros((2, order + 1, order + 1))
    if np.abs(design[:, 2:] @ found[2:]).max() > _PLAIN_PX:
        for (i, j), coefficients in zip(powers[2:], bent.T, strict=True):
            sip[:, i, j] = coefficients / half ** (i + j)
    return origin + centre + 1.0, frames.matrix[number] @ linear, sip
