"""Figures of the registration by hand: subs that stand alone, residuals, errors, what is told."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.told_lines import told_by
from zemosaic_engine.astrometry.solution import _Run
from zemosaic_engine.astrometry.sub_frames import sub_shift
from zemosaic_engine.run.register import _report


def test_a_sub_is_alone_without_stars_or_without_others_over_its_sky():
    """Fields of 141 pixels from corner to corner, on a line: half of each covers the next, and one is far away."""
    step = 1e-5
    x = np.array([0.0, 70.0, 140.0, 400.0]) * step
    frames = SimpleNamespace(
        axes=np.stack([np.zeros((4, 3)), np.zeros((4, 3)), np.stack([x, 0 * x, 0 * x + 1.0], axis=1)], axis=1),
        shapes=np.full((4, 2), 100.0),
        scale_rad=step,
    )
    run = SimpleNamespace(frames=frames, counts=np.array([8, 7, 8, 8]))
    alone = _Run._alone(run, np.zeros(4, dtype=bool))
    # The second has too few stars, so that the first and the third have nobody but each other, 140 pixels away.
    assert alone.tolist() == [True, True, True, True]
    run.counts[1] = 8
    assert _Run._alone(run, np.array([False, True, False, False])).tolist() == [False, False, False, True]


def frame_run(**more):
    """A registration of one camera whose sensor is wider than high: u reaches 1, v 0.75."""
    frames = SimpleNamespace(
        camera=np.zeros(2, np.int64), cameras=1, span=np.array([[1.0, 0.75]] * 2), shapes=np.full((2, 2), 1000.0)
    )
    return SimpleNamespace(frames=frames, **more)


def test_residuals_are_mapped_over_the_sensor_with_their_weights():
    """Means of an eighth of the sensor, turned: what the sensor is off by; fewer than three stars say nothing."""
    places = np.array([[-0.99, -0.74]] * 3 + [[0.99, 0.74]] * 4 + [[0.3, -0.3]] * 2 + [[0.01, 0.01]] * 3)
    sub = np.tile([0, 1], 6)
    chosen = SimpleNamespace(sub=sub, places=places)
    residual = np.repeat([[0.3, -0.2], [0.1, 0.5], [9.0, 9.0], [0.0, 0.4]], [3, 4, 2, 3], axis=0)
    weight = np.ones(12)
    residual[0], weight[0] = (3.3, -0.2), 0.0
    run = frame_run(
        adjustment=SimpleNamespace(residual=residual, weight=weight), star=np.arange(12),
        detections=SimpleNamespace(only=lambda numbers: chosen),
    )  # fmt: skip
    (found,) = _Run._residual_map(run, np.ones(12, dtype=bool), 1)
    known = {(0, 0): (-0.3, 0.2), (7, 7): (-0.1, -0.5), (4, 4): (0.0, -0.4)}
    for (row, column), value in known.items():
        assert found[row, column] == pytest.approx(value)
    assert np.isfinite(found).all(axis=2).sum() == len(known)


@pytest.mark.parametrize("term", range(6))
def test_the_error_of_a_place_is_that_over_the_whole_frame(term):
    covariance = np.zeros((2, 6, 6))
    covariance[0, term, term] = 0.04
    run = frame_run(adjustment=SimpleNamespace(covariance=covariance, bend_covariance=np.zeros((1, 14, 14))))
    dense = np.stack(np.meshgrid(np.linspace(-1.0, 1.0, 41), np.linspace(-1.0, 1.0, 41)), axis=-1).reshape(-1, 2)
    shift = sub_shift(np.broadcast_to(0.2 * np.eye(6)[term], (len(dense), 6)), dense)
    error, none = _Run._errors(run)
    assert error == pytest.approx(np.sqrt(np.mean(np.sum(shift**2, axis=1))), rel=0.2)
    assert none == 0.0


def test_detections_agree_within_five_sigma_of_both_axes():
    sigma = np.hypot(0.3, 0.4)
    limit = 5.0 * sigma * np.sqrt(2.0)
    residual = np.array([[0.95 * limit, 0.0], [0.0, 1.05 * limit], [0.6 * limit, 0.7 * limit], [0.0, 0.0]])

    class Detections(SimpleNamespace):
        def __len__(self):
            return 5

    run = frame_run(
        adjustment=SimpleNamespace(residual=residual, floor_px=0.4), star=np.array([0, 1, -1, 2, 3]),
        detections=Detections(error=np.full(5, 0.3), sub=np.array([0, 0, 1, 1, 1])), counts=np.array([2, 3]),
        placed=np.ones(2, dtype=bool),
    )  # fmt: skip
    matched, tied, good = _Run._judged(run)
    assert good.tolist() == [True, False, False, True, True]
    assert matched.tolist() == [1, 2]
    assert not tied.any()  # so few are chance


def test_a_registration_is_told_with_its_figures():
    solution = SimpleNamespace(
        tied=np.array([True, True, False]), matched=np.array([40, 60, 0]), error_px=np.array([0.03, 0.04, np.nan]),
        catalogue_stars=12, group=np.array([0, 0, -1]), before_px=np.array([3.0, 4.0, np.nan]),
        after_px=np.array([0.1, 0.3, np.nan]), moved_px=np.array([0.2, 0.6, np.nan]),
    )  # fmt: skip
    subs = [SimpleNamespace(path=Path(name)) for name in ("a.fit", "b.fit", "c.fit")]
    kept, refined = (
        told_by(lambda reporter, flag=flag: _report(SimpleNamespace(solution=solution, subs=subs), reporter, flag))
        for flag in (False, True)
    )
    assert kept[:-1] == refined
    assert "2 of 3 subs tied to each other by 50 stars each" in kept[0]
    assert "12 stars of the catalogue" in kept[1]
    assert "worst sub b.fit 0.30 px" in kept[2]
    assert "no header is off by more than 0.60 px, all are kept" in kept[-1]
