"""Tiles on disk: those that an earlier run left, those of this run, and the one that is being written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from astropy.wcs import WCS

from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..errors import Cancelled
from ..events import CancelToken
from ..geometry import Box
from ..machine.threads import Begun
from ..resume.fingerprints import file_digest
from ..resume.reuse import StackedTile
from ..run import provenance
from ..run.request import GridRequest
from . import files as tile_files
from .tile import TilePixels, examine, read_part, write_tile


class TileShelf:
    """Puts tiles on disk, each while the next one is stacked.

    A context manager: leaving it waits for the tile that is being written.

    Parameters
    ----------
    request : GridRequest
    canvas : CanvasPlan
    layouts : sequence of TileLayout
        All tiles of the run.
    done : mapping of str to StackedTile
        Those that are on disk, by name.
    on_written : callable
        ``on_written(layout, tile, unread)`` is called, on another thread, once a tile is on disk.
    cancel : CancelToken
    """

    def __init__(
        self,
        request: GridRequest,
        canvas: CanvasPlan,
        layouts: Sequence[TileLayout],
        done: Mapping[str, StackedTile],
        on_written: Callable[[TileLayout, StackedTile, set[int]], None],
        cancel: CancelToken,
    ) -> None:
        self._request, self._canvas, self._cancel = request, canvas, cancel
        self._on_written = on_written
        self._layouts = list(layouts)
        self._places = {name: tile.places for name, tile in done.items()}
        self._done = dict(done)
        self._writing: tuple[str, Begun[StackedTile]] | None = None

    def __enter__(self) -> TileShelf:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writing is None:
            return
        if kind is None:
            self._finish()
        else:
            with suppress(Cancelled):  # then the writer stops by itself
                self._writing[1].wait()

    def with_content(self) -> list[TileLayout]:
        """The tiles that hold a valid pixel, in the order of the run."""
        return [layout for layout in self._layouts if self._places.get(layout.name)]

    def members(self, layout: TileLayout) -> set[int]:
        """Numbers of the subs that are in a tile."""
        return {layout.subs[place] for place in self._places[layout.name]}

    def read_part(self, layout: TileLayout, part: Box) -> TilePixels:
        """Pixels of a tile in a box of the canvas; waits for the tile if it is on its way."""
        if self._writing is not None and self._writing[0] == layout.name:
            self._finish()
        path = tile_files.tile_path(self._request.output, layout.name)
        return read_part(path, part.relative_to(layout.outer))

    def put(self, layout: TileLayout, content: TilePixels | None, numbers: Sequence[int], unread: set[int]) -> None:
        """Begin to write a tile, once the one before is on disk.

        Parameters
        ----------
        layout : TileLayout
        content : TilePixels or None
            Not to be changed any more; None without a valid pixel.
        numbers : sequence of int
            The subs that are in it.
        unread : set of int
            Those that could not be read until now.
        """
        self._finish()
        self._places[layout.name] = places = [layout.subs.index(number) for number in numbers]
        self._writing = layout.name, Begun(lambda: self._write(layout, content, places, unread), self._cancel)

    def all(self) -> dict[str, StackedTile]:
        """Every tile, by name, once the last one is on disk."""
        self._finish()
        return self._done

    def _finish(self) -> None:
        if self._writing is not None:
            name, begun = self._writing
            self._done[name] = begun.result()
            self._writing = None

    def _write(
        self, layout: TileLayout, content: TilePixels | None, places: list[int], unread: set[int]
    ) -> StackedTile:
        tile = StackedTile([], None, "")
        if content is not None:
            path = tile_files.tile_path(self._request.output, layout.name)
            cards = provenance.tile_cards(layout.inner, layout.outer)
            write_tile(path, content, tile_wcs(layout, self._canvas), cards, self._cancel.check)
            health = examine(content.pixels)
            self._cancel.check()
            tile = StackedTile(places, health, file_digest(path))
        self._on_written(layout, tile, unread)
        return tile


def tile_wcs(layout: TileLayout, canvas: CanvasPlan) -> WCS:
    """WCS of the pixels of a tile."""
    wcs = (layout.grid or canvas).wcs.deepcopy()
    wcs.wcs.crpix -= (layout.outer.x0, layout.outer.y0)
    wcs.wcs.set()
    return wcs
