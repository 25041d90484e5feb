"""Values of the mosaic under the cursor of a page: means over blocks, to a fraction of their noise."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zemosaic_engine.channels import channel_names
from zemosaic_engine.sentences import say
from zemosaic_utils import block_means, shrinking_factor

from .facts import Absent, Facts

#: Longest side of the grid of values. More would be finer than a figure of the page, and most of its bytes.
GRID_PX = 400
_MISSING = -(2**31)
# A step of the stored values is the power of ten below this share of the noise from block to block.
_STEP_SHARE = 0.5


@dataclass(frozen=True)
class Plane:
    """Values of a channel, or numbers of subs, in steps.

    Attributes
    ----------
    name : str
        Of the channel; empty for the numbers of subs.
    step : float
        What a unit of `values` stands for.
    digits : int
        Decimals that it has.
    values : ndarray of int32, shape (h, w)
        First row south; -2**31 where there is no data.
    """

    name: str
    step: float
    digits: int
    values: NDArray[np.int32]


@dataclass(frozen=True)
class Values:
    """Planes of one shape; a value is a mean over `block` x `block` pixels of the mosaic."""

    block: int
    planes: list[Plane]

    def for_script(self) -> dict[str, Any]:
        """The same for the page: the planes one after another, in four planes of bytes, the lowest first, deflated.

        High bytes are almost all alike, and take next to nothing that way.
        """
        stack = np.stack([plane.values for plane in self.planes]).astype("<i4")
        in_planes = np.ascontiguousarray(stack.view(np.uint8).reshape(-1, 4).T)
        height, width = stack.shape[1:]
        return {
            "block": self.block, "height": height, "width": width,
            "planes": [{"name": plane.name, "step": plane.step, "digits": plane.digits} for plane in self.planes],
            "bytes": base64.b64encode(zlib.compress(in_planes.tobytes(), 9)).decode("ascii"),
        }  # fmt: skip


def read_values(facts: Facts) -> Values | Absent:
    """The values of a mosaic and its numbers of subs, from the files of its run."""
    mosaic, coverage = facts.mosaic, facts.coverage
    if isinstance(mosaic, Absent):
        return mosaic
    if isinstance(coverage, Absent):
        return coverage
    try:
        image, block = _means(mosaic)
        subs, _ = _means(coverage)
    except (OSError, ValueError) as error:
        return Absent(say("The values of the mosaic cannot be read: {error}", error=error))
    if subs.shape[:2] != image.shape[:2]:
        return Absent(say("{name} is not of {other}.", name=coverage.name, other=mosaic.name))
    names = channel_names(image.shape[2])
    planes = [make_plane(name, image[..., channel]) for channel, name in enumerate(names)]
    planes.append(Plane("", 1.0, 0, _stored(subs[..., 0], 1.0)))
    return Values(block, planes)


def _means(path: Path) -> tuple[NDArray[np.float32], int]:
    with fits.open(path, memmap=False) as hdus:
        block = shrinking_factor(hdus[0].shape[-2:], GRID_PX)
        return block_means(hdus[0].section, block), block


def make_plane(name: str, values: NDArray[np.float32]) -> Plane:
    """A channel (h, w) in steps that lose nothing that its noise has not lost; NaN where there is no data."""
    steps_aside = np.abs(np.diff(values, axis=1))
    steps_aside = steps_aside[np.isfinite(steps_aside)]
    noise = 1.4826 * float(np.median(steps_aside)) / 2**0.5 if steps_aside.size else 0.0
    digits = int(np.clip(-np.floor(np.log10(_STEP_SHARE * noise)), 0, 6)) if noise > 0.0 else 3
    return Plane(name, 10.0**-digits, digits, _stored(values, 10.0**-digits))


def _stored(values: NDArray[np.float32], step: float) -> NDArray[np.int32]:
    good = np.isfinite(values)
    steps = np.clip(np.rint(np.where(good, values, 0.0).astype(np.float64) / step), _MISSING + 1, -_MISSING - 1)
    return np.where(good, steps, _MISSING).astype(np.int32)
