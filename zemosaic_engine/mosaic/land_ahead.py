"""Tiles that workers bring to the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..canvas.plan import CanvasPlan
from ..errors import RunError
from ..executors.executor import Seat
from ..resampling.resample import Kernel
from ..resume.checkpoints import Checkpoints
from ..resume.dependencies import settings_of
from ..resume.fingerprints import file_digest
from ..run.run import Run
from ..sentences import say
from ..settings import GridSettings
from ..tiles.scaling import TileScaling
from ..tiles.tile import Tile
from .coadd import Landed, land
from .scaled_tiles import scaled_tile

_KIND = "landed"


@dataclass(frozen=True)
class _LandOrder:
    """An order to bring a tile to the canvas, with its part of the scaling."""

    state: Path
    tile: Tile
    scaling: TileScaling
    canvas: CanvasPlan
    kernel: Kernel
    settings: GridSettings


@dataclass(frozen=True)
class _LandedTile:
    """The record of a tile on the canvas; None if it misses it."""

    landed: Landed | None


class LandedAhead:
    """Tiles that workers have brought to the canvas, by number; all others are left to the run.

    Parameters
    ----------
    run : Run
    tiles : sequence of Tile
        With pixel grids of their own.
    scaling : TileScaling
    kernel : str
        As of `coadd.land`.
    """

    def __init__(self, run: Run, tiles: Sequence[Tile], scaling: TileScaling, kernel: Kernel) -> None:
        self._keys: dict[int, str] = {}
        self._checkpoints = run.reuse.checkpoints
        if not run.executor.has_workers or self._checkpoints.folder is None:
            return
        state = self._checkpoints.folder.absolute()
        orders = [
            _LandOrder(
                state, replace(tile, path=tile.path.absolute()), scaling.of([number]), run.canvas, kernel, run.settings
            )
            for number, tile in enumerate(tiles)
        ]
        run.executor.ahead(land_tile, orders, self._keys.__setitem__)
        run.reporter.log(say("Workers reprojected {n} of {total} tiles", n=len(self._keys), total=len(tiles)))

    def __contains__(self, number: int) -> bool:
        return number in self._keys

    def take(self, number: int) -> Landed | None:
        """Return a tile, whose record is dropped then; None if it misses the canvas.

        Raises
        ------
        RunError
            If the record is gone or damaged.
        """
        record = self._checkpoints.get(_KIND, self._keys[number], _LandedTile)
        if record is None:
            raise RunError(say("A tile that a worker has reprojected is gone. Give the same command again."))
        self._checkpoints.drop(_KIND, self._keys[number])
        return record.landed


def land_tile(order: _LandOrder, seat: Seat) -> str:
    """Bring a tile to the canvas in a worker; the key of its record."""
    checkpoints, tile = Checkpoints.of_worker(order.state, []), order.tile
    settings = order.settings.model_copy(update={"threads": seat.threads, "scheduler": ""})
    here = (
        order.canvas.wcs,
        order.canvas.shape,
        tile.wcs,
        list(tile.inner),
        list(tile.outer),
        settings_of(settings, "join"),
    )
    key = checkpoints.key("landed", file_digest(tile.path), order.scaling, order.kernel, *here)
    part, blend = scaled_tile(tile, 0, order.scaling, settings)
    checkpoints.put(_KIND, key, _LandedTile(land(tile.wcs, part, blend, order.canvas, order.kernel)))
    return key
