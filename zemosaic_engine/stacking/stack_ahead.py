"""Tiles that workers stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..canvas.footprints import footprint_of
from ..canvas.tile_layout import TileLayout
from ..executors.executor import Seat
from ..resume.fingerprints import fingerprint
from ..resume.sub_digests import DigestNote
from ..run.run import Run
from ..run.worker_run import RunFacts, notes_of, worker_run
from ..sentences import say
from ..subs.frames import SubInfo
from ..survey.calibrate import CalibratedSubs
from ..survey.sky_map import SkyMap
from ..tiles.files import worker_tile_path
from ..tiles.store import NoEarlierTiles, TileStore, write_stacked
from ..tiles.tile import StackedTile
from .block_tiles import BlockTiles
from .layout import Layout, steps_of
from .memory_plan import plan_memory
from .samples import planes_of


@dataclass(frozen=True)
class _TileOrder:
    """An order to stack one tile.

    Attributes
    ----------
    facts : RunFacts
    tile : TileLayout
        Its subs are numbered as below.
    infos, notes : sequence
        The subs of the tile, and what is known of their contents.
    subs : CalibratedSubs
        The same subs, without the sky.
    sky_key : str
        Record of the sky of the run; empty for none.
    key : str
        Of the tile.
    """

    facts: RunFacts
    tile: TileLayout
    infos: Sequence[SubInfo]
    notes: Sequence[DigestNote | None]
    subs: CalibratedSubs
    sky_key: str
    key: str


def key_of(run: Run, tile: TileLayout, subs: CalibratedSubs) -> str:
    """Return the key of a tile; empty where its colours depend on the tile that is stacked first."""
    if subs.on_one_scale and subs.background is None:
        return ""
    calibrations = [subs.calibration(number) for number in tile.subs]
    psfs = None if subs.psfs is None else [values[list(tile.subs)] for values in subs.psfs]
    kernel = run.settings.resample_kernel
    return run.reuse.tile_key(tile, calibrations, subs.background, subs.sky, psfs, kernel=kernel)


def keys_of(run: Run, tiles: Sequence[TileLayout], subs: CalibratedSubs) -> dict[str, str]:
    """Return the key of every tile, by name; the kernel of the settings of the run is the one that is used."""
    return {tile.name: key_of(run, tile, subs) for tile in tiles}


def stack_ahead(run: Run, layout: Layout, subs: CalibratedSubs, store: TileStore, keys: Mapping[str, str]) -> None:
    """Let workers stack the tiles that are not on disk; those with a key, which depend on no other tile."""
    if not run.executor.has_workers or run.device is not None:
        return
    tiles = [tile for tile in layout.tiles if tile.name not in store.done and keys[tile.name]]
    facts = RunFacts.of(run)
    if not facts.are_kept:
        return
    checkpoints, sky_key = run.reuse.checkpoints, ""
    if subs.sky is not None:
        sky_key = fingerprint(subs.sky)
        checkpoints.put("skies", sky_key, subs.sky)
    without_sky = replace(subs, sky=None)
    orders = [
        _TileOrder(
            facts,
            replace(tile, subs=tuple(range(len(tile.subs)))),
            [run.subs[number] for number in tile.subs],
            notes_of(run, tile.subs),
            without_sky.of(tile.subs),
            sky_key,
            keys[tile.name],
        )
        for tile in tiles
    ]
    # Deep tiles take longest; begun first, they do not keep all others waiting at the end.
    order = sorted(range(len(orders)), key=lambda number: -len(tiles[number].subs))

    def take(place: int, stacked: StackedTile) -> None:
        tile = tiles[order[place]]
        store.adopt(tile, stacked)
        run.reporter.step(steps_of([tile]))

    made = run.executor.ahead(stack_tile, [orders[number] for number in order], take)
    run.reporter.log(say("Workers stacked {n} of {total} tiles", n=len(made), total=len(layout.tiles)))


def stack_tile(order: _TileOrder, seat: Seat) -> StackedTile | None:
    """Stack a tile in a worker; None if one of its subs cannot be read, or is not what it was."""
    run = worker_run(order.facts, order.infos, order.notes, seat)
    subs = order.subs
    if order.sky_key:
        subs = replace(subs, sky=run.reuse.checkpoints.get("skies", order.sky_key, SkyMap))
    if key_of(run, order.tile, subs) != order.key:
        return None
    footprints = [footprint_of(info, run.canvas) for info in order.infos]
    planned = plan_memory(run.subs, run.canvas, [order.tile], run.settings, planes_of(run.settings), to_measure=0)
    layout = Layout([order.tile], footprints, planned.samples)
    with BlockTiles(run, layout, subs) as stacker:
        content, numbers = stacker.stack(order.tile, NoEarlierTiles())
        if stacker.failures:
            return None
    path = worker_tile_path(run.output, order.key)
    return write_stacked(run, order.tile, content, list(numbers), path)
