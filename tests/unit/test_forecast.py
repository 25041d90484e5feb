"""The forecast of a run: how its seconds grow."""

from types import SimpleNamespace

import pytest

from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking import forecast as forecast_module
from zemosaic_engine.stacking.forecast import expected_seconds, forecast


def test_seconds_grow_with_pixels_and_threads_divide_most_of_the_work():
    begin = expected_seconds(0.0, 0.0, 4)
    for more in ((100.0, 0.0, 1, 0), (0.0, 100.0, 1, 0), (0.0, 0.0, 1, 10)):
        alone = expected_seconds(*more) - begin
        assert alone > 0.0
        assert expected_seconds(2.0 * more[0], 2.0 * more[1], 1, 2 * more[3]) - begin == pytest.approx(2.0 * alone)
        assert alone / 4.0 < expected_seconds(more[0], more[1], 4, more[3]) - begin < alone / 2.0


def test_a_forecast_counts_the_pixels_of_all_subs(monkeypatch):
    def seconds_of(*shapes, further=0):
        subs = [SimpleNamespace(shape=shape, channels=3) for shape in shapes]
        canvas = SimpleNamespace(wcs=None, shape=(500, 400), pixel_scale_arcsec=2.0)
        return forecast(subs, canvas, [], GridSettings(threads=1), further).seconds

    monkeypatch.setattr(forecast_module, "objects_in_field", lambda wcs, shape: [])
    monkeypatch.setattr(forecast_module, "size_of_field", lambda wcs, shape: (1.0, 1.0))
    monkeypatch.setattr(forecast_module, "plan_memory", lambda *given: SimpleNamespace(peak=10, process=5))
    one = seconds_of((100, 4000))
    assert one == pytest.approx(expected_seconds(0.4, 0.2, 1))
    assert seconds_of((4000, 100)) == pytest.approx(one)
    assert seconds_of((100, 4000), (200, 300), further=2) == pytest.approx(expected_seconds(0.92, 0.2, 1))
