"""Two mosaics that differ in a known way: the comparison finds it, and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from zemosaic_app.cli import main
from zemosaic_compare import JSON_NAME, PICTURE_NAME, TEXT_NAME, compare
from zemosaic_engine.comparison.steps import lattice, measure_steps
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.simulate.scene import tangent_plane
from zemosaic_engine.simulate.survey import PRESETS, make_scene

SCALE_ARCSEC = 2.37
SHAPE = (640, 720)
NOISE = 4.0
SKY = (900.0, 1000.0, 950.0)
CENTER = (40.0, 20.0)


@pytest.fixture(scope="module")
def scene():
    spec = PRESETS["tiny"].but(
        shape=SHAPE, panels=(1, 1), center_deg=CENTER, stars_per_mpx=1500.0, faintest_adu=600.0, brightest_adu=2e5
    )
    return make_scene(spec, 3)


def grid(shape=SHAPE, scale=SCALE_ARCSEC, angle_deg=0.0, shift=(0.0, 0.0)):
    """A gnomonic grid around the middle of the scene."""
    wcs = tangent_plane(CENTER)
    turn = np.radians(angle_deg)
    wcs.wcs.cdelt = [1.0, 1.0]
    matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = matrix * scale / 3600.0
    wcs.wcs.crpix = [(shape[1] + 1) / 2.0 + shift[0], (shape[0] + 1) / 2.0 + shift[1]]
    wcs.wcs.set()
    return wcs


def write(folder, scene, wcs, shape=SHAPE, *, fwhm=2.8, seed=1, change=None, noise=NOISE):
    """A mosaic of the scene in surface brightness of the standard pixel, with white noise."""
    scale = float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600.0
    planes = scene.render_planes(wcs, shape, fwhm) * np.float32((SCALE_ARCSEC / scale) ** 2)
    planes += np.array(SKY, dtype=np.float32)[:, None, None]
    if change is not None:
        change(planes)
    planes += noise * np.random.default_rng(seed).standard_normal(planes.shape).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mosaic_grid.fits"
    depth = fits.ImageHDU(np.full(planes.shape, 7, dtype=np.int16), header=wcs.to_header(), name="COVERAGE")
    fits.HDUList([fits.PrimaryHDU(planes, header=wcs.to_header()), depth]).writeto(path, overwrite=True)
    return path


def run(first, second, output=None):
    return compare(first, second, output, lambda event: None, CancelToken())


@pytest.fixture(scope="module")
def plain(scene, tmp_path_factory):
    return write(tmp_path_factory.mktemp("plain"), scene, grid())


def test_a_mosaic_is_its_own_twin(plain):
    found = run(plain, plain)
    assert found.difference.same_grid
    assert found.stars.matched == found.stars.found[0] > 50
    assert found.stars.zero_point_mmag == pytest.approx((0.0,) * 3, abs=1e-6)
    assert found.difference.gain == pytest.approx((1.0,) * 3)
    assert found.difference.rms_adu == pytest.approx((0.0,) * 3, abs=1e-3)
    assert found.difference.only_first == found.difference.only_second == 0.0
    assert found.first.depth_median == 7


@pytest.mark.slow
def test_gain_offset_colour_and_width_come_back(plain, scene, tmp_path):
    """B: gains 0.9, 1.0 and 1.2, a level of its own, wider stars, other noise."""
    gains, levels = np.array([0.9, 1.0, 1.2], dtype=np.float32), np.array([30.0, -50.0, 12.0], dtype=np.float32)

    def change(planes):
        planes *= gains[:, None, None]
        planes += levels[:, None, None]

    other = write(tmp_path, scene, grid(), fwhm=3.6, seed=2, change=change, noise=6.0)
    found = run(plain, other)
    expected = -2500.0 * np.log10(gains)
    assert found.stars.zero_point_mmag == pytest.approx(expected, abs=4.0)
    assert found.stars.colour_mmag == pytest.approx((expected[0] - expected[1], expected[2] - expected[1]), abs=4.0)
    assert found.difference.gain == pytest.approx(1.0 / gains, rel=0.005)
    assert found.stars.fwhm_px[0] == pytest.approx((2.8,) * 3, rel=0.02)
    assert found.stars.fwhm_px[1] == pytest.approx((3.6,) * 3, rel=0.02)
    # The faintest stars are in it too.
    assert found.first.noise_adu == pytest.approx((4.0,) * 3, rel=0.16)
    assert found.second.noise_adu == pytest.approx((6.0,) * 3, rel=0.12)
    # What is left is noise: of blocks of 256 pixels of both.
    noise = np.hypot(4.0, 6.0 / gains) / 16.0
    assert np.all(np.array(found.difference.rms_adu) < 1.3 * noise)
    assert np.all(np.array(found.stars.region_mmag) < 8.0)


@pytest.mark.slow
def test_a_scale_that_varies_over_the_field_shows_between_regions(plain, scene, tmp_path):
    def change(planes):
        planes *= 1.0 + 0.06 * np.linspace(-1.0, 1.0, planes.shape[2], dtype=np.float32)

    found = run(plain, write(tmp_path, scene, grid(), seed=2, change=change))
    column = {n: [r.zero_point_mmag[1] for r in found.stars.regions if r.column == n] for n in range(3)}
    middles = {n: float(np.mean(values)) for n, values in column.items()}
    # Columns are a third of the field apart: 0.04 in gain, 43 mmag.
    assert middles[0] - middles[1] == pytest.approx(43.0, abs=10.0)
    assert middles[1] - middles[2] == pytest.approx(43.0, abs=10.0)
    assert found.stars.region_mmag[1] > 5.0 * found.stars.region_noise_mmag[1]


@pytest.mark.slow
def test_another_grid_is_brought_together_by_the_sky(plain, scene, tmp_path):
    """Turned by 30 degrees, coarser by a fifth, somewhere else: the same sky and the same scale."""
    shape = (500, 560)
    other = write(tmp_path, scene, grid(shape, SCALE_ARCSEC * 1.2, 30.0, (11.3, -20.7)), shape, fwhm=2.6, seed=2)
    found = run(plain, other)
    assert not found.difference.same_grid
    assert found.stars.matched > 50
    assert math.hypot(*found.stars.offset_px) < 0.02
    assert found.stars.zero_point_mmag == pytest.approx((0.0,) * 3, abs=4.0)
    assert found.difference.gain == pytest.approx((1.0,) * 3, abs=0.005)
    assert found.difference.offset_adu == pytest.approx((0.0,) * 3, abs=5.0)
    assert max(found.difference.rms_adu) < 1.0
    assert found.second.pixel_scale_arcsec == pytest.approx(1.2 * SCALE_ARCSEC, rel=1e-4)
    assert found.difference.only_first > 0.0
    assert found.difference.shared > 0.5 * SHAPE[0] * SHAPE[1]


@pytest.mark.slow
def test_a_plate_solution_that_is_off_is_a_shift_and_not_a_lack_of_stars(plain, scene, tmp_path):
    wrong = write(tmp_path, scene, grid(), seed=2)
    with fits.open(wrong, mode="update") as hdus:
        hdus[0].header["CRPIX1"] += 5.0
    found = run(plain, wrong)
    assert found.stars.offset_px == pytest.approx((-5.0, 0.0), abs=0.02)
    assert found.stars.matched > 50


@pytest.mark.slow
def test_a_grid_that_is_shifted_by_whole_pixels_is_not_interpolated(plain, tmp_path):
    with fits.open(plain) as hdus:
        header = hdus[0].header
        header["CRPIX1"] -= 100
        header["CRPIX2"] -= 40
        fits.PrimaryHDU(hdus[0].data[:, 40:, 100:], header=header).writeto(tmp_path / "cut.fits")
    found = run(plain, tmp_path / "cut.fits")
    assert found.difference.same_grid
    assert found.difference.shared == (SHAPE[0] - 40) * (SHAPE[1] - 100)
    # Which faint stars are masked beside a bright one depends on the noise of the whole picture: 1 mmag.
    assert max(found.difference.rms_adu) < 0.08


def seam(planes, step=8.0):
    planes[:, :, 360:] += np.float32(step)


def write_tiles(path, shape=SHAPE):
    """Headers of two tiles that meet at column 360, as a run leaves them."""
    wcs = fits.getheader(path)
    for number, (x0, x1) in enumerate(((0, 360), (360, shape[1]))):
        header = wcs.copy()
        header["CRPIX1"] -= max(0, x0 - 8)
        for word, low, high in (("INNER", x0, x1), ("OUTER", max(0, x0 - 8), min(shape[1], x1 + 8))):
            for side, value in zip(("Y0", "Y1", "X0", "X1"), (0, shape[0], low, high), strict=True):
                header[word + side] = value
        target = path.parent / "tiles" / f"tile_{number:04d}.fits"
        target.parent.mkdir(exist_ok=True)
        fits.PrimaryHDU(np.zeros((2, 2), dtype=np.float32), header=header).writeto(target)


def test_a_seam_is_seen_where_the_tiles_meet(scene, tmp_path, plain):
    path = write(tmp_path, scene, grid(), seed=2, change=seam)
    write_tiles(path)
    found = run(plain, path)
    assert found.first.seams is None
    assert found.second.seams.places >= 13
    assert found.difference.second_seams.median_adu == pytest.approx((8.0,) * 3, abs=0.8)
    assert found.second.seams.median_adu == pytest.approx((8.0,) * 3, rel=0.4)  # nebula crosses the line
    assert max(found.difference.blocks.median_adu) < 1.0  # a lattice crosses one seam at few places


def test_a_slope_is_no_step_and_noise_has_the_size_that_is_told():
    rng = np.random.default_rng(1)
    planes = rng.standard_normal((1, 600, 800)).astype(np.float32)
    planes += 0.06 * np.arange(800, dtype=np.float32) + 0.03 * np.arange(600, dtype=np.float32)[:, None]
    steps = measure_steps(planes, np.ones(1), lattice((600, 800)))
    assert steps.median_adu[0] == pytest.approx(steps.noise_adu[0], rel=0.15)
    assert steps.places > 180


def test_the_command_writes_table_numbers_and_picture(plain, scene, tmp_path, capsys):
    other = write(tmp_path, scene, grid(angle_deg=10.0), seed=2, change=seam)
    assert main(["compare", str(plain), str(other), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    table = (tmp_path / "out" / TEXT_NAME).read_text()
    assert all(line.strip() in said for line in table.splitlines())
    for words in ("zero point (mmag)", "sky noise (ADU)", "FWHM (px)", "steps in A - B", "colour (mmag)"):
        assert words in table
    numbers = json.loads((tmp_path / "out" / JSON_NAME).read_text())
    assert numbers["first"]["path"] == str(plain)
    assert numbers["first"]["seams"] is None
    assert numbers["stars"]["matched"] > 50
    picture = np.asarray(Image.open(tmp_path / "out" / PICTURE_NAME)).astype(float)
    third = picture.shape[0] // 3  # wider than high: one above the other
    a, difference = picture[40 : third - 10], picture[2 * third + 60 : -30, 40:-40]
    assert a.std() > 5.0
    assert abs(np.median(difference) - 127.5) < 40.0


def kinds(found):
    return [finding.kind for finding in found.findings]


@pytest.mark.slow
def test_two_mosaics_of_one_sky_have_nothing_wrong(plain, scene, tmp_path):
    assert run(plain, write(tmp_path, scene, grid(), fwhm=3.2, seed=2)).findings == ()
    turned = write(tmp_path / "turned", scene, grid((600, 640), angle_deg=12.0), (600, 640), seed=3)
    assert run(plain, turned).findings == ()


@pytest.mark.parametrize(
    ("angle", "in_a"),
    [(33.0, False), *(pytest.param(0.0, in_a, marks=pytest.mark.slow) for in_a in (False, True))],
)
def test_a_straight_step_is_found_with_its_place_and_its_mosaic(plain, scene, tmp_path, angle, in_a):
    """3 ADU, three quarters of the noise of a pixel, along the columns or aslant; wherever it lies among the blocks."""
    turn = np.radians(angle)

    def change(planes):
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        planes[:, (x - 303.0) * np.cos(turn) + (y - 320.0) * np.sin(turn) > 0.0] += np.float32(3.0)

    other = write(tmp_path, scene, grid(), seed=2, change=change)
    found = run(other, plain) if in_a else run(plain, other)
    steps = [finding for finding in found.findings if finding.kind == "step"]
    assert steps
    assert steps[0].side == ("A" if in_a else "B")
    assert steps[0].size == pytest.approx(3.0, abs=0.6)
    x, y = grid().wcs_world2pix([[steps[0].ra, steps[0].dec]], 0)[0]
    assert abs((x - 303.0) * np.cos(turn) + (y - 320.0) * np.sin(turn)) < 8.0
    assert "straight step" in found.text()


@pytest.mark.slow
def test_steps_anywhere_have_their_place_and_are_never_blamed_on_the_other_mosaic(plain, scene, tmp_path):
    """3.5 ADU on lines of any direction, some through the nebula, whose own steps are as large."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(7)
    sides, away = [], []
    for number in range(12):
        turn, middle = rng.uniform(0.0, np.pi), rng.uniform(0.25, 0.75, 2) * SHAPE[::-1]
        size = np.float32(rng.choice([-3.5, 3.5]))

        def from_line(x, y, turn=turn, middle=middle):
            return (x - middle[0]) * np.cos(turn) + (y - middle[1]) * np.sin(turn)

        def change(planes, from_line=from_line, size=size):
            planes[:, from_line(x, y) > 0.0] += size

        other = write(tmp_path, scene, grid(), seed=10 + number, change=change)
        steps = [finding for finding in run(plain, other).findings if finding.kind == "step"]
        sides += [step.side for step in steps]
        away += [abs(from_line(*grid().wcs_world2pix([[step.ra, step.dec]], 0)[0])) for step in steps]
    assert len(away) >= 11
    assert max(away) < 8.0
    assert "A" not in sides
    assert sides.count("B") >= 10


@pytest.mark.slow
def test_a_gain_step_is_found_in_the_sky_and_in_the_stars(plain, scene, tmp_path):
    def change(planes):
        planes[:, :, 340:] *= np.float32(1.04)
        planes[:, :, 340:] -= np.float32(0.04) * np.array(SKY, np.float32)[:, None, None]

    found = run(plain, write(tmp_path, scene, grid(), seed=2, change=change))
    step = next(finding for finding in found.findings if finding.kind == "gain step")
    assert step.size == pytest.approx(42.6, abs=8.0)
    x, _ = grid().wcs_world2pix([[step.ra, step.dec]], 0)[0]
    assert x == pytest.approx(340.0, abs=60.0)

    def percent(planes):
        planes[:, :, 340:] *= np.float32(1.01)

    # One percent of everything: the sky gives it away.
    found = run(plain, write(tmp_path / "sky", scene, grid(), seed=2, change=percent))
    step = next(finding for finding in found.findings if finding.kind == "step")
    assert (step.side, step.size) == ("B", pytest.approx(9.5, abs=1.5))


def test_a_star_that_is_there_twice_is_named(plain, scene, tmp_path):
    def change(planes):
        y, x = np.unravel_index(np.argmax(planes[1, 80:-80, 80:-80]), (SHAPE[0] - 160, SHAPE[1] - 160))
        y, x = y + 80, x + 80
        stamp = planes[:, y - 8 : y + 9, x - 8 : x + 9].copy() - np.array(SKY, np.float32)[:, None, None]
        # The emptiest place around, so that it stands alone.
        moves = [(dx, dy) for dx in range(-44, 45, 4) for dy in range(-44, 45, 4) if math.hypot(dx, dy) > 25.0]
        spread = [np.ptp(planes[1, y + dy - 12 : y + dy + 13, x + dx - 12 : x + dx + 13]) for dx, dy in moves]
        dx, dy = moves[int(np.argmin(spread))]
        planes[:, y + dy - 8 : y + dy + 9, x + dx - 8 : x + dx + 9] += stamp
        change.place = (x + dx, y + dy)

    found = run(plain, write(tmp_path, scene, grid(), seed=2, change=change))
    star = next(finding for finding in found.findings if finding.kind == "star")
    assert star.side == "B"
    assert grid().wcs_world2pix([[star.ra, star.dec]], 0)[0] == pytest.approx(change.place, abs=1.0)
    assert "twice" in star.text


def test_a_plate_solution_that_is_an_arc_minute_off_is_named_and_taken_out(plain, scene, tmp_path):
    wrong = write(tmp_path, scene, grid(), seed=2)
    with fits.open(wrong, mode="update") as hdus:
        hdus[0].header["CRVAL2"] += 1.0 / 60.0
    found = run(plain, wrong)
    assert kinds(found)[0] == "plate solution"
    assert found.findings[0].size == pytest.approx(60.0, abs=1.0)
    assert found.stars.matched > 50
    assert max(found.difference.rms_adu) < 1.5
    assert kinds(found) == ["plate solution"]


def make_mono(path):
    with fits.open(path) as hdus:
        fits.PrimaryHDU(hdus[0].data[0].copy(), header=hdus[0].header).writeto(path, overwrite=True)


def move_away(path):
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["CRVAL1"] += 20.0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"hello"), "cannot be read as a mosaic"),
        (lambda path: fits.PrimaryHDU(np.zeros((9, 9), np.float32)).writeto(path, overwrite=True), "no celestial WCS"),
        (make_mono, "compare mosaics of one kind"),
        (move_away, "no sky in common"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(plain, tmp_path, capsys, spoil, words):
    path = tmp_path / "other.fits"
    path.write_bytes(Path(plain).read_bytes())
    spoil(path)
    assert main(["compare", str(plain), str(path)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_mono_mosaics_have_no_colour(plain, tmp_path):
    path = tmp_path / "mono.fits"
    path.write_bytes(Path(plain).read_bytes())
    make_mono(path)
    found = run(path, path)
    assert found.first.channels == "L"
    assert found.stars.colour_mmag == ()
    assert "colour" not in found.text()


def test_an_output_folder_that_cannot_be_made_is_refused_first(plain, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be made"):
        run(plain, plain, tmp_path / "file" / "out")
