"""The compiled sums of the large least squares against plain matrix products."""

import numpy as np
import pytest

from zemosaic_engine.kernels import least_squares
from zemosaic_engine.survey.elimination import Layout, Mates, Prior, Records, _Equations, _ManySystem


@pytest.fixture
def records():
    return made_up(0)


def made_up(fixed, is_split=False):
    """Records with entries for so many unknowns of fixed patterns, three a record."""
    rng = np.random.default_rng(3)
    subs, patches, rows = 7, 30, 400
    layout = Layout(np.arange(subs) % 2, np.arange(subs) % 3, 2, 3, fixed)
    sub = np.concatenate([np.sort(rng.integers(0, subs, rows // 2)), rng.integers(0, subs, rows // 2)]).astype(np.int32)
    weight = rng.uniform(0, 2, rows).astype(np.float32)
    weight[::17] = 0.0
    local = rng.normal(size=(rows, 12)).astype(np.float32)
    patch = rng.integers(0, patches, rows).astype(np.int32)
    entries = (None, None)
    if fixed:
        at = np.stack([rng.permutation(fixed)[:3] for _ in range(rows)]) + layout.fixed_start
        entries = rng.normal(size=(rows, 3)).astype(np.float32), at.astype(np.int32)
    split = layout.fixed_start + 2 + np.arange(subs) if is_split else None
    return Records(layout, sub, local, rng.normal(size=rows), patch, weight, *entries, split)


def design_of(records):
    """The design, a row a record."""
    layout, rows = records.layout, np.arange(records.sub.size)
    design = np.zeros((rows.size, layout.total))
    camera, session = layout.camera[records.sub], layout.session[records.sub]
    for j in range(4):
        design[rows, 4 * records.sub + j] = records.local[:, j]
    for j in range(5):
        design[rows, layout.pattern_start + 5 * camera + j] = records.local[:, 4 + j]
    for j in range(3):
        design[rows, layout.session_start + 8 * session + 5 + j] = records.local[:, 9 + j]
    if records.fixed is not None:
        for j in range(records.fixed.shape[1]):
            design[rows, records.fixed_at[:, j]] = records.fixed[:, j]
    if records.split is not None:
        first, alone = design[:, : 4 * layout.subs : 4].copy(), design[:, records.split].copy()
        design[:, : 4 * layout.subs : 4], design[:, records.split] = first + alone, first
    return design


@pytest.mark.parametrize("made", [(0,), (9,), (9, True)])
def test_products_and_sums(made):
    records = made_up(*made)
    layout, design, total = records.layout, design_of(records), records.total_weight()
    equations = _Equations(records)
    x = np.random.default_rng(4).normal(size=layout.total)
    np.testing.assert_allclose(equations.product(x), design @ x, atol=1e-9)
    back, level = equations.back(records.value)
    mean = np.bincount(records.patch, records.weight * records.value, total.size) / total
    np.testing.assert_allclose(level, mean, atol=1e-12)
    np.testing.assert_allclose(equations.means(records.value), mean, atol=1e-12)
    np.testing.assert_allclose(back, design.T @ (records.weight * (records.value - mean[records.patch])), atol=1e-9)


def test_blocks_of_the_normal_matrix(records):
    subs, total = records.layout.subs, records.total_weight()
    gram, own = np.full((subs, 12, 12), np.nan), np.full((subs, 4, 4), np.nan)
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


@pytest.mark.parametrize("made", [(0,), (9,), (9, True)])
def test_the_whole_normal_matrix(made):
    records = made_up(*made)
    design, weight, total = design_of(records), records.weight.astype(np.float64), records.total_weight()
    member = np.zeros((total.size, weight.size))
    member[records.patch, np.arange(weight.size)] = weight
    coupling = member @ design
    wanted = design.T @ (weight[:, None] * design) - coupling.T @ (coupling / total[:, None])
    np.testing.assert_allclose(_Equations(records).normal_matrix(), wanted, atol=1e-9)


def test_the_coarse_normal_matrix_of_many_subs(records):
    """Of groups of one sub each it is the whole one, with the prior."""
    from scipy.sparse import csr_array

    layout = records.layout
    mates = Mates.of(np.arange(layout.subs), records.sub, records.patch)
    prior = Prior(csr_array(0.5 * np.eye(layout.total)), np.zeros(layout.total), [])
    system = _ManySystem(records, prior, mates, np.ones((layout.total, 1)))
    gram, own = np.empty((layout.subs, 12, 12)), np.empty((layout.subs, 4, 4))
    total = records.total_weight()
    least_squares.normal_blocks(records.local, records.sub, records.patch, records.weight, total, gram, own)
    wanted = _Equations(records).normal_matrix() + 0.5 * np.eye(layout.total)
    np.testing.assert_allclose(system._coarse_normal(mates, gram), wanted, atol=2e-4)
