"""The kernels of the registration against their slow definitions."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from zemosaic_engine.astrometry.adjustment import adjust
from zemosaic_engine.astrometry.coarse import shared_basis
from zemosaic_engine.astrometry.normal_equations import Anchors, Detections, Prior, System, Terms, hold_cameras
from zemosaic_engine.astrometry.sub_frames import SubFrames, distortion_terms, local_axes, sub_shift
from zemosaic_engine.kernels import adjustment, centroids, star_pairs

RNG = np.random.default_rng(4)
GRBG = np.array([[1, 0], [2, 1]])


# ---------------------------------------------------------------- places of stars


def bayer_star(x, y, sigma, light, sky, noise, side=41, pattern=GRBG):
    rows, columns = np.mgrid[0:side, 0:side]
    colour = pattern[rows % 2, columns % 2]
    shape = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2)
    pixels = np.asarray(light)[colour] * shape + np.asarray(sky)[colour] + RNG.normal(0.0, noise, (side, side))
    return pixels.astype(np.float32)


def slow_fit(pixels, pattern, half, start):
    """The same least squares by SciPy: x, y, sigma."""
    x0, y0 = round(start[0]) - half, round(start[1]) - half
    rows, columns = np.mgrid[y0 : y0 + 2 * half + 1, x0 : x0 + 2 * half + 1]
    stamp = pixels[y0 : y0 + 2 * half + 1, x0 : x0 + 2 * half + 1].astype(float)
    colour = pattern[rows % 2, columns % 2]
    count = pattern.max() + 1

    def rest(p):
        shape = np.exp(-0.5 * ((columns - p[0]) ** 2 + (rows - p[1]) ** 2) / np.exp(2.0 * p[2]))
        return (stamp - p[3:][2 * colour] * shape - p[3:][2 * colour + 1]).ravel()

    first = np.concatenate([[*start, np.log(1.3)], np.tile([stamp.max() - np.median(stamp), np.median(stamp)], count)])
    found = least_squares(rest, first, x_scale=np.maximum(np.abs(first), 1.0), xtol=1e-12, ftol=1e-14, gtol=1e-12)
    variance = np.sum(found.fun**2) / (stamp.size - len(first))
    covariance = np.linalg.inv(found.jac.T @ found.jac) * variance
    return found.x[0], found.x[1], np.exp(found.x[2]), np.sqrt(0.5 * (covariance[0, 0] + covariance[1, 1]))


@pytest.mark.parametrize("pattern", [GRBG, np.zeros((2, 2), dtype=np.int64)])
def test_the_fit_is_the_least_squares_fit(pattern):
    pixels = bayer_star(20.3, 19.6, 1.4, [900.0, 700.0, 400.0], [500.0, 600.0, 450.0], 12.0, pattern=pattern)
    table = np.array([[20.0, 20.0, 0.0, 1.3, 0.0, 0.0]])
    centroids.fit_stars(pixels, pattern, int(pattern.max()) + 1, 12.0, 7, 60, table)
    x, y, sigma, error = slow_fit(pixels, pattern, 7, (20.0, 20.0))
    np.testing.assert_allclose(table[0, [0, 1, 3]], [x, y, sigma], atol=2e-4)
    assert table[0, 2] == pytest.approx(error, rel=0.02)


def test_a_hot_pixel_on_the_wing_does_not_pull():
    clean = bayer_star(20.3, 19.6, 1.4, [900.0, 700.0, 400.0], [500.0, 600.0, 450.0], 5.0)
    hot = clean.copy()
    hot[22, 24] += 3000.0
    places = []
    for pixels in (clean, hot):
        table = np.array([[20.0, 20.0, 0.0, 1.3, 0.0, 0.0]])
        centroids.fit_stars(pixels, GRBG, 3, 5.0, 7, 60, table)
        places.append(table[0, :2].copy())
    np.testing.assert_allclose(places[0], places[1], atol=0.01)


def test_stars_at_the_edge_or_beside_invalid_pixels_have_no_error():
    pixels = bayer_star(20.0, 20.0, 1.4, [900.0] * 3, [500.0] * 3, 5.0)
    pixels[20, 20] = np.nan
    table = np.array([[20.0, 20.0, 0.0, 1.3, 0.0, 0.0], [3.0, 20.0, 0.0, 1.3, 0.0, 0.0]])
    centroids.fit_stars(pixels, GRBG, 3, 5.0, 7, 60, table)
    assert np.isnan(table[:, 2]).all()


def test_quads_are_summed_without_their_brightest():
    pixels, level = (
        RNG.normal(100.0, 5.0, (9, 12)).astype(np.float32),
        RNG.normal(100.0, 2.0, (2, 2)).astype(np.float32),
    )
    pixels[3, 4] = np.nan
    light = np.empty((4, 6), dtype=np.float32)
    centroids.quad_light(pixels, level, light)
    above = pixels[:8].reshape(4, 2, 6, 2).transpose(0, 2, 1, 3) - level
    slow = above.sum(axis=(2, 3)) - above.max(axis=(2, 3))
    np.testing.assert_allclose(light, slow, atol=1e-3)
    assert np.isnan(light[1, 2])


# ---------------------------------------------------------------- matching


def test_the_best_shift_is_that_of_all_pairs():
    a = RNG.uniform(0.0, 300.0, (25, 2))
    moved = a[:12] + np.array([7.3, -4.1]) + RNG.normal(0.0, 0.3, (12, 2))
    b = np.concatenate([moved, RNG.uniform(0.0, 300.0, (13, 2))])
    x, y, count = star_pairs.best_shift(a, b, 15.0, 2.0)
    offsets = (b[None] - a[:, None]).reshape(-1, 2)
    offsets = offsets[(np.abs(offsets) <= 15.0).all(axis=1)]
    near = np.hypot(*(offsets[:, None] - offsets[None]).transpose(2, 0, 1)) < 2.0
    assert count == near.sum(axis=1).max()
    np.testing.assert_allclose([x, y], (7.3, -4.1), atol=0.4)


def test_pairs_find_a_turn_that_no_shift_explains():
    turn = 1.008 * np.exp(0.008j)
    a = RNG.uniform(-500.0, 500.0, (30, 2))
    moved = (a[:, 0] + 1j * a[:, 1]) * turn + 40.0 - 25.0j
    b = np.stack([moved.real, moved.imag], axis=1)[RNG.permutation(30)][:22] + RNG.normal(0.0, 0.2, (22, 2))
    re, im, x, y, matched, trials = star_pairs.best_turn(a, b, 76.0, 0.012, 0.015, 2.5)
    assert matched >= 20
    assert trials > 0
    partner = np.empty(30, dtype=np.int64)
    re, im, x, y, count = star_pairs.refine_turn(a, b, re, im, x, y, 2.5, 4, partner)
    assert count == 22 == np.count_nonzero(partner >= 0)
    np.testing.assert_allclose([re, im, x, y], [turn.real, turn.imag, 40.0, -25.0], atol=0.3, rtol=1e-3)


# ---------------------------------------------------------------- the adjustment


def small_problem():
    """Three subs of two cameras, twelve stars, everything at random."""
    poles = np.array([[1.0, 0.0, 0.0], [1.0, 0.002, 0.001], [1.0, -0.001, 0.002]])
    poles /= np.linalg.norm(poles, axis=1, keepdims=True)
    axes = np.stack([*local_axes(poles), poles], axis=1)
    scale = 1e-5
    matrix = np.stack([scale * np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) for t in (0.0, 0.4, 2.0)])
    camera, shapes = np.array([0, 1, 0]), np.full((3, 2), 400)
    frames = SubFrames(axes, matrix, np.full((3, 2), 199.5), np.full(3, 200.0), camera, shapes)
    sub = np.repeat(np.arange(3), 12)
    star = np.tile(np.arange(12), 3)
    vector = frames.to_sky(np.zeros(12, dtype=np.int64), RNG.uniform(-150.0, 150.0, (12, 2)))
    pixels = frames.from_sky(sub, vector[star]) + RNG.normal(0.0, 0.5, (36, 2))
    detections = Detections(sub, pixels / 200.0, pixels, RNG.uniform(0.02, 0.1, 36))
    return frames, detections, star, vector


def test_gather_is_the_transpose_of_the_model():
    frames, detections, _, _ = small_problem()
    phi = distortion_terms(detections.places, frames.span[detections.sub])
    terms, bend = RNG.normal(size=(3, 6)), RNG.normal(size=(2, 9, 2))
    shift, h = np.empty((36, 2)), RNG.normal(size=(36, 2))
    adjustment.model_shift(terms, bend, detections.sub, frames.camera, detections.places, phi, shift)
    of_subs, of_cameras = np.empty_like(terms), np.empty_like(bend)
    adjustment.gather(h, detections.sub, frames.camera, detections.places, phi, of_subs, of_cameras)
    assert np.vdot(shift, h) == pytest.approx(np.vdot(terms, of_subs) + np.vdot(bend, of_cameras))
    slow = sub_shift(terms[detections.sub], detections.places)
    slow += np.einsum("nm,nma->na", phi, bend[frames.camera[detections.sub]])
    np.testing.assert_allclose(shift, slow, atol=1e-12)


def test_places_are_those_of_the_tangent_plane():
    frames, detections, star, vector = small_problem()
    sub, pixels = detections.sub, detections.pixels
    plane = np.einsum("nij,nj->ni", frames.matrix[sub], pixels)
    slow = frames.axes[sub, 2] + np.einsum("nk,nkc->nc", plane, frames.axes[sub, :2])
    slow /= np.linalg.norm(slow, axis=1, keepdims=True)
    np.testing.assert_allclose(frames.to_sky(sub, pixels), slow, atol=1e-15)
    np.testing.assert_allclose(frames.from_sky(sub, slow), pixels, atol=1e-8)
    assert np.isnan(frames.from_sky(sub, -slow)).all()
    slopes = frames.slopes(sub, vector[star], 1e-5)
    for k, axis in enumerate(local_axes(vector[star])):
        steps = [frames.from_sky(sub, vector[star] + sign * 1e-5 * axis) for sign in (0.5, -0.5)]
        np.testing.assert_allclose(slopes[:, :, k], steps[0] - steps[1], atol=1e-9)


def test_what_groups_share_is_the_matrix_between_them():
    """The small matrix, summed star by star, is that of the large one for terms that groups and cameras share."""
    frames, detections, star, _ = small_problem()
    prior = Prior(Terms.zero(frames), np.full((2, 4), 0.3))
    system = System(frames, detections, star, None)
    weight, hold = RNG.uniform(1.0, 50.0, 36), RNG.uniform(0.1, 4.0, (3, 6))
    normal = system.linearised(Terms.zero(frames), prior, hold, np.array([0.4, 0.2]), weight)
    groups, size = system.groups, len(normal.coarse.matrix)
    assert groups.count >= 2
    columns = []
    for column in np.eye(size):
        of_groups = column[: 6 * groups.count].reshape(-1, 6)
        of_subs = np.einsum("nij,nj->ni", groups.basis, of_groups[groups.group])
        out = normal.multiply(Terms(of_subs, column[6 * groups.count :].reshape(-1, 9, 2)))
        summed = np.zeros((groups.count, 6))
        np.add.at(summed, groups.group, np.einsum("nij,ni->nj", groups.basis, out.of_subs))
        columns.append(np.concatenate([summed.ravel(), out.of_cameras.ravel()]))
    np.testing.assert_allclose(normal.coarse.matrix, np.stack(columns, axis=1), atol=1e-6)


def test_a_group_moves_as_one_on_the_sky():
    """Subs that are turned against each other: terms of their group move a place of the sky alike on all of them."""
    frames, _, _, vector = small_problem()
    terms, moved = RNG.normal(size=6), []
    basis = shared_basis(frames, np.zeros(3, dtype=np.int64), 1, 1e-5)
    for number in range(3):
        places = frames.from_sky(np.full(12, number), vector) / frames.half[number]
        shift = sub_shift(np.broadcast_to(basis[number] @ terms, (12, 6)), places)
        moved.append(np.einsum("ij,nj->ni", frames.matrix[number], shift) / 1e-5)
    np.testing.assert_allclose(moved[1:], np.broadcast_to(moved[0], (2, 12, 2)), atol=2e-3)


def test_common_stars_are_those_within_the_box():
    a, b = RNG.uniform(-100.0, 100.0, (200, 2)), RNG.uniform(-50.0, 70.0, (20, 2))
    inside = np.empty(200, dtype=np.int64)
    count = star_pairs.inside_box(a, b, 7.0, inside)
    slow = np.flatnonzero(((a >= b.min(axis=0) - 7.0) & (a <= b.max(axis=0) + 7.0)).all(axis=1))
    np.testing.assert_array_equal(inside[:count], slow)


def dense_step(frames, detections, star, weight, hold, of_prior, anchors):
    """One step with stars, subs and cameras as unknowns of one dense least-squares problem."""
    system = System(frames, detections, star, anchors)
    stars, rest = system.residuals(Terms.zero(frames), weight)
    slopes = frames.slopes(detections.sub, stars[star], system.unit_rad)
    count, subs, cameras = len(star), 6 * len(frames), 18 * frames.cameras
    phi = distortion_terms(detections.places, frames.span[detections.sub])
    design = np.zeros((2 * count, subs + cameras + 24))
    for o in range(count):
        i, camera = detections.sub[o], frames.camera[detections.sub[o]]
        for k in range(6):
            design[2 * o : 2 * o + 2, 6 * i + k] = sub_shift(np.eye(6)[None, k], detections.places[None, o])[0]
        for m in range(9):
            for axis in range(2):
                design[2 * o + axis, subs + 18 * camera + 2 * m + axis] = phi[o, m]
        design[2 * o : 2 * o + 2, subs + cameras + 2 * star[o] : subs + cameras + 2 * star[o] + 2] = -slopes[o]
    heavy = np.repeat(weight, 2)
    normal, right = design.T @ (heavy[:, None] * design), design.T @ (heavy * rest.ravel())
    normal[np.arange(subs), np.arange(subs)] += hold.ravel()
    for camera in range(frames.cameras):
        part = slice(subs + 18 * camera, subs + 18 * (camera + 1))
        normal[part, part] += of_prior[camera].reshape(18, 18)
    at = subs + cameras + np.arange(24)
    normal[at, at] += np.repeat(system.hold_stars, 2)
    right[at] += system.pull(stars).ravel()
    found, inverse = np.linalg.solve(normal, right), np.linalg.inv(normal)
    covariance = np.stack([inverse[k + 4 : k + 18, k + 4 : k + 18] for k in range(subs, subs + cameras, 18)])
    return found[:subs].reshape(-1, 6), found[subs : subs + cameras].reshape(-1, 9, 2), covariance


@pytest.mark.parametrize("anchored", [False, True])
def test_a_step_is_that_of_the_dense_problem(anchored):
    frames, detections, star, vector = small_problem()
    known = np.where((np.arange(12) % 3 == 0)[:, None], vector, np.nan)
    anchors = Anchors(known, np.full(12, 1e-6)) if anchored else None
    prior = Prior(Terms.zero(frames), np.full((2, 4), 0.3))
    weight, hold = RNG.uniform(1.0, 50.0, 36), RNG.uniform(0.1, 4.0, (3, 6))
    system = System(frames, detections, star, anchors)
    bend_px = np.array([0.4, 0.2])
    normal = system.linearised(Terms.zero(frames), prior, hold, bend_px, weight)
    moved = normal.solve(1e-10)
    of_subs, of_cameras, covariance = dense_step(
        frames, detections, star, weight, hold, hold_cameras(prior, bend_px), anchors
    )
    np.testing.assert_allclose(moved.of_subs, of_subs, atol=1e-6)
    np.testing.assert_allclose(moved.of_cameras, of_cameras, atol=1e-6)
    np.testing.assert_allclose(normal.bend_covariance(), covariance, rtol=1e-4, atol=1e-9)


def test_one_wrong_detection_does_not_pull():
    frames, detections, star, vector = small_problem()
    pixels = frames.from_sky(detections.sub, vector[star])
    prior = Prior(Terms.zero(frames), np.full((2, 4), 0.1))
    clean = Detections(detections.sub, pixels / 200.0, pixels, np.full(36, 0.02))
    moved = pixels.copy()
    moved[7] += (6.0, -5.0)
    found = [
        adjust(
            frames, Detections(clean.sub, clean.places, p, clean.error), star, Terms.zero(frames), prior
        ).terms.of_subs
        for p in (pixels, moved)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
