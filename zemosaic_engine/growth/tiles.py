"""Lays new subs on the stacked tiles that stand, at the cost of these subs.

A tile is a mean with a known weight. A new sample changes it by the sample's own weight if the two agree within the
limits of rejection, and not at all if they do not: satellites stay out, and so do samples of stars in another seeing.
What rejection finds among all samples together is found by the next run over all subs, which stacks these tiles again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..canvas.tile_layout import TileLayout
from ..geometry import Box
from ..resume.fingerprints import file_digest, fingerprint
from ..run.run import Run
from ..settings import GridSettings
from ..stacking.block_tiles import BlockTiles
from ..stacking.layout import Layout, steps_of
from ..stacking.stack_ahead import key_of
from ..stacking.stack_tiles import put_missing
from ..survey.calibrate import CalibratedSubs
from ..tiles.files import tile_path
from ..tiles.store import NoEarlierTiles, TileStore
from ..tiles.tile import StackedTile, TileSet, read_part, read_rejections
from ..weighted_image import WeightedImage

# The mean of fewer subs does not tell which sample is wrong, and to stack them again costs little.
_LEAST_SUBS = 8


def grow_tiles(
    run: Run, before: Layout, standing: Mapping[str, str], layout: Layout, subs: CalibratedSubs
) -> tuple[TileSet, dict[str, str]]:
    """Lay the new subs of a run on its tiles.

    Parameters
    ----------
    run : Run
    before, layout : Layout
        The tiles that stand, and the same with the new subs and tiles.
    standing : mapping of str to str
        Keys of the tiles that stand, by name.
    subs : CalibratedSubs
        All subs, on the scale of the tiles.

    Returns
    -------
    tiles : TileSet
    keys : dict of str to str
        Their keys. That of a tile on which subs were laid is no key of a stacked one, so that no other run takes it
        for one.

    Raises
    ------
    SubsLost
        If a sub can no longer be read, or changed since it was measured.
    RunError
        If a file cannot be written.
    """
    laid = {tile.name: tile.subs for tile in before.tiles}
    keys, deep = {}, set()
    for tile in layout.tiles:
        key, known = standing.get(tile.name, ""), laid.get(tile.name, ())
        if not key or tile.subs != known:
            key = key_of(run, tile, subs)
            if standing.get(tile.name) and len(known) >= _LEAST_SUBS and subs.sky is not None:
                deep.add(tile.name)
                key = key and fingerprint("grown", standing[tile.name], key)
        keys[tile.name] = key
    records = {name: run.reuse.tile(standing[name], StackedTile) for name in deep}
    with (
        TileStore(run, layout.tiles, keys, replaced=deep) as store,
        BlockTiles(run, layout, subs) as stacker,
    ):
        run.reporter.expect(-steps_of(tile for tile in layout.tiles if tile.name in store.done))

        def make(tile: TileLayout) -> tuple[WeightedImage | None, Sequence[int]]:
            record = records.get(tile.name)
            if record is not None and _is_whole(run, tile, record):
                return _grown(run, stacker, tile, laid[tile.name], record)
            return stacker.stack(tile, store)

        return put_missing(run, subs, store, stacker, make), keys


def _is_whole(run: Run, tile: TileLayout, record: StackedTile) -> bool:
    """True if the file of a tile that stands is there as it was written."""
    path = tile_path(run.output, tile.name)
    return bool(record.members) and path.exists() and file_digest(path) == record.digest


def _grown(
    run: Run, stacker: BlockTiles, tile: TileLayout, known: Sequence[int], record: StackedTile
) -> tuple[WeightedImage | None, Sequence[int]]:
    """The tile that stands with its new subs, and which subs are in it."""
    whole = Box(0, tile.outer.height, 0, tile.outer.width)
    path = tile_path(run.output, tile.name)
    content = read_part(path, whole)
    if run.settings.rejection_map:
        content = replace(content, rejections=read_rejections(path, whole))
    content = replace(content, sightings=[replace(one, sub=known[one.sub]) for one in record.sightings])
    new = tuple(number for number in tile.subs if number not in known)
    part = stacker.reach(new).intersect(tile.outer)
    numbers = [known[member] for member in record.members]
    if not part.is_empty:
        alone, found = stacker.stack(replace(tile, subs=new, outer=part), NoEarlierTiles())
        if alone is not None:
            lay_on(content, alone, part.relative_to(tile.outer), run.settings)
            numbers += found
    run.reporter.step(steps_of([replace(tile, subs=tuple(known))]))
    return content, numbers


def lay_on(tile: WeightedImage, new: WeightedImage, part: Box, settings: GridSettings) -> None:
    """Bring a new image into a tile, in place.

    Parameters
    ----------
    tile : WeightedImage
        Where it has no data, it takes the new.
    new : WeightedImage
        Of the shape of `part`; NaN and weight 0 change nothing.
    part : Box
        Where it lies, counted from the first pixel of the tile.
    settings : GridSettings
        With the limits of rejection, in units of the noise of the difference that the weights tell.
    """
    pixels, weight, coverage = (layer[part.slices] for layer in (tile.pixels, tile.weight, tile.coverage))
    there = np.isfinite(new.pixels) & (new.weight > 0.0)
    alone = there & ~(weight > 0.0)
    both = there & ~alone
    total = weight + new.weight
    if settings.stack_reject_algo != "none":
        with np.errstate(divide="ignore", invalid="ignore"):
            away = (new.pixels - pixels) * np.sqrt(weight * new.weight / total)
        low, high = both & (away < -settings.stack_kappa_low), both & (away > settings.stack_kappa_high)
        both &= ~(low | high)
        if tile.rejections is not None:
            for rejected, counts in zip((low, high), tile.rejections, strict=True):
                counts[part.slices] += rejected
    pixels[both] += (new.weight[both] / total[both]) * (new.pixels[both] - pixels[both])
    pixels[alone] = new.pixels[alone]
    taken = both | alone
    weight[taken] = total[taken]
    coverage[taken] += new.coverage[taken]
