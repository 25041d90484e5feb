"""Zero points of images of known stars, through the mistakes of catalogues."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

import zemosaic_worker
from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.catalogues.colours import StarColours
from zemosaic_engine.catalogues.reference import Catalogue
from zemosaic_engine.events import CancelToken, LogLine, Reporter
from zemosaic_engine.mosaic.catalogue import match_catalogue, tie_to_catalogue, zero_points
from zemosaic_engine.mosaic.sky_tie import tie_to_sky
from zemosaic_engine.mosaic.total_flux import aperture_corrections
from zemosaic_engine.photometry.colour_balance import balance_on_colours
from zemosaic_engine.photometry.stars import detect_stars
from zemosaic_engine.run.reference_stars import circle_of, shipped_stars
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, plan_survey, simulate_survey
from zemosaic_engine.solving.star_zones import separation_deg

SIZE = 900
ZERO_POINTS = {"R": 20.5, "G": 21.0, "B": 20.2}


def stars_of(seed=1, count=350):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(20, SIZE - 20, (2, count))
    magnitude = rng.uniform(8.5, 13.0, count)
    colour = rng.normal(0.8, 0.4, count)
    known = {"R": magnitude - 0.4 * colour, "G": magnitude, "B": magnitude + 0.6 * colour}
    return x, y, known


def picture(x, y, known, fwhm=3.2, beta=None, noise=6.0, seed=2):
    """Stars of a Moffat profile, or Gaussians without a `beta`, each whole to 80 px, on a sloping sky."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:SIZE, :SIZE]
    image = np.empty((SIZE, SIZE, 3), dtype=np.float32)
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1) if beta else 0.0
    for channel, name in enumerate("RGB"):
        plane = 800.0 + 0.02 * u + rng.normal(0.0, noise, (SIZE, SIZE))
        for sx, sy, magnitude in zip(x, y, known[name], strict=True):
            flux = 10 ** (0.4 * (ZERO_POINTS[name] - magnitude))
            part = np.s_[max(0, int(sy) - 80) : int(sy) + 81, max(0, int(sx) - 80) : int(sx) + 81]
            r2 = (u[part] - sx) ** 2 + (v[part] - sy) ** 2
            if beta:
                plane[part] += flux * (beta - 1) / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -beta
            else:
                sigma = fwhm / 2.3548
                plane[part] += flux / (2 * np.pi * sigma**2) * np.exp(-r2 / (2 * sigma**2))
        image[..., channel] = plane
    return image


def frame():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [40.0, 35.0]
    wcs.wcs.crpix = [SIZE / 2, SIZE / 2]
    wcs.wcs.cdelt = [-2.4 / 3600, 2.4 / 3600]
    wcs.wcs.set()
    return wcs


def catalogue_of(x, y, known):
    ra, dec = frame().all_pix2world(x, y, 0)
    return Catalogue(ra, dec, {name: values.copy() for name, values in known.items()})


@pytest.fixture(scope="module")
def moffat():
    x, y, known = stars_of()
    return picture(x, y, known, beta=3.5), catalogue_of(x, y, known)


def tied(image, catalogue):
    lines = []
    reporter = Reporter(lines.append, (), CancelToken())
    header = tie_to_catalogue(image, frame(), catalogue, reporter)
    return header, [event.text for event in lines if isinstance(event, LogLine) and event.level == "WARN"]


@pytest.mark.parametrize("beta", [2.8, 3.5, None])
def test_the_zero_point_is_that_of_the_total_flux(beta):
    """Within 5 mmag whatever the wings, within three times its own error, and the aperture alone would not do."""
    x, y, known = stars_of(3)
    header, warnings = tied(picture(x, y, known, beta=beta), catalogue_of(x, y, known))
    assert not warnings
    for name, truth in ZERO_POINTS.items():
        away = header[f"ZMZP{name}"] - truth
        assert abs(away) < (0.008 if beta == 2.8 else 0.005)  # such wings reach beyond what is measured
        assert abs(away) < 3 * header[f"ZMZE{name}"]
        assert bool(header[f"ZMZA{name}"] > 0.008) is (beta is not None)


def test_wrong_entries_of_one_side_do_not_pull(moffat):
    """30 % of the catalogue too faint by 0.1 mag: the median would be off by 0.03."""
    image, catalogue = moffat
    rng = np.random.default_rng(5)
    wrong = rng.random(catalogue.ra_deg.size) < 0.3
    for values in catalogue.magnitude.values():
        values += rng.normal(0.0, 0.015, values.size)
    clean, _ = tied(image, catalogue)
    moved = Catalogue(catalogue.ra_deg, catalogue.dec_deg, {n: v + 0.1 * wrong for n, v in catalogue.magnitude.items()})
    header, _ = tied(image, moved)
    for name in "RGB":
        assert abs(header[f"ZMZP{name}"] - clean[f"ZMZP{name}"]) < 0.006
        assert abs(header[f"ZMZP{name}"] - ZERO_POINTS[name]) < 3 * header[f"ZMZE{name}"]


def test_a_catalogue_beside_the_stars_is_matched_and_told(moffat):
    image, catalogue = moffat
    moved = Catalogue(catalogue.ra_deg, catalogue.dec_deg + 6.0 * 2.4 / 3600, catalogue.magnitude)
    header, warnings = tied(image, moved)
    assert header["ZMZPG"] == pytest.approx(ZERO_POINTS["G"], abs=0.01)
    assert any("px beside the stars" in text and ("-6.0" in text or "+6.0" in text) for text in warnings)


def test_a_catalogue_of_other_stars_gives_no_shift(moffat):
    image, _ = moffat
    x, y, known = stars_of(77)
    others = catalogue_of(x, y, known)
    match = match_catalogue(detect_stars(image), image.shape[:2], frame(), others)
    assert match.shift_px == (0.0, 0.0)
    assert all(not np.isfinite(point.value) or point.error > 0.05 for point in zero_points(image, match, others))


def test_swapped_columns_are_noticed(moffat):
    image, catalogue = moffat
    places = Catalogue(catalogue.dec_deg, catalogue.ra_deg, catalogue.magnitude)
    (warning,) = tied(image, places)[1]
    assert "two columns seem to be swapped" in warning
    colours = dict(catalogue.magnitude)
    colours["R"], colours["B"] = colours["B"], colours["R"]
    warnings = tied(image, Catalogue(catalogue.ra_deg, catalogue.dec_deg, colours))[1]
    assert any("magnitudes of R and B seem to be swapped" in text for text in warnings)
    assert not tied(image, catalogue)[1]


def test_hours_and_a_wrong_column_of_magnitudes_are_noticed(moffat):
    image, catalogue = moffat
    hours = Catalogue(catalogue.ra_deg / 15.0, catalogue.dec_deg, catalogue.magnitude)
    (warning,) = tied(image, hours)[1]
    assert "right ascensions in hours" in warning
    colour = catalogue.magnitude["B"] - catalogue.magnitude["R"]
    header, warnings = tied(image, Catalogue(catalogue.ra_deg, catalogue.dec_deg, {**catalogue.magnitude, "G": colour}))
    assert "ZMZPG" not in header
    assert "ZMZPR" in header
    assert [text for text in warnings if "channel G" in text] == [text for text in warnings if "something else" in text]


def test_a_catalogue_of_another_field_is_one_warning(moffat):
    image, catalogue = moffat
    header, (warning,) = tied(image, Catalogue(catalogue.ra_deg + 90.0, catalogue.dec_deg, catalogue.magnitude))
    assert "give a catalogue of this field" in warning
    assert not [card for card in header if card.startswith("ZMZP")]


def test_stars_without_light_in_a_channel_have_no_colour_and_do_no_harm(moffat):
    """Blue is empty in a part of the mosaic, as where a filter or a clipped level takes all of it."""
    image, catalogue = moffat
    one = Catalogue(catalogue.ra_deg, catalogue.dec_deg, dict.fromkeys("RGB", catalogue.magnitude["G"]), "V")
    whole, _ = tied(image, one)
    image = image.copy()
    image[:, :200, 2] = 500.0
    header, warnings = tied(image, one)
    assert not warnings
    assert header["ZMZNG"] < whole["ZMZNG"]
    assert header["ZMZPG"] == pytest.approx(ZERO_POINTS["G"], abs=0.005)


def test_a_correction_needs_stars():
    flat = np.random.default_rng(1).normal(100.0, 3.0, (200, 200, 3)).astype(np.float32)
    assert [found.stars for found in aperture_corrections(flat, detect_stars(flat))] == [0, 0, 0]


@pytest.mark.parametrize("band", ["V", ""])
def test_one_band_serves_all_channels_by_a_colour_term(moffat, band):
    """What ships with the program knows V alone, as do files with one column: the terms are those of the stars."""
    image, catalogue = moffat
    one = Catalogue(catalogue.ra_deg, catalogue.dec_deg, dict.fromkeys("RGB", catalogue.magnitude["G"]), band)
    header, warnings = tied(image, one)
    assert not warnings
    assert header.get("ZMZCAT", "") == band
    middle = float(np.median(catalogue.magnitude["B"] - catalogue.magnitude["R"]))
    for name, term in {"R": 0.4, "G": 0.0, "B": -0.6}.items():
        assert header.get(f"ZMZK{name}", 0.0) == pytest.approx(term, abs=0.02)
        assert header[f"ZMZP{name}"] == pytest.approx(ZERO_POINTS[name] + term * middle, abs=0.03)


def test_zero_points_of_white_stars_by_the_colours_of_the_catalogue(moffat):
    """One band and B-V: with the colours balanced every channel has the zero point of green, within 5 mmag."""
    image, catalogue = moffat[0], catalogue_of(*stars_of())
    colour = catalogue.magnitude["B"] - catalogue.magnitude["R"]
    noise = np.random.default_rng(4).normal(0.0, 0.02, colour.size)
    colours = StarColours("B-V", colour + noise, np.full(colour.size, 0.02))
    one = Catalogue(
        catalogue.ra_deg, catalogue.dec_deg, dict.fromkeys("RGB", catalogue.magnitude["G"]), "V", colours, "test"
    )
    stars = detect_stars(image)
    match = match_catalogue(stars, image.shape[:2], frame(), one)
    known = np.full((len(stars), 2), np.nan)
    known[match.star] = colours.value[match.entry][:, None]
    balance = balance_on_colours(stars.flux, stars.flux_error, known, np.full_like(known, 0.02), np.full(2, 0.653))
    # A star of this colour is brighter in R by 0.4 mag of it, fainter in B by 0.6 mag.
    shift = 0.653 * np.array([0.4, 0.0, -0.6])
    expected = 10 ** (0.4 * (ZERO_POINTS["G"] - np.array(list(ZERO_POINTS.values())) - shift))
    assert balance.factors == pytest.approx(expected, rel=0.005)
    assert np.all(np.abs(balance.factors - expected)[[0, 2]] < 3.5 * balance.errors[[0, 2]])
    factors = balance.factors.astype(np.float32)
    balanced = dataclasses.replace(stars, flux=stars.flux * factors, flux_error=stars.flux_error * factors)
    reporter = Reporter(lambda event: None, (), CancelToken())
    header = tie_to_catalogue(image * factors, frame(), one, reporter, balanced)
    for name in "RGB":
        assert abs(header[f"ZMZP{name}"] - ZERO_POINTS["G"]) < 0.005
        assert abs(header[f"ZMZP{name}"] - ZERO_POINTS["G"]) < 3 * header[f"ZMZE{name}"]


def test_depth_and_sky_follow_from_the_zero_point(moffat):
    image, catalogue = moffat
    header, _ = tied(image, catalogue)
    radius = 0.7 * 3.2
    faintest = 5 * 6.0 * np.sqrt(np.pi) * radius / (1 - 2 ** -(1.4**2))
    assert header["ZMLIMG"] == pytest.approx(
        ZERO_POINTS["G"] - 2.5 * np.log10(faintest), abs=0.3
    )  # of a Gaussian as wide
    assert header["ZMSKYG"] == pytest.approx(ZERO_POINTS["G"] - 2.5 * np.log10(809.0 / 2.4**2), abs=0.02)


def test_too_few_shipped_stars_are_no_warning(moffat):
    image, catalogue = moffat
    few = {name: values[:3] for name, values in catalogue.magnitude.items()}
    header, warnings = tied(image, Catalogue(catalogue.ra_deg[:3], catalogue.dec_deg[:3], few, "V"))
    assert not warnings
    assert not header


def test_the_shipped_stars_of_a_canvas():
    """The Pleiades: 24 Tauri within two arcseconds of its place, at its magnitude (V 6.28)."""
    wcs = frame()
    wcs.wcs.crval = [56.75, 24.1]
    wcs.wcs.set()
    stars = shipped_stars(CanvasPlan(wcs, (SIZE, SIZE), 2.4), 3)
    away = np.hypot((stars.ra_deg - 56.8377) * np.cos(np.radians(24.1)), stars.dec_deg - 24.1163) * 3600
    assert away.min() < 2.0
    assert stars.magnitude["R"][np.argmin(away)] == pytest.approx(6.28, abs=0.1)
    assert 20 < stars.ra_deg.size < 400
    assert stars.colours.index == "B-V"
    assert stars.colours.value[np.argmin(away)] == pytest.approx(-0.02, abs=0.06)
    assert np.isfinite(stars.colours.value).mean() > 0.7  # the supplement has stars of one band


def test_faint_stars_in_the_rings_do_not_dim_those_that_are_measured():
    """4500 stars a megapixel, three in every ring: with them in the level of the sky zero points are 7 mmag off."""
    spec = PRESETS["tiny"].but(
        nebula="none", stars_per_mpx=4500.0, faintest_adu=1.0e4, brightest_adu=4.0e5, shape=(480, 360)
    )
    truth = plan_survey(Path(), spec, 3)
    scene, wcs = truth.scene, truth.wcs(0)
    planes = scene.render_planes(wcs, (480, 360), 2.8)
    image = np.ascontiguousarray(np.moveaxis(planes, 0, -1)) + np.float32(1000.0)
    image += np.random.default_rng(0).normal(0.0, 5.0, image.shape).astype(np.float32)
    magnitudes = {name: 20.0 - 2.5 * np.log10(scene.flux_adu[:, k]) for k, name in enumerate("RGB")}
    catalogue = Catalogue(scene.ra_deg, scene.dec_deg, magnitudes)
    header = tie_to_catalogue(image, wcs, catalogue, Reporter(lambda event: None, (), CancelToken()))
    for name in "RGB":
        assert abs(header[f"ZMZP{name}"] - 20.0) < 0.003
    everything = detect_stars(image)
    match = match_catalogue(everything, image.shape[:2], wcs, catalogue)
    assert all(abs(point.value - 20.0) > 0.005 for point in zero_points(image, match, catalogue))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "stars_per_mpx"), [(3, 4500.0), (4, 4500.0), (5, 1500.0)])
def test_the_zero_point_of_a_survey_is_true(tmp_path, seed, stars_per_mpx):
    """Six subs, two panels: after decoding, resampling, rejection of three and joining, within 5 mmag."""
    spec = PRESETS["tiny"].but(
        panels=(1, 2), subs_per_panel=3, nights=1, nebula="none", shape=(480, 360), transparency_spread=0.0,
        stars_per_mpx=stars_per_mpx, faintest_adu=1.0e4, brightest_adu=4.0e5, electrons_per_adu=20.0,
        read_noise_adu=1.0,
    )  # fmt: skip
    scene = simulate_survey(tmp_path / "in", spec, seed=seed).scene
    table = Table({"ra": scene.ra_deg, "dec": scene.dec_deg})
    for channel, name in enumerate("RGB"):
        table[f"mag_{name}"] = 20.0 - 2.5 * np.log10(scene.flux_adu[:, channel])
    table.write(tmp_path / "stars.csv")
    settings = GridSettings(colour="sky", grid_rgb_equalize=False, reference_catalogue=str(tmp_path / "stars.csv"))
    zemosaic_worker.run_grid(tmp_path / "in", tmp_path / "out", settings, lambda event: None, CancelToken())
    header = fits.getheader(tmp_path / "out" / "mosaic_grid.fits")
    for name in "RGB":
        assert abs(header[f"ZMZP{name}"] - 20.0) < 0.005


def test_zero_points_that_tiles_tell_are_not_contradicted_by_stars_of_another_band(moffat):
    """Tiles in J against the shipped V_T: the depth of the mosaic is that of the headers, in their filter."""
    image, catalogue = moffat
    away = np.random.default_rng(8).normal(1.2, 0.5, catalogue.ra_deg.size)  # the colours of the stars
    shipped = Catalogue(catalogue.ra_deg, catalogue.dec_deg, {"L": catalogue.magnitude["G"] + away}, "Tycho-2 V_T")
    mono, reporter = np.ascontiguousarray(image[..., 1:2]), Reporter(lambda event: None, (), CancelToken())
    told = fits.Header([("MAGZP", ZERO_POINTS["G"]), ("MAGZPERR", 0.01)])
    header = tie_to_sky(mono, frame(), shipped, told, reporter)
    assert "ZMZPL" not in header
    assert header["MAGZP"] == ZERO_POINTS["G"]
    of_users = Catalogue(catalogue.ra_deg, catalogue.dec_deg, {"L": catalogue.magnitude["G"]})
    tied_too = tie_to_sky(mono, frame(), of_users, told, reporter)
    assert tied_too["ZMZPL"] == pytest.approx(ZERO_POINTS["G"], abs=0.005)
    for card in ("ZMLIML", "ZMSKYL"):
        assert header[card] == pytest.approx(tied_too[card], abs=0.01)
    without = tie_to_sky(mono, frame(), shipped, fits.Header(), reporter)
    assert abs(without["ZMLIML"] - header["ZMLIML"]) > 0.5


def test_the_circle_around_a_canvas_holds_its_corners():
    """A wide canvas whose projection has its centre at one corner: the others lie at different distances."""
    wcs = frame()
    wcs.wcs.cdelt = [-0.05, 0.05]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.set()
    center, radius = circle_of(CanvasPlan(wcs, (700, 900), 180.0))
    x, y = np.array([0.0, 899.0, 0.0, 899.0]), np.array([0.0, 0.0, 699.0, 699.0])
    apart = separation_deg(*wcs.all_pix2world(x, y, 0), *center)
    assert center == pytest.approx([float(value) for value in wcs.all_pix2world(449.5, 349.5, 0)])
    assert apart.max() > 1.05 * apart.min()
    assert radius == pytest.approx(apart.max())
