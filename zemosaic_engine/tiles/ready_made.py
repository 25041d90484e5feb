"""Takes ready-made tiles in place of stacked ones."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..errors import SubError, SubsLost
from ..geometry import Box
from ..machine.threads import run_all
from ..photometry.sky import quiet_noise
from ..run.resources import threads_with_room
from ..run.run import Run
from ..sentences import say
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo, load_frame
from ..subs.lost_inputs import raise_if_lost
from ..subs.unchanged import read_unchanged
from ..weighted_image import WeightedImage
from .store import TileStore
from .tile import TileSet

_BYTES_A_NUMBER = 24  # of a tile that is taken: as stored, its pixel, weight and coverage, and what measures them


def take_tiles(run: Run) -> TileSet:
    """Take images with a WCS as tiles, as they are, each with a weight from its sky noise.

    Those that an earlier run took are not read again.

    Raises
    ------
    SubsLost
        If an image cannot be used.
    RunError
        If no image has a valid pixel.
    """
    layouts = [_layout(number, info) for number, info in enumerate(run.subs)]
    keys = {
        layout.name: run.reuse.tile_key(layout, [None], None, None, source=info.path.name)
        for layout, info in zip(layouts, run.subs, strict=True)
    }
    lost = dict[int, SubError]()
    with TileStore(run, layouts, keys) as store:
        missing = store.missing()
        run.reporter.expect(len(missing))

        def take(layout: TileLayout) -> None:
            (number,) = layout.subs
            info = run.subs[number]
            try:
                pixels = read_guarded(info.path, partial(_pixels, run, info))
            except SubError as error:
                raise_if_lost(error, [other.path for other in run.subs])
                lost[number] = error
            else:
                if not lost:  # else the others are only looked at
                    store.write(layout, _weighted(pixels), [number])
                    run.reporter.log(say("{name}: ready-made, {name2}", name=layout.name, name2=info.path.name))
            run.reporter.step()

        run_all(take, missing, _threads(run), run.cancel)
        if lost:
            for number in sorted(lost):
                run.reporter.set_aside(lost[number])
            raise SubsLost([lost[number] for number in sorted(lost)])
        return store.finish()


def _threads(run: Run) -> int:
    """As many threads as have room for a tile each, while it is read, weighed and written."""
    largest = max(info.shape[0] * info.shape[1] * info.channels for info in run.subs) * _BYTES_A_NUMBER
    return threads_with_room(run.settings, largest)


def _layout(number: int, info: SubInfo) -> TileLayout:
    """Return the tile of an image, which owns all of its pixels."""
    box = Box(0, info.shape[0], 0, info.shape[1])
    return TileLayout(
        f"tile_{number:04d}", box, box, (number,), CanvasPlan(info.wcs, info.shape, info.pixel_scale_arcsec)
    )


def _weighted(pixels: NDArray[np.float32]) -> WeightedImage:
    """Return an image with the weight that its sky noise gives it, and a coverage of one."""
    with np.errstate(divide="ignore"):
        certainty = np.nan_to_num(1.0 / quiet_noise(pixels) ** 2, nan=1.0, posinf=1.0).astype(np.float32)
    finite = np.isfinite(pixels)
    return WeightedImage(pixels, np.where(finite, certainty, np.float32(0.0)), finite.astype(np.uint16))


def _pixels(run: Run, info: SubInfo) -> NDArray[np.float32]:
    return read_unchanged(info, lambda: load_frame(info).pixels, run.reuse.is_same)
