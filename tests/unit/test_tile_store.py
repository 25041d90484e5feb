"""Tiles on disk: whole or not, counted and kept."""

import itertools
from types import SimpleNamespace

from zemosaic_engine.events import Reporter, TileCount
from zemosaic_engine.resume.fingerprints import file_digest
from zemosaic_engine.tiles import store as store_module
from zemosaic_engine.tiles.files import tile_path
from zemosaic_engine.tiles.store import TileStore
from zemosaic_engine.tiles.tile import StackedTile


def test_a_tile_on_disk_is_whole_if_it_is_as_it_was_written(tmp_path):
    events = []
    store = SimpleNamespace(_run=SimpleNamespace(output=tmp_path, reporter=Reporter(events.append)))
    path = tile_path(tmp_path, "tile_0001")
    path.parent.mkdir(parents=True)
    assert TileStore._is_whole(store, "tile_0001", StackedTile([], None, ""))  # nothing to be on disk
    assert not TileStore._is_whole(store, "tile_0001", StackedTile([0], None, "digest"))
    path.write_bytes(b"pixels")
    assert TileStore._is_whole(store, "tile_0001", StackedTile([0], None, file_digest(path)))
    assert not events
    assert not TileStore._is_whole(store, "tile_0001", StackedTile([0], None, "digest"))
    assert "is not as it was written" in events[0].line


def test_a_tile_that_was_written_is_counted_and_kept_only_if_it_is_whole(tmp_path, monkeypatch):
    events, kept = [], []
    monkeypatch.setattr(store_module, "write_stacked", lambda run, layout, content, members, path: (members, path))
    reuse = SimpleNamespace(keep_tile=lambda key, tile: kept.append((key, tile)))
    run = SimpleNamespace(output=tmp_path, reuse=reuse, reporter=Reporter(events.append))
    store = SimpleNamespace(
        _run=run, _keys={"tile_0001": "key"}, _counted=itertools.count(3), _layouts=[SimpleNamespace()] * 5
    )
    layout = SimpleNamespace(name="tile_0001")
    tile = TileStore._write(store, layout, None, [0, 2], False)
    assert tile == ([0, 2], tile_path(tmp_path, "tile_0001"))
    assert kept == []
    assert TileStore._write(store, layout, None, [0, 2], True) == tile
    assert kept == [("key", tile)]
    assert events == [TileCount(3, 5), TileCount(4, 5)]
