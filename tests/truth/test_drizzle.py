"""A survey that is drizzled, against the truth behind it and against interpolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, Sip
from scipy.spatial import cKDTree

import zemosaic_worker
from benchmarks.planning import made_up_infos
from benchmarks.star_shapes import bayer, moffat
from zemosaic_engine.canvas.coordinates import pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.canvas.tile_layout import grid_tiles
from zemosaic_engine.errors import RunError
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.reader import read_mosaic
from zemosaic_engine.photometry.star_fit import cut_stamps, fit_gaussians
from zemosaic_engine.photometry.stars import detect_stars
from zemosaic_engine.resampling import drizzle
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, SurveySpec, Telescope, simulate_survey
from zemosaic_engine.simulate.truth import compare_mosaic
from zemosaic_engine.stacking.choose_kernel import case_for_drizzle
from zemosaic_engine.subs.demosaic import demosaic


def tangent_wcs(shape, *, rotation=0.0, scale_arcsec=2.4, sip=False):
    wcs = WCS(naxis=2)
    wcs.wcs.crval, wcs.wcs.crpix = (180.0, 40.0), [0.5 * (shape[1] + 1), 0.5 * (shape[0] + 1)]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale_arcsec / 3600.0
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"] if sip else ["RA---TAN", "DEC--TAN"]
    if sip:
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        a[2, 0], b[0, 2], b[1, 1] = 3e-5, -4e-5, 1e-5
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def run(subs, out, **settings):
    lines = []

    def sink(event):
        if isinstance(event, LogLine):
            lines.append((event.level, event.line))

    zemosaic_worker.run_grid(subs, out, GridSettings(**settings), sink, CancelToken())
    return lines


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    """`small`, interpolated and drizzled; white is not taken from its few stars, whose colours tell it to 2 % only."""
    folder = tmp_path_factory.mktemp("drizzle")
    truth = simulate_survey(folder / "subs", PRESETS["small"], seed=1)
    reports = {}
    for kernel in ("lanczos3", "drizzle"):
        run(folder / "subs", folder / kernel, resample_kernel=kernel, colour="sky")
        mosaic = read_mosaic(folder / kernel / "mosaic_grid.fits")
        reports[kernel] = compare_mosaic(mosaic, truth)
    return folder, truth, reports


@pytest.mark.slow
def test_a_drizzled_survey_is_as_true_as_an_interpolated_one(surveys):
    interpolated, drizzled = surveys[2]["lanczos3"], surveys[2]["drizzle"]
    # Star scales of the channels are those of the interpolated mosaic: no light is lost to rejection.
    np.testing.assert_allclose(drizzled.gain, interpolated.gain, rtol=0.01)
    # Over the channels: the scatter of one comes from about twenty stars, and is uncertain by a quarter.
    assert np.mean(drizzled.zero_point_mmag) < min(12, 1.3 * np.mean(interpolated.zero_point_mmag))
    assert max(drizzled.low_frequency_quadratic_adu) < 1.1 * max(interpolated.low_frequency_quadratic_adu)
    assert max(drizzled.fwhm_px) < 1.08 * drizzled.seeing_px
    assert max(drizzled.fwhm_px) - min(drizzled.fwhm_px) < 0.05 * drizzled.seeing_px
    assert drizzled.position_rms_px < 0.06
    assert drizzled.nan_share < 1e-3
    assert drizzled.outliers < 10


@pytest.mark.slow
def test_stars_have_no_colour_fringes(surveys):
    """The same star has the same centre, width and profile in all channels."""
    folder, truth, reports = surveys
    profiles, apart = {}, {}
    for kernel in reports:
        mosaic = read_mosaic(folder / kernel / "mosaic_grid.fits")
        xy, profiles[kernel] = bright_stars(mosaic, truth)
        start = xy - np.floor(xy + 0.5)
        fits_of = [fit_gaussians(stamps, start, truth.spec.telescopes[0].fwhm_px) for stamps in profiles[kernel]]
        assert np.mean([f.good for f in fits_of]) > 0.95
        green = fits_of[1]
        apart[kernel] = np.median([np.hypot(f.dx - green.dx, f.dy - green.dy) for f in (fits_of[0], fits_of[2])])
    # Eight subs a pixel are two of each red and blue: chance moves their centres more than the interpolated ones.
    assert apart["drizzle"] < 0.06
    # Each star over its own light; the usual star in each channel, in units of the green peak.
    mean = np.median(profiles["drizzle"] / profiles["drizzle"].sum(axis=(2, 3), keepdims=True), axis=1)
    assert np.abs(mean[[0, 2]] - mean[1]).max() < 0.07 * mean[1].max()


def bright_stars(mosaic, truth, count=60, half=6):
    """Places, and stamps per channel with their sky off, of bright lonely unsaturated stars."""
    index, xy = truth.scene.star_pixels(mosaic.wcs, mosaic.shape, 0.0)
    flux = truth.scene.flux_adu[index].mean(axis=1)
    lonely = np.array([len(near) == 1 for near in cKDTree(xy).query_ball_point(xy, 12.0)])
    inside = np.all((xy > 2 * half) & (xy < np.array(mosaic.shape[::-1]) - 2 * half), axis=1)
    chosen = [n for n in np.argsort(-flux) if lonely[n] and inside[n]]
    stamps = np.stack([cut_stamps(plane, xy[chosen], half)[0] for plane in mosaic.planes])
    whole = np.isfinite(stamps).all(axis=(0, 2, 3))
    stamps = stamps[:, whole][:, :count]
    sky = np.median(np.concatenate([stamps[:, :, 0], stamps[:, :, -1]], axis=-1), axis=-1)
    return xy[chosen][whole][:count], stamps - sky[..., None, None]


@pytest.mark.slow
def test_drizzled_mono_subs_of_three_telescopes_agree_on_their_stars(tmp_path):
    """Pixels of 1.6 to 4.1 arcsec and the same seeing in pixels: measured 6.9 mmag, of which noise is 5.1."""
    telescopes = tuple(
        Telescope(name=f"T{scale}", shape=shape, scale_arcsec=scale, sensor="mono")
        for scale, shape in ((1.6, (630, 480)), (2.4, (420, 320)), (4.1, (246, 188)))
    )
    spec = SurveySpec(
        panels=(1, 2), subs_per_panel=9, nights=3, nebula="none", stars_per_mpx=350, faintest_adu=1.5e4,
        brightest_adu=4e5, telescopes=telescopes, trail_fraction=0.0, hot_pixel_fraction=0.0,
    )  # fmt: skip
    truth = simulate_survey(tmp_path / "subs", spec, seed=2)
    run(tmp_path / "subs", tmp_path / "out", resample_kernel="drizzle")
    report = compare_mosaic(read_mosaic(tmp_path / "out" / "mosaic_grid.fits"), truth)
    assert report.stars > 80
    assert report.zero_point_mmag[0] < 12.0
    assert report.zero_point_region_mmag[0] < 8.0


@pytest.mark.slow
def test_coverage_counts_the_subs_that_dropped_something(tmp_path):
    """One pixel in four is red: small red drops of fewer subs hit a pixel than green ones do."""
    simulate_survey(tmp_path / "subs", PRESETS["tiny"], seed=1)
    run(tmp_path / "subs", tmp_path / "thin", resample_kernel="drizzle", drizzle_pixfrac=0.5)
    run(tmp_path / "subs", tmp_path / "full", resample_kernel="lanczos3")
    thin, full = (read_mosaic(tmp_path / name / "mosaic_grid.fits") for name in ("thin", "full"))
    counts = fits.getdata(tmp_path / "thin" / "mosaic_grid.fits", "COVERAGE").astype(int)
    most = fits.getdata(tmp_path / "full" / "mosaic_grid.fits", "COVERAGE").astype(int)
    # Where neighbouring tiles disagree on the only drop of a pixel, its value is one's and its coverage the other's.
    assert np.mean(np.isfinite(thin.planes) != (counts > 0)) < 1e-5
    assert counts[0].mean() < 0.75 * counts[1].mean()
    deep = most[1] >= 4
    # Chance decides how many of the subs hit a pixel: (1 + 0.5)^2 / 4 of them for red, twice for green.
    assert (counts[0][deep] / most[0][deep]).mean() == pytest.approx(0.5625, abs=0.08)
    assert np.isfinite(full.planes).any()


@pytest.mark.slow
def test_too_few_subs_for_fine_drops_are_refused_or_told(tmp_path):
    simulate_survey(tmp_path / "subs", PRESETS["tiny"], seed=1)
    with pytest.raises(RunError, match=r"leave \d+ % of the pixels empty.*drizzle_pixfrac"):
        run(tmp_path / "subs", tmp_path / "out", resample_kernel="drizzle", drizzle_pixfrac=0.1, pixel_scale_arcsec=0.4)
    lines = run(tmp_path / "subs", tmp_path / "out", resample_kernel="drizzle", drizzle_pixfrac=0.4)
    assert any(level == "WARN" and "drizzle left pixels without a sample (R " in text for level, text in lines)
    assert (fits.getdata(tmp_path / "out" / "mosaic_grid_coverage.fits") > 0).any()


def test_drizzle_is_advised_for_undersampled_stars_and_dithered_subs():
    infos = made_up_infos(40, 1)
    canvas = plan_canvas(infos, 0.0, 1e4)
    footprints = [footprint_of(info, canvas) for info in infos]
    tiles = grid_tiles(infos, footprints, canvas, 1.0, 10.0)
    sharp, settings = np.full(40, 1.8), GridSettings()
    assert case_for_drizzle(infos, canvas, settings, tiles, sharp) == (1.8, 40)
    assert case_for_drizzle(infos, canvas, settings, tiles, np.full(40, 3.0)) is None
    assert case_for_drizzle(infos, canvas, settings, tiles, np.full(40, np.nan)) is None
    still = [infos[0]] * 40
    assert case_for_drizzle(still, canvas, settings, tiles, sharp) is None
    few = [replace(tile, subs=tile.subs[:3]) for tile in tiles]
    assert case_for_drizzle(infos, canvas, settings, few, sharp) is None


@pytest.mark.parametrize(("fwhm_px", "advised"), [(1.3, True), (1.6, True), (2.0, False), (2.8, False)])
def test_stars_with_wings_are_known_to_be_undersampled(fwhm_px, advised):
    """Moffat profiles, whose wings make them measure wider than they are; drizzle serves them better below 2 px."""
    rng, size = np.random.default_rng(2), 26
    rows = [[moffat(size, *rng.uniform(12.0, 14.0, 2), fwhm_px) for _ in range(12)] for _ in range(12)]
    image = 1000.0 + 2e4 * np.block(rows)
    image += rng.normal(0.0, 15.0, image.shape)
    pixels = demosaic(bayer(np.repeat(image[..., None], 3, axis=2), "GRBG"), "GRBG")
    measured = detect_stars(pixels).fwhm_px
    infos = made_up_infos(40, 1)
    canvas = plan_canvas(infos, 0.0, 1e4)
    tiles = grid_tiles(infos, [footprint_of(info, canvas) for info in infos], canvas, 1.0, 10.0)
    case = case_for_drizzle(infos, canvas, GridSettings(), tiles, np.full(40, measured))
    assert (case is not None) == advised


SHARP = (PRESETS["tiny"].telescopes[0].model_copy(update={"fwhm_px": 1.5}),)


@pytest.mark.slow
def test_auto_drizzles_undersampled_stars_and_interpolates_others(tmp_path):
    sharp = PRESETS["tiny"].but(panels=(1, 1), subs_per_panel=20, telescopes=SHARP)
    for name, survey in (("sharp", sharp), ("usual", PRESETS["tiny"])):
        simulate_survey(tmp_path / name, survey, seed=1)
    for name, kernel, words in (("sharp", "drizzle", "Subs are drizzled"), ("usual", "lanczos3", "are interpolated")):
        lines = run(tmp_path / name, tmp_path / f"{name}_auto", resample_kernel="auto")
        assert any(words in text for _, text in lines)
        run(tmp_path / name, tmp_path / f"{name}_told", resample_kernel=kernel)
        made, told = (tmp_path / f"{name}_{how}" / "mosaic_grid.fits" for how in ("auto", "told"))
        assert fits.getheader(made)["RESAMPLE"] == kernel
        np.testing.assert_array_equal(fits.getdata(made), fits.getdata(told))


@pytest.mark.slow
def test_tiles_that_were_interpolated_are_not_kept_once_auto_drizzles(tmp_path):
    survey = PRESETS["tiny"].but(panels=(1, 1), subs_per_panel=20, telescopes=SHARP)
    simulate_survey(tmp_path / "subs", survey, seed=1)
    out = tmp_path / "out"
    assert any("would serve" in text for _, text in run(tmp_path / "subs", out, resample_kernel="lanczos3"))
    lines = run(tmp_path / "subs", out, resample_kernel="auto")
    assert not any("tiles were stacked by an earlier run" in text for _, text in lines)
    lines = run(tmp_path / "subs", out, resample_kernel="drizzle")
    assert any("tiles were stacked by an earlier run" in text for _, text in lines)


def test_gaps_are_counted_inside_only():
    coverage = np.zeros((60, 60, 3), np.uint16)
    coverage[10:50, 10:50] = 4
    assert drizzle.gap_shares(coverage).max() == 0.0
    coverage[20:22, 30, 0] = 0
    coverage[30, 30] = 0
    np.testing.assert_allclose(drizzle.gap_shares(coverage), np.array([3, 1, 1]) / 36**2)
    assert drizzle.gap_shares(np.zeros((60, 60, 1), np.uint16)) == 0.0


@pytest.mark.parametrize(("scale", "pixfrac", "bayer", "subs"), [
    (1.0, 1.0, "RGGB", 1), (1.0, 0.5, "RGGB", 3), (2.0, 0.6, "RGGB", 4), (1.0, 0.3, None, 2), (3.0, 0.2, None, 5),
])  # fmt: skip
def test_filled_share_is_what_drops_fill(scale, pixfrac, bayer, subs):
    rng = np.random.default_rng(3)
    shape, canvas_shape = (60, 60), (int(58 * scale), int(58 * scale))
    pixels, filled = np.ones((*shape, 3), np.float32), np.zeros((*canvas_shape, 3), bool)
    canvas = tangent_wcs(canvas_shape, scale_arcsec=2.4 / scale)
    for _ in range(subs):
        sub = tangent_wcs(shape, scale_arcsec=2.4, rotation=rng.uniform(0, 360))
        sub.wcs.crpix = np.add(sub.wcs.crpix, rng.uniform(-5, 5, 2))
        falls = drizzle.drop_map(sub, shape, canvas, canvas_shape)
        filled |= drizzle.drop(pixels, falls, Box(0, canvas_shape[0], 0, canvas_shape[1]), pixfrac, bayer)[1] > 0
    middle = filled[len(filled) // 4 : -(len(filled) // 4), len(filled) // 4 : -(len(filled) // 4)]
    expected = drizzle.filled_share(subs, scale, pixfrac, bayer)
    assert middle[..., 0].mean() == pytest.approx(expected, abs=0.12)


def test_drops_land_where_the_wcs_says():
    """A single lit pixel lands at the place that the exact WCS, distortion included, gives for it."""
    shape = (120, 90)
    source, target = tangent_wcs(shape, rotation=33, sip=True), tangent_wcs((800, 800), scale_arcsec=0.6)
    falls = drizzle.drop_map(source, shape, target, (800, 800))
    rows, columns = np.mgrid[:800, :800]
    for row, column in ((20, 30), (100, 5), (60, 80)):
        pixels = np.full((*shape, 1), np.nan, np.float32)
        pixels[row, column] = 1.0
        _, share = drizzle.drop(pixels, falls, Box(0, 800, 0, 800), 1.0)
        share = share[..., 0].astype(float)
        assert share.sum() == pytest.approx(1.0, abs=1e-3)
        x, y = sky_to_pixel(target, *pixel_to_sky(source, np.array([float(column)]), np.array([float(row)])))
        assert (share * columns).sum() / share.sum() == pytest.approx(x[0], abs=0.03)
        assert (share * rows).sum() / share.sum() == pytest.approx(y[0], abs=0.03)
