"""NumPy or a device: which library an array belongs to, and the only two ways across.

An array of another library than NumPy counts as a device array, wherever its memory is: code for
NumPy would convert it silently, or fail far from the cause.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_cupy_array

from ..errors import SettingsError
from ..sentences import say

Device = Literal["cpu", "cuda"]


def namespace(*arrays: Any) -> Any:
    """Array-API namespace that all `arrays` share.

    Raises
    ------
    TypeError
        The arrays belong to different libraries, or one is no array.
    """
    return array_namespace(*arrays)


def is_device_array(array: Any) -> bool:
    """True for an array of any library but NumPy; False for NumPy arrays and for what is no array."""
    return not isinstance(array, np.ndarray) and bool(is_array_api_obj(array))


def require_numpy(array: Any, name: str) -> np.ndarray:
    """`array` itself if it is a NumPy array.

    Parameters
    ----------
    array : object
        What a caller handed over.
    name : str
        How the message calls it.

    Raises
    ------
    TypeError
        It is a device array (bring it back with `to_numpy` first) or no array at all.
    """
    if is_device_array(array):
        library = type(array).__module__.partition(".")[0]
        raise TypeError(f"{name} is a {library} array; bring it to NumPy with backend.to_numpy first")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, not {type(array).__name__}")
    return array


def to_numpy(array: Any) -> np.ndarray:
    """The values of `array` as a NumPy array; the only way off a device.

    Parameters
    ----------
    array : array of NumPy, CuPy or another library of the array-API standard
        NumPy arrays pass through uncopied.

    Raises
    ------
    TypeError
        `array` is no array.
    """
    if isinstance(array, np.ndarray):
        return array
    if is_cupy_array(array):
        return _cupy().asnumpy(array)
    if not is_array_api_obj(array):
        raise TypeError(f"only arrays can be brought to NumPy, not {type(array).__name__}")
    host = array
    xp = array_namespace(array)
    if hasattr(array, "to_device"):
        # The standard gives no name to the host; the library's first device is it.
        host = array.to_device(xp.__array_namespace_info__().devices()[0])
    # Some libraries export read-only memory; callers of this function own what they get.
    return np.array(np.from_dlpack(host))


def to_device(array: np.ndarray, like: Any) -> Any:
    """A NumPy array as an array of the library of `like`, on its device; the only way onto a device.

    Returns
    -------
    array
        `array` itself if `like` is a NumPy array.
    """
    require_numpy(array, "array")
    if not is_device_array(like):
        return array
    if is_cupy_array(like):
        with like.device:
            return _cupy().asarray(array)
    return array_namespace(like).asarray(array, device=like.device)


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """Device that the run will use.

    Parameters
    ----------
    wanted : str
        ``"auto"`` takes a CUDA device if CuPy finds one.

    Raises
    ------
    SettingsError
        ``"cuda"`` was asked for and cannot be had.
    """
    if wanted == "cpu":
        return "cpu"
    problem = cuda_problem()
    if wanted == "auto":
        return "cpu" if problem else "cuda"
    if wanted != "cuda":
        raise SettingsError(say("device is {value!r} but must be one of auto, cpu, cuda.", value=wanted))
    if problem:
        raise SettingsError(say("device=cuda was asked for, but {why}; choose device=cpu or auto.", why=problem))
    return "cuda"


@lru_cache(maxsize=1)
def cuda_problem() -> str:
    """Why no CUDA device can be used, in words; empty if one can."""
    try:
        cupy = _cupy()
    except ImportError:
        return say("CuPy is not installed (pip install 'zemosaic[gpu12]' for CUDA 12, 'zemosaic[gpu13]' for CUDA 13)")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return say("CuPy finds no CUDA device ({error})", error=error)
    return "" if count else say("CuPy finds no CUDA device")


def _cupy() -> Any:
    import cupy

    return cupy


def cuda_library() -> Any:
    """CuPy, for `kernels.cuda`; call it after `choose_device`."""
    return _cupy()
