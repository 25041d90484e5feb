"""What the engine asks of whoever makes pictures, since it has no library for them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Painter(Protocol):
    """Turns linear pixels into pictures, and pictures into files.

    Attributes
    ----------
    black_adu, white_adu : ndarray of float32, shape (C,)
        The level of the sky, and what becomes white.
    """

    @property
    def black_adu(self) -> NDArray[np.float32]: ...  # noqa: D102

    @property
    def white_adu(self) -> NDArray[np.float32]: ...  # noqa: D102

    def paint(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The picture (H, W, C) of pixels (H, W, C) in ADU; black where they are NaN."""

    def write(self, picture: NDArray[np.uint8], path: Path) -> None:
        """Write a picture in the format that the name ends in (``.png`` or ``.jpg``), its folder included."""

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The pixels of a picture that `write` has written."""
