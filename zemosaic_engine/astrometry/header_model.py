"""What the headers of all subs say, as frames, polynomials and priors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from ..canvas.coordinates import pixel_to_sky
from ..fits.headers import unit_vectors
from .normal_equations import Prior, Terms
from .sub_frames import POWERS, FloatArray, IntArray, SubFrames, frame_grid, frames_of

#: Powers of u and v in the polynomials that stand for a header, shift and linear terms first.
HEADER_POWERS = tuple((total - j, j) for total in range(6) for j in range(total + 1))
_LINEAR = 3  # how many of these are shift or linear
_LEAST_DISTORTION_PX = 0.01
_LINEAR_ERRORS = np.array([1e-3, 2e-4, 5e-5, 5e-5])  # of rotation, scale and shears, that all headers may share
_MEDIAN_ERROR = 1.2533  # of a median over that of a mean
_NEGLIGIBLE_PX = 1e-4  # what a fit makes of terms that are not there


@dataclass(frozen=True)
class HeaderModel:
    """Headers of n subs.

    Attributes
    ----------
    frames : SubFrames
    own : ndarray of float64, shape (n, 21, 2)
        Polynomial of each sub: corrected pixel minus pixel from the centre, as its header has it.
    base : ndarray of float64, shape (cameras, 21, 2)
        Distortion that the headers of a camera tell (their median), without shift and linear terms.
    prior : Prior
        What the headers say of the terms.
    grid : ndarray of float64, shape (n, 81, 3)
        Unit vectors at the places of `frame_grid`.
    """

    frames: SubFrames
    own: FloatArray
    base: FloatArray
    prior: Prior
    grid: FloatArray

    def pixels(self, sub: IntArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Corrected pixels (n, 2) of detections by their own headers, and by the distortion of their camera alone."""
        places = self.frames.sensor_places(sub, x, y)
        terms = header_terms(places)
        plain = places * self.frames.half[sub, None]
        own = plain + np.einsum("nk,nkc->nc", terms, self.own[sub])
        return own, plain + np.einsum("nk,nkc->nc", terms, self.base[self.frames.camera[sub]])


def header_terms(places: FloatArray) -> FloatArray:
    """(n, 21) of the polynomials at places (u, v) on the sensor."""
    out = np.ones((len(places), len(HEADER_POWERS)))
    for number, (i, j) in enumerate(HEADER_POWERS[1:], start=1):
        # A power is the one before it along either axis, times u or v.
        before = HEADER_POWERS.index((i - 1, j) if i else (i, j - 1))
        np.multiply(out[:, before], places[:, 0 if i else 1], out=out[:, number])
    return out


def read_headers(wcss: Sequence[WCS], shapes: Sequence[tuple[int, int]], cameras: Sequence[str]) -> HeaderModel:
    """The headers of subs as polynomials.

    Parameters
    ----------
    wcss : sequence of astropy.wcs.WCS
        Celestial, ICRS.
    shapes : sequence of tuple of int
        ``(height, width)``.
    cameras : sequence of str
        Name of the camera of each sub: what shares a distortion.
    """
    frames = frames_of(wcss, shapes, cameras)
    size = len(frame_grid((9, 9))[0])
    own, grid = np.empty((len(frames), len(HEADER_POWERS), 2)), np.empty((len(frames), size, 3))
    fits: dict[tuple[int, int], tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = {}
    for number, (wcs, shape) in enumerate(zip(wcss, shapes, strict=True)):
        key = (int(shape[0]), int(shape[1]))
        if key not in fits:
            x, y = frame_grid(key)
            places = frames.sensor_places(np.full(size, number), x, y)
            fits[key] = x, y, places * frames.half[number], np.asarray(np.linalg.pinv(header_terms(places)))
        x, y, plain, inverse = fits[key]
        grid[number] = unit_vectors(*pixel_to_sky(wcs, x.copy(), y.copy()))
        own[number] = inverse @ (frames.from_sky(np.full(size, number), grid[number]) - plain)
    return HeaderModel(frames, own, _camera_base(frames, own), _prior(frames, own), grid)


def _camera_base(frames: SubFrames, own: FloatArray) -> FloatArray:
    """Median distortion of the headers of a camera that have one."""
    base = np.zeros((frames.cameras, len(HEADER_POWERS), 2))
    bent = np.abs(own[:, _LINEAR:]).sum(axis=(1, 2)) > _LEAST_DISTORTION_PX
    for camera in range(frames.cameras):
        mine = bent & (frames.camera == camera)
        if mine.any():
            usual = np.median(own[mine, _LINEAR:], axis=0)
            base[camera, _LINEAR:] = np.where(np.abs(usual) > _NEGLIGIBLE_PX, usual, 0.0)
    return base


def _prior(frames: SubFrames, own: FloatArray) -> Prior:
    """Shift and rotation of each header, and for each camera the linear terms that its headers share."""
    terms, width = Terms.zero(frames), np.empty((frames.cameras, 4))
    for camera in range(frames.cameras):
        mine = frames.camera == camera
        linear = np.median(own[mine, 1:_LINEAR], axis=0)
        terms.of_cameras[camera, [POWERS.index((1, 0)), POWERS.index((0, 1))]] = linear
        rest = own[mine, 1:_LINEAR] - linear
        terms.of_subs[mine, 2] = 0.5 * (rest[:, 0, 1] - rest[:, 1, 0])
        x_of_u, y_of_u, x_of_v, y_of_v = rest[:, 0, 0], rest[:, 0, 1], rest[:, 1, 0], rest[:, 1, 1]
        # Rotation, scale, shears: what the headers scatter by.
        parts = 0.5 * np.stack([y_of_u - x_of_v, x_of_u + y_of_v, x_of_u - y_of_v, y_of_u + x_of_v])
        scatter = _MEDIAN_ERROR * 1.4826 * np.median(np.abs(parts), axis=1) / np.sqrt(np.count_nonzero(mine))
        width[camera] = np.hypot(_LINEAR_ERRORS * float(np.median(frames.half[mine])), scatter)
    terms.of_subs[:, :2] = own[:, 0]
    return Prior(terms, width)
