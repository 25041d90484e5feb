"""From the masters that belong to a sub to the numbers that are applied to its pixels.

::

    value  ->  (value - dark) / flat            the dark carries its own bias
    value  ->  (value - bias - k (dark - bias)) / flat      of a dark that is scaled by k
    value  ->  (value - bias) / flat            without a dark

Pixels that stand far above their neighbours in the dark, that the flat gives less than half the light of their
neighbours, or a tenth of the light of the middle, are invalid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..resume.fingerprints import fingerprint
from ..sentences import Sentence, say
from ..subs.hot_pixels import middle_of_neighbours, robust_noise
from ..subs.sensor_correction import SensorCorrection
from .masters import Master
from .records import Conditions
from .screening import planes_of, sketch

_HOT_SIGMA = 10.0  # of the scatter of the dark over the sensor
_HOT_NOISES = 5.0  # of one frame: what is fainter is subtracted and leaves hardly any noise
_COLD_SHARE = 0.5
_OFFSET_NOISES = 5.0
_DARKEST = 0.01  # of the pixels
_BIAS_SUBTRACTED = 0.5  # of the bias: a dark below has lost it
_TELLING_SIGMA = 5.0
_LEAST_SHARED = 0.3  # of the structure of the bias, which a dark has


@dataclass(frozen=True)
class ChosenMasters:
    """The masters of a sub, and what their correction depends on.

    Attributes
    ----------
    dark, bias, flat : Master or None
    dark_scale : float
    keys : tuple of str
        Fingerprints of the masters.
    has_lost_bias : bool
        True where the header of the dark says so.
    """

    dark: Master | None
    bias: Master | None
    flat: Master | None
    dark_scale: float
    keys: tuple[str, ...]
    has_lost_bias: bool = False


def correction_of(
    chosen: ChosenMasters, light: Conditions, *, unit: float = 1.0, pedestal_adu: float = math.nan
) -> SensorCorrection:
    """The correction of the subs of one setting of a camera.

    Parameters
    ----------
    chosen : ChosenMasters
    light : Conditions
        Of the subs.
    unit : float
        Value of one ADU in the files of the subs: 1, or 1/65535 where they hold shares of the full range.
    pedestal_adu : float
        Electronic offset of the subs where a person gave it, else NaN; used without dark and bias.
    """
    setup = light.setup
    offset = offset_of(chosen.dark, chosen.bias, chosen.dark_scale, has_lost_bias=chosen.has_lost_bias)
    level = setup.pedestal_adu
    if offset is None and setup.overscan is None and not setup.calibrated:
        told = [adu for adu in (pedestal_adu, setup.black_level_adu) if math.isfinite(adu)]
        level += told[0] if told else 0.0
    factor = None if chosen.flat is None else inverse_flat(chosen.flat, setup.exposed)
    if offset is not None and unit != 1.0:
        offset *= np.float32(unit)
    names = [name for name, master in (("dark", chosen.dark), ("flat", chosen.flat)) if master is not None]
    if chosen.dark is None and chosen.bias is not None:
        names.insert(0, "bias")
    overscan = setup.overscan if setup.overscan is None else _even(setup.overscan)
    facts = (
        chosen.keys,
        chosen.dark_scale,
        chosen.has_lost_bias,
        level,
        unit,
        "" if overscan is None else list(overscan),
    )
    return SensorCorrection(
        offset,
        level * unit,
        factor,
        overscan,
        ", ".join(names),
        fingerprint(*facts, None if setup.exposed is None else list(setup.exposed)),
    )


def _even(box: Box) -> Box:
    """The box begun at an even row and column, so that a part read alone has the pattern of the sub."""
    return Box(box.y0 + box.y0 % 2, box.y1, box.x0 + box.x0 % 2, box.x1)


def offset_of(
    dark: Master | None, bias: Master | None, scale: float, *, has_lost_bias: bool = False
) -> NDArray[np.float32] | None:
    """What is subtracted from a sub; the bias once, and NaN where the sensor is hot."""
    if dark is None:
        return None if bias is None else bias.pixels.copy()
    if bias is not None and (has_lost_bias or is_without_bias(dark, bias)):
        out = bias.pixels + np.float32(scale) * dark.pixels
    elif scale != 1.0 and bias is not None:
        out = bias.pixels + np.float32(scale) * (dark.pixels - bias.pixels)
    else:
        out = dark.pixels.copy()
    out[hot_pixels(dark)] = np.nan
    return np.asarray(out, dtype=np.float32)


def is_without_bias(dark: Master, bias: Master) -> bool:
    """True for a dark from which the bias was subtracted when it was made, as some programs do."""
    return bias.level > 0.0 and dark.level < _BIAS_SUBTRACTED * bias.level


def lacks_structure_of(dark: Master, bias: Master) -> bool:
    """True for a dark in which the columns and rows of the bias are not to be seen, where they stand out in the bias.

    Where strong dark current is left, this tells a dark that has lost its bias and the level does not. What columns
    differ by is multiplied between both halves of the sensor, so that noise adds nothing.
    """
    of_bias = np.concatenate([_steps(bias.pixels, axis) for axis in (0, 1)], axis=1)
    of_dark = np.concatenate([_steps(dark.pixels, axis) for axis in (0, 1)], axis=1)
    powers = of_bias[0] * of_bias[1]
    powers, shared = (values[np.isfinite(values)] for values in (powers, of_bias.mean(axis=0) * of_dark.mean(axis=0)))
    if powers.size < 2 or powers.mean() < _TELLING_SIGMA * powers.std() / math.sqrt(powers.size):
        return False
    return bool(shared.mean() < _LEAST_SHARED * powers.mean())


def _steps(pixels: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """What columns (axis 0) or rows differ by from the next but one, of the same colours, in each half of a sensor."""
    plane = pixels if pixels.ndim == 2 else pixels[:, :, 1]
    means = [np.nanmedian(half, axis=axis) for half in np.array_split(plane, 2, axis=axis)]
    return np.stack([mean[2:] - mean[:-2] for mean in means])


def has_no_offset(dark: Master) -> bool:
    """True for a dark that holds so little that cameras would clip it: its bias was subtracted when it was made.

    Cameras add an offset of many times the noise, so that no pixel falls to 0.
    """
    noise = sketch(dark.pixels).noise
    return bool(dark.level < _OFFSET_NOISES * noise or np.mean(dark.pixels <= 0.0) > _DARKEST)


def hot_pixels(dark: Master) -> NDArray[np.bool_]:
    """Pixels of a dark that stand far above their neighbours of the same colour, shape of its pixels."""
    hot = np.zeros(dark.pixels.shape, dtype=bool)
    noise = dark.frame_noise if math.isfinite(dark.frame_noise) else 0.0
    for plane, found in zip(planes_of(dark.pixels), planes_of(hot), strict=True):
        excess = plane - middle_of_neighbours(np.ascontiguousarray(plane), 1)
        found[...] = excess > max(_HOT_SIGMA * robust_noise(excess), _HOT_NOISES * noise)
    return hot


def inverse_flat(flat: Master, exposed: Box | None = None) -> NDArray[np.float32]:
    """One over a flat; NaN outside the exposed pixels, where it has too little light, and at cold pixels."""
    out = np.array(flat.pixels, dtype=np.float32)
    for plane in planes_of(out):
        around = middle_of_neighbours(np.ascontiguousarray(plane), 1)
        plane[plane < _COLD_SHARE * around] = np.nan
    np.divide(np.float32(1.0), out, out=out)
    if exposed is not None:
        inside = np.zeros(out.shape[:2], dtype=bool)
        inside[exposed.slices] = True
        out[~inside] = np.nan
    return out


def noise_text(master: Master, frames: str) -> Sentence:
    """What a log line says of a master."""
    if not math.isfinite(master.noise):
        return say("{what}: level {level:.4g}", what=frames, level=master.level)
    return say(
        "{what}: master of {n} frames, level {level:.4g}, noise {noise:.3g} a pixel ({frame:.3g} of one frame)",
        what=frames,
        n=master.frames,
        level=master.level,
        noise=master.noise,
        frame=master.frame_noise,
    )
