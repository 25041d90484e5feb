"""The terms of a solution as a gnomonic WCS with SIP, that every other program understands."""

from __future__ import annotations

import numpy as np

from .header_model import HEADER_POWERS, HeaderModel, header_terms
from .normal_equations import Terms
from .results import RefinedWcs
from .sub_frames import FloatArray, IntArray, distortion_terms, sky_angles, sub_shift

_PLAIN_PX = 2e-3  # a distortion below is none
_NEWTON_STEPS = 20
_SAMPLES = 7
_BATCH = 500  # subs at a time, so that memory stays small


def corrected_pixels(model: HeaderModel, terms: Terms, sub: IntArray, plain: FloatArray) -> FloatArray:
    """Corrected pixels (n, 2) of subs, whose numbers are `sub` (n,), at pixels (n, 2) from their centres."""
    frames = model.frames
    places, camera = plain / frames.half[sub, None], frames.camera[sub]
    found = plain + sub_shift(terms.of_subs[sub], places)
    header, bend = header_terms(places), distortion_terms(places, frames.span[sub])
    for number in range(frames.cameras):
        mine = slice(None) if frames.cameras == 1 else np.flatnonzero(camera == number)
        found[mine] += header[mine] @ model.base[number] + bend[mine] @ terms.of_cameras[number]
    return np.asarray(found)


def refined_wcs(model: HeaderModel, terms: Terms) -> RefinedWcs:
    """WCSs of all subs by the terms of a solution."""
    frames = model.frames
    high = [k for k, (i, j) in enumerate(HEADER_POWERS) if i + j > 3]
    order = 5 if np.abs(model.base[:, high]).sum() > 0.0 else 3
    count = len(frames)
    crpix, cd, sip = np.empty((count, 2)), np.empty((count, 2, 2)), np.zeros((count, 2, order + 1, order + 1))
    for begin in range(0, count, _BATCH):
        subs = np.arange(begin, min(begin + _BATCH, count))
        crpix[subs], cd[subs], sip[subs] = _about_the_poles(model, terms, subs, order)
    ra, dec = sky_angles(frames.axes[:, 2])
    return RefinedWcs(np.stack([ra, dec], axis=1), crpix, np.degrees(cd), sip)


def _about_the_poles(
    model: HeaderModel, terms: Terms, subs: IntArray, order: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """CRPIX, CD in radians and SIP of some subs: their polynomials around the pixels that lie on the poles."""
    frames, count = model.frames, len(subs)
    origin = np.zeros((count, 2))
    for _ in range(_NEWTON_STEPS):
        step = corrected_pixels(model, terms, subs, origin)
        origin = origin - step
        if np.abs(step).max() < 1e-10:
            break
    # A polynomial is its own fit wherever it is looked at: the same places around the origin do for all subs.
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(-1.0, 1.0, _SAMPLES), np.linspace(-1.0, 1.0, _SAMPLES)))
    powers = [(total - j, j) for total in range(1, order + 1) for j in range(total + 1)]
    design = np.stack([u**i * v**j for i, j in powers], axis=1)
    half = frames.half[subs, None, None]
    plain = origin[:, None] + half * np.stack([u, v], axis=1)
    value = corrected_pixels(model, terms, np.repeat(subs, len(u)), plain.reshape(-1, 2)).reshape(count, len(u), 2)
    found = np.linalg.pinv(design) @ value
    linear = found[:, :2].transpose(0, 2, 1) / half
    # SIP comes before CD: what the linear terms will do to it is undone here.
    bent = np.linalg.solve(linear, found[:, 2:].transpose(0, 2, 1))
    bent *= (np.abs(design[:, 2:] @ found[:, 2:]).max(axis=(1, 2)) > _PLAIN_PX)[:, None, None]
    sip = np.zeros((count, 2, order + 1, order + 1))
    for number, (i, j) in enumerate(powers[2:]):
        sip[:, :, i, j] = bent[:, :, number] / half[:, 0] ** (i + j)
    return origin + frames.centre[subs] + 1.0, frames.matrix[subs] @ linear, sip
