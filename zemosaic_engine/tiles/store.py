"""The tiles of a run on disk: those of an earlier run, those of this run, and the one being written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from astropy.wcs import WCS

from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..errors import Cancelled, RunError
from ..events import TileCount
from ..geometry import Box
from ..machine.threads import BackgroundTask, run_all
from ..resume.fingerprints import file_digest
from ..run import provenance
from ..run.run import Run
from ..sentences import say
from ..weighted_image import Rejections, WeightedImage
from .files import clear_tiles, tile_path, worker_tile_path
from .tile import StackedTile, Tile, TileSet, examine, read_part, read_rejections, write_tile


class EarlierTiles(Protocol):
    """The tiles that were stacked before one."""

    def with_content(self) -> list[TileLayout]:
        """As `TileStore.with_content`."""
        ...

    def members(self, layout: TileLayout) -> set[int]:
        """As `TileStore.members`."""
        ...

    def read_part(self, layout: TileLayout, part: Box) -> WeightedImage:
        """As `TileStore.read_part`."""
        ...

    def read_rejections(self, layout: TileLayout, part: Box) -> Rejections:
        """As `TileStore.read_rejections`."""
        ...


class NoEarlierTiles:
    """No tile was stacked before: a worker makes all pixels of its tile."""

    def with_content(self) -> list[TileLayout]:
        """Return nothing."""
        return []

    def members(self, layout: TileLayout) -> set[int]:
        """Raise: there is no such tile."""
        raise KeyError(layout.name)

    def read_part(self, layout: TileLayout, part: Box) -> WeightedImage:
        """Raise: there is no such tile."""
        raise KeyError(layout.name)

    def read_rejections(self, layout: TileLayout, part: Box) -> Rejections:
        """Raise: there is no such tile."""
        raise KeyError(layout.name)


class TileStore:
    """Puts tiles on disk, each while the next one is stacked.

    Tiles of an earlier run that still hold are used; all other files of tiles are removed. A context manager: leaving
    it waits for the tile that is being written.

    Parameters
    ----------
    run : Run
    layouts : sequence of TileLayout
        All tiles of the run.
    keys : mapping of str to str
        What each tile depends on, by its name; a tile whose key is empty is never used again.
    replaced : collection of str
        Names of tiles whose files stay until others take their place.
    """

    def __init__(
        self, run: Run, layouts: Sequence[TileLayout], keys: Mapping[str, str], replaced: Collection[str] = ()
    ) -> None:
        self._run, self._layouts, self._keys = run, list(layouts), keys
        self._done = self._of_earlier_runs()
        clear_tiles(run.output, keep={*self._done, *replaced})
        self._counted = itertools.count(len(self._done) + 1)
        self._members = {name: tile.members for name, tile in self._done.items()}
        self._writing: tuple[str, BackgroundTask[StackedTile]] | None = None

    def __enter__(self) -> TileStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writing is None:
            return
        if kind is None:
            self._finish()
        else:
            with suppress(Cancelled):  # then the writer stops by itself
                self._writing[1].wait()

    @property
    def done(self) -> Mapping[str, StackedTile]:
        """The tiles that are on disk, by name."""
        return self._done

    def missing(self) -> list[TileLayout]:
        """Return the tiles that are not on disk yet, in the order of the run."""
        return [layout for layout in self._layouts if layout.name not in self._done]

    def with_content(self) -> list[TileLayout]:
        """Return the tiles that hold a valid pixel, in the order of the run."""
        return [layout for layout in self._layouts if self._members.get(layout.name)]

    def members(self, layout: TileLayout) -> set[int]:
        """Return the numbers of the subs that are in a tile."""
        return {layout.subs[member] for member in self._members[layout.name]}

    def read_part(self, layout: TileLayout, part: Box) -> WeightedImage:
        """Read the pixels of a tile in a box of the canvas; waits for the tile if it is being written."""
        return read_part(self._whole(layout), part.relative_to(layout.outer))

    def read_rejections(self, layout: TileLayout, part: Box) -> Rejections:
        """Read what was rejected in a box of the canvas, from a tile of a run that keeps it; waits as `read_part`."""
        return read_rejections(self._whole(layout), part.relative_to(layout.outer))

    def put(self, layout: TileLayout, content: WeightedImage | None, numbers: Sequence[int], unread: set[int]) -> None:
        """Begin to write a tile, once the one before is on disk.

        Parameters
        ----------
        layout : TileLayout
        content : WeightedImage or None
            Not to be changed any more; None without a valid pixel.
        numbers : sequence of int
            The subs that are in it.
        unread : set of int
            The subs that could not be read so far; a tile of which one is missing is stacked again by the next run.
        """
        self._finish()
        self._members[layout.name] = members = [layout.subs.index(number) for number in numbers]
        whole = not unread & set(layout.subs)
        self._writing = layout.name, self._begin(lambda: self._write(layout, content, members, whole))

    def write(self, layout: TileLayout, content: WeightedImage, numbers: Sequence[int]) -> None:
        """Write a tile on this thread; several threads may, each another tile.

        Parameters
        ----------
        layout, content, numbers
            As for `put`.
        """
        members = [layout.subs.index(number) for number in numbers]
        self._done[layout.name] = self._write(layout, content, members, whole=True)
        self._members[layout.name] = members

    def adopt(self, layout: TileLayout, tile: StackedTile) -> None:
        """Take over a tile that a worker has stacked: its file is moved to its place."""
        if tile.members:
            worker_tile_path(self._run.output, self._keys[layout.name]).replace(
                tile_path(self._run.output, layout.name)
            )
        self._done[layout.name], self._members[layout.name] = tile, tile.members
        self._run.reuse.keep_tile(self._keys[layout.name], tile)
        self._run.reporter.sink(TileCount(next(self._counted), len(self._layouts)))

    def finish(self, together: TileSet | None = None) -> TileSet:
        """Return the tiles of the run in their order, once the last one is on disk.

        Parameters
        ----------
        together : TileSet, optional
            Without tiles, with what was measured on the subs.

        Raises
        ------
        RunError
            If no tile has a valid pixel.
        """
        self._finish()
        return self._run.interruptibly(lambda: self._together(together or TileSet()))

    def _together(self, together: TileSet) -> TileSet:
        """Fill the set of tiles with those on disk."""
        run = self._run
        for layout in self._layouts:
            tile = self._done[layout.name]
            if tile.health is None:
                run.reporter.log(say("{name}: no valid pixels, left out", name=layout.name), "WARN")
                together.left_out.append(layout.name)
                continue
            path, wcs, on_canvas = tile_path(run.output, layout.name), tile_wcs(layout, run.canvas), layout.grid is None
            together.tiles.append(
                Tile(layout.name, path, wcs, layout.outer, layout.inner, on_canvas, tile.health, tile.digest)
            )
            together.subs.append(len(tile.members))
            together.used.update(layout.subs[member] for member in tile.members)
            together.sightings.extend(replace(one, sub=layout.subs[one.sub]) for one in tile.sightings)
        if not together.tiles:
            raise RunError(
                say(
                    "No tile has a valid pixel: every sub was set aside (rejected_subs.csv gives the "
                    "reasons), or all pixels are invalid, for example above saturation_adu."
                )
            )
        return together

    def _begin(self, write: Callable[[], StackedTile]) -> BackgroundTask[StackedTile]:
        return BackgroundTask(write, self._run.cancel)

    def _whole(self, layout: TileLayout) -> Path:
        """The file of a tile, once it is written."""
        if self._writing is not None and self._writing[0] == layout.name:
            self._finish()
        return tile_path(self._run.output, layout.name)

    def _finish(self) -> None:
        if self._writing is not None:
            name, task = self._writing
            self._done[name] = task.result()
            self._writing = None

    def _write(self, layout: TileLayout, content: WeightedImage | None, members: list[int], whole: bool) -> StackedTile:
        run = self._run
        tile = write_stacked(run, layout, content, members, tile_path(run.output, layout.name))
        if whole:
            run.reuse.keep_tile(self._keys[layout.name], tile)
        run.reporter.sink(TileCount(next(self._counted), len(self._layouts)))
        return tile

    def _of_earlier_runs(self) -> dict[str, StackedTile]:
        """The tiles that need not be stacked again, by name; their files are whole."""
        run = self._run

        def look(layout: TileLayout) -> StackedTile | None:
            tile = run.reuse.tile(self._keys[layout.name], StackedTile)
            return tile if tile is not None and self._is_whole(layout.name, tile) else None

        looked = run_all(look, self._layouts, run.threads, run.cancel)
        found = {layout.name: tile for layout, tile in zip(self._layouts, looked, strict=True) if tile is not None}
        if found:
            run.reporter.log(
                say("{n} of {n2} tiles were stacked by an earlier run", n=len(found), n2=len(self._layouts))
            )
            run.reporter.sink(TileCount(len(found), len(self._layouts)))
        return found

    def _is_whole(self, name: str, tile: StackedTile) -> bool:
        if not tile.members:
            return True
        path = tile_path(self._run.output, name)
        try:
            whole = file_digest(path) == tile.digest
        except FileNotFoundError:
            return False
        if not whole:
            self._run.reporter.log(say("{name} is not as it was written: it is stacked again", name=path.name), "WARN")
        return whole


def write_stacked(
    run: Run, layout: TileLayout, content: WeightedImage | None, members: list[int], path: Path
) -> StackedTile:
    """Write a stacked tile and examine it.

    Parameters
    ----------
    run : Run
    layout : TileLayout
    content : WeightedImage or None
        None without a valid pixel; nothing is written then.
    members : list of int
        Which of the subs of the layout are in it.
    path : Path
        Where to write.
    """
    if content is None:
        return StackedTile([], None, "")
    infos = [run.subs[layout.subs[member]] for member in members]
    source = infos[0].path.name if run.takes_tiles else ""
    scale = (layout.grid or run.canvas).pixel_scale_arcsec
    cards = provenance.tile_cards(layout.inner, layout.outer, source=source, infos=infos, pixel_scale_arcsec=scale)
    if not run.settings.rejection_map:
        content = replace(content, rejections=None)
    write_tile(path, content, tile_wcs(layout, run.canvas), cards, run.cancel.check)
    health = examine(content)
    run.cancel.check()
    sightings = [replace(one, sub=layout.subs.index(one.sub)) for one in content.sightings]
    return StackedTile(members, health, file_digest(path), sightings)


def tile_wcs(layout: TileLayout, canvas: CanvasPlan) -> WCS:
    """Return the WCS of the pixels of a tile."""
    wcs = (layout.grid or canvas).wcs.deepcopy()
    wcs.wcs.crpix -= (layout.outer.x0, layout.outer.y0)
    wcs.wcs.set()
    return wcs
