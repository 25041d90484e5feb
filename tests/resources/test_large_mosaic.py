"""A mosaic that takes more than the memory of the run is made within it."""

import pytest

from benchmarks.costs import cost_of
from benchmarks.engine import diagonals, grid_command, make_tiles
from zemosaic_engine.run.resources import mosaic_bytes


@pytest.mark.slow
def test_a_mosaic_larger_than_the_memory(tmp_path):
    places = diagonals(0.12)
    make_tiles(tmp_path / "tiles", places, (2048, 2048), (13, 8))
    side = max(place for place, _ in places.values()) * 2 + 2048
    options = ["--tiles", "--threads", "2", "--memory", "1GB"]
    cost = cost_of(grid_command(tmp_path / "tiles", tmp_path / "out", *options), tmp_path)
    assert mosaic_bytes((round(side), round(side)), 1) > 1.6e9
    assert cost.peak_bytes < 1.1e9
    assert not list((tmp_path / "out").glob("*.scratch"))
