"""The compiled sums of the large least squares against plain matrix products."""

import numpy as np
import pytest

from zemosaic_engine.kernels import least_squares
from zemosaic_engine.survey.elimination import Layout, Records, _Equations


@pytest.fixture
def records():
    rng = np.random.default_rng(3)
    subs, patches, rows = 7, 30, 400
    layout = Layout(np.arange(subs) % 2, np.arange(subs) % 3, 2, 3, 4)
    sub = np.concatenate([np.sort(rng.integers(0, subs, rows // 2)), rng.integers(0, subs, rows // 2)]).astype(np.int32)
    weight = rng.uniform(0, 2, rows).astype(np.float32)
    weight[::17] = 0.0
    local = rng.normal(size=(rows, 8)).astype(np.float32)
    return Records(layout, sub, local, rng.normal(size=rows), rng.integers(0, patches, rows).astype(np.int32), weight)


def design_of(records):
    """The design, a row a record."""
    layout, rows = records.layout, np.arange(records.sub.size)
    design = np.zeros((rows.size, layout.total))
    camera = layout.camera[records.sub]
    for j in range(4):
        design[rows, 4 * records.sub + j] = records.local[:, j]
        design[rows, layout.pattern_start + layout.terms * camera + j] = records.local[:, 4 + j]
    return design


def unknowns(layout, rng):
    x = rng.normal(size=layout.total)
    x[layout.session_start : layout.pattern_start] = 0.0
    return x


def parts(layout, x):
    return x[: layout.session_start].reshape(-1, 4), x[layout.pattern_start :].reshape(layout.cameras, layout.terms)


def test_products_and_sums(records):
    layout, design, total = records.layout, design_of(records), records.total_weight()
    x = unknowns(layout, np.random.default_rng(4))
    camera, out = layout.camera.astype(np.int32), np.empty(records.sub.size)
    least_squares.design_product(records.local, records.sub, camera, *parts(layout, x), out)
    np.testing.assert_allclose(out, design @ x, atol=1e-9)

    level, back = np.full(total.size, np.nan), np.full(layout.total, np.nan)
    back[layout.session_start : layout.pattern_start] = 0.0
    least_squares.eliminated_sums(
        records.local, records.sub, camera, records.patch, records.weight, total, records.value, level,
        *parts(layout, back),
    )  # fmt: skip
    mean = np.bincount(records.patch, records.weight * records.value, total.size) / total
    np.testing.assert_allclose(level, mean, atol=1e-12)
    np.testing.assert_allclose(back, design.T @ (records.weight * (records.value - mean[records.patch])), atol=1e-9)


def test_blocks_of_the_normal_matrix(records):
    subs, total = records.layout.subs, records.total_weight()
    gram, own = np.full((subs, 8, 8), np.nan), np.full((subs, 4, 4), np.nan)
    least_squares.normal_blocks(records.local, records.sub, records.patch, records.weight, total, gram, own)
    kept = records.weight * (1.0 - records.weight / total[records.patch])
    for number in range(subs):
        mine = records.local[records.sub == number].astype(np.float64)
        weight = records.weight[records.sub == number].astype(np.float64)
        np.testing.assert_allclose(gram[number], mine.T @ (weight[:, None] * mine), rtol=1e-5, atol=1e-5)
        own_weight = kept[records.sub == number].astype(np.float64)
        np.testing.assert_allclose(
            own[number], mine[:, :4].T @ (own_weight[:, None] * mine[:, :4]), rtol=1e-5, atol=1e-5
        )


def test_the_whole_normal_matrix(records):
    design, weight, total = design_of(records), records.weight.astype(np.float64), records.total_weight()
    member = np.zeros((total.size, weight.size))
    member[records.patch, np.arange(weight.size)] = weight
    coupling = member @ design
    wanted = design.T @ (weight[:, None] * design) - coupling.T @ (coupling / total[:, None])
    np.testing.assert_allclose(_Equations(records).normal_matrix(), wanted, atol=1e-9)
