"""White stars are white whatever the colour of the sky, over the whole mosaic; and catalogues may err."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

import zemosaic_worker
from zemosaic_app.report import write_report
from zemosaic_engine.catalogues.passbands import blackbody, read_passbands
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.photometry.colour_balance import balance_on_colours, balance_on_locus
from zemosaic_engine.photometry.sky import clipped_median
from zemosaic_engine.photometry.stars import detect_stars
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.solving.xp_spectra import WAVELENGTH_NM

SUN_K = 5772.0
CAMERA = "nikon_d5100"
SPEC = PRESETS["tiny"].but(
    panels=(1, 2), subs_per_panel=3, nights=1, spectra="blackbody", passbands=CAMERA, nebula="none",
    stars_per_mpx=4500.0, faintest_adu=1.0e4, brightest_adu=4.0e5, electrons_per_adu=20.0, read_noise_adu=1.0,
)  # fmt: skip
SKIES = {"orange": (2.0, 1.0, 0.5), "blue": (0.5, 1.0, 2.0)}


def b_v(kelvin):
    """B-V of blackbodies; that of 5772 K is the Sun's."""
    bands, wavelength = read_passbands("johnson_cousins"), np.arange(360.0, 902.0, 2.0)

    def index(temperature):
        light = bands.light(wavelength, blackbody(wavelength, np.atleast_1d(temperature)))
        return -2.5 * np.log10(light[:, 2] / light[:, 1])

    return index(kelvin) - index(SUN_K) + 0.653


def write_catalogue(path, scene, seed=1):
    """Stars with their green magnitude and B-V, as noisy as a good catalogue, a tenth of them nonsense."""
    rng = np.random.default_rng(seed)
    colour = b_v(scene.temperature_k) + rng.normal(0.0, 0.03, scene.ra_deg.size)
    wrong = rng.random(colour.size) < 0.1
    colour[wrong] = rng.uniform(-0.2, 1.8, wrong.sum())
    table = Table({"ra": scene.ra_deg, "dec": scene.dec_deg, "mag": 21.0 - 2.5 * np.log10(scene.flux_adu[:, 1])})
    table["b_v"], table["e_b_v"] = colour, 0.03
    table.write(path)
    return path


def write_spectra(folder, scene):
    """A part of Siril's catalogue of spectra, of one cell of level 0 each (chunk by chunk, in nested order)."""
    from zemosaic_engine.solving.healpix import cells_touching

    folder.mkdir()
    cells = cells_touching(scene.center_deg, 1.0, 0)
    flux = blackbody(np.asarray(WAVELENGTH_NM), scene.temperature_k)
    flux *= (scene.flux_adu[:, 1] / flux[:, 100])[:, None]
    for cell in cells:
        header = struct.pack("<48sBBBBBIII63s", b"test", 3, 0, 2, 1, 0, cell, cell, cell, b"")
        inside = cell == cells[0]
        stars = b"".join(
            struct.pack("<iihhhB", round(ra / 360 * (2**31 - 1)), round(dec / 360 * (2**31 - 1)), 0, 0, 12000, 6)
            + (spectrum / spectrum.max() * 2.0).astype("<f2").tobytes()
            for ra, dec, spectrum in zip(scene.ra_deg, scene.dec_deg, flux, strict=True)
        )
        count = scene.ra_deg.size if inside else 0
        path = folder / f"siril_cat1_healpix8_xpsamp_{cell}.dat"
        path.write_bytes(header + struct.pack("<I", count) + (stars if inside else b""))
    return folder


def run(survey, output, **settings):
    lines = []
    zemosaic_worker.run_grid(survey, output, GridSettings(**settings), lines.append, CancelToken())
    with fits.open(output / "mosaic_grid.fits") as hdus:
        header, pixels = hdus[0].header, np.moveaxis(hdus[0].data, 0, -1).astype(np.float32)
        weight = hdus["WEIGHT"].data.copy()
    warnings = [line.text for line in lines if isinstance(line, LogLine) and line.level == "WARN"]
    return SimpleNamespace(header=header, pixels=np.ascontiguousarray(pixels), weight=weight, warnings=warnings)


def white(mosaic, scene, part=lambda x, y: np.ones(x.size, dtype=bool)):
    """R/G and B/G of a star of the temperature of the Sun, by all stars near it, and their errors."""
    stars = detect_stars(mosaic.pixels, starless_rings=True)
    x, y = WCS(mosaic.header).celestial.all_world2pix(scene.ra_deg, scene.dec_deg, 0)
    distance, entry = cKDTree(np.stack([x, y], axis=1)).query(np.stack([stars.x, stars.y], axis=1))
    kelvin = scene.temperature_k[entry]
    good = (distance < 1.0) & (np.abs(kelvin - SUN_K) < 700.0) & part(stars.x, stars.y)
    good &= (stars.flux > 25.0 * stars.flux_error).all(axis=1)
    found = []
    for channel in (0, 2):
        ratio = np.log(stars.flux[good, channel] / stars.flux[good, 1])
        fit = np.polyfit(kelvin[good] - SUN_K, ratio, 1)
        found.append((np.exp(fit[1]), np.std(ratio - np.polyval(fit, kelvin[good] - SUN_K)) / np.sqrt(good.sum())))
    return np.array(found)


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory):
    """The mosaics of one field under two skies, with the colours of each setting."""
    folder = tmp_path_factory.mktemp("colour")
    found = {}
    for name, colour in SKIES.items():
        truth = simulate_survey(folder / name, SPEC.but(sky_colour=colour), seed=3)
        catalogue = write_catalogue(folder / f"{name}.csv", truth.scene)
        output = folder / f"{name}-out"
        for setting in ("sky", "stars", "catalogue") if name == "orange" else ("stars", "catalogue"):
            found[name, setting] = run(folder / name, output, colour=setting, reference_catalogue=str(catalogue))
        found[name, "colours"] = Table.read(output / "colours.ecsv")
        found[name, "report"] = write_report(output).read_text(encoding="utf-8")
    spectra = write_spectra(folder / "spectra", truth.scene)
    found["blue", "spectra"] = run(
        folder / "blue", output, colour="catalogue", reference_catalogue=str(spectra), colour_passbands=CAMERA
    )
    return SimpleNamespace(found=found, scene=truth.scene)


@pytest.mark.parametrize("sky", SKIES)
def test_a_star_like_the_sun_is_white_by_a_catalogue(mosaics, sky):
    """Within 1 % in R/G and B/G, where the sky alone would be off by a factor; the backgrounds stay equal."""
    mosaic = mosaics.found[sky, "catalogue"]
    assert not mosaic.warnings
    assert mosaic.header["ZMCOLOUR"] == "catalogue"
    assert np.abs(white(mosaic, mosaics.scene)[:, 0] - 1.0).max() < 0.01
    assert np.ptp([clipped_median(mosaic.pixels[..., channel])[0] for channel in range(3)]) < 0.2  # of 1450


def test_the_sky_alone_gives_its_colour_to_the_stars(mosaics):
    by_sky, mosaic = mosaics.found["orange", "sky"], mosaics.found["orange", "catalogue"]
    assert np.abs(white(by_sky, mosaics.scene)[:, 0] - 1.0).max() > 0.3
    levels = [clipped_median(one.pixels[..., 1])[0] for one in (by_sky, mosaic)]
    assert levels[0] == pytest.approx(levels[1], abs=3.0)


def test_the_middle_of_the_stars_does_not_follow_the_sky(mosaics):
    """The two skies differ by a factor of 16 in R/B; white by the field's stars by less than 1 % in R/G and B/G."""
    orange, blue = (white(mosaics.found[sky, "stars"], mosaics.scene)[:, 0] for sky in SKIES)
    assert orange == pytest.approx(blue, rel=0.01)
    assert np.abs(np.array([orange, blue]) - 1.0).max() < 0.02


def test_spectra_through_the_passbands_of_the_camera_give_white(mosaics):
    """The Sun's own spectrum is white, which is no blackbody: its ratios are known."""
    mosaic = mosaics.found["blue", "spectra"]
    assert mosaic.header["ZMCOLOUR"] == "spectra"
    bands = read_passbands(CAMERA)
    body = bands.light(np.asarray(WAVELENGTH_NM), blackbody(np.asarray(WAVELENGTH_NM), np.array([SUN_K])))[0]
    expected = (body / bands.white("solar"))[[0, 2]] / (body / bands.white("solar"))[1]
    assert np.abs(expected - 1.0).max() > 0.01
    assert white(mosaic, mosaics.scene)[:, 0] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("sky", SKIES)
def test_white_stars_have_one_zero_point(mosaics, sky):
    """A catalogue of one band gives each channel a term of colour; for white stars the channels agree."""
    header = mosaics.found[sky, "catalogue"].header
    for name in "RB":
        assert header[f"ZMZP{name}"] == pytest.approx(header["ZMZPG"], abs=0.008)
    assert header["ZMZKR"] > 0.3 > -0.3 > header["ZMZKB"]


def test_one_factor_a_channel_is_all_that_happens(mosaics):
    """The mosaic by the sky, times the factor of the header, plus its offset; weights follow."""
    by_sky, mosaic = mosaics.found["orange", "sky"], mosaics.found["orange", "catalogue"]
    assert "ZMCOLOUR" not in by_sky.header
    for channel, name in enumerate("RGB"):
        factor, offset = mosaic.header[f"ZMCF{name}"], mosaic.header[f"ZMCO{name}"]
        expected = by_sky.pixels[..., channel] * factor + offset
        np.testing.assert_allclose(mosaic.pixels[..., channel], expected, rtol=2e-5, atol=0.05)
        np.testing.assert_allclose(mosaic.weight[channel], by_sky.weight[channel] / factor**2, rtol=1e-4)
    assert mosaic.header["ZMCFG"] == 1.0


def test_the_table_of_stars_holds_what_the_plot_shows(mosaics):
    table = mosaics.found["orange", "colours"]
    used = table[np.asarray(table["used"])]
    assert 0.7 < len(used) / np.isfinite(np.ma.filled(table["known_red"], np.nan)).sum() < 0.97  # a tenth is nonsense
    solar = np.abs(used["known_red"] - 0.653) < 0.1
    assert np.abs(np.median(used["red"][solar])) < 0.02


def test_the_report_shows_measured_against_known_colours(mosaics):
    page = mosaics.found["orange", "report"]
    part = page[page.index('<section id="colours">') :].split("</section>")[0]
    assert part.count("data-chart=") == 2
    assert part.count('class="border"') == 2  # where white is
    assert "B-V of the catalogue, mag" in part
    assert f"{mosaics.found['orange', 'catalogue'].header['ZMCFR']:.4f}" in part


def test_errors_and_nonsense_of_a_catalogue_do_not_move_white():
    """Colours of Tycho's faint stars (errors of 0.2 mag), a fifth of them wrong, most redder than white."""
    rng = np.random.default_rng(2)
    kelvin = np.clip(5200.0 * np.exp(rng.normal(0.0, 0.15, 400)), 3300.0, 12000.0)
    bands, wavelength = read_passbands(CAMERA), np.arange(380.0, 782.0, 2.0)
    light = bands.light(wavelength, blackbody(wavelength, np.append(kelvin, SUN_K)))
    flux = 1e4 * light[:-1] / light[:-1, 1:2] * np.array([3.0, 1.0, 0.4])
    error = np.full_like(flux, 100.0)
    flux += rng.normal(0.0, 1.0, flux.shape) * error
    known = b_v(kelvin) + rng.normal(0.0, 0.2, 400)
    wrong = rng.random(400) < 0.2
    known[wrong] = rng.uniform(-0.5, 2.5, wrong.sum())
    two = np.repeat(known[:, None], 2, axis=1)
    found = balance_on_colours(flux, error, two, np.full_like(two, 0.2), np.full(2, 0.653))
    expected = light[-1, 1] / light[-1] / np.array([3.0, 1.0, 0.4])
    assert found.factors == pytest.approx(expected, rel=0.03)
    assert np.all(np.abs(found.factors - expected)[[0, 2]] < 3.5 * found.errors[[0, 2]])
    assert balance_on_colours(flux, error, rng.permutation(two), np.full_like(two, 0.2), np.full(2, 0.653)) is None


def test_the_main_sequence_needs_stars():
    flux = np.full((19, 3), 1e4)
    assert balance_on_locus(flux, np.full_like(flux, 10.0), 0.653) is None


def stars_with_giants(share, rng, count=400, dwarf_k=5900.0):
    """Fluxes of a field's stars and, last, of the Sun."""
    draw = rng.normal(0.0, 1.0, count)
    giant = rng.random(count) < share
    kelvin = np.where(giant, 4400.0 * np.exp(0.08 * draw), dwarf_k * np.exp(0.14 * draw))
    wavelength = np.arange(380.0, 782.0, 2.0)
    light = read_passbands(CAMERA).light(wavelength, blackbody(wavelength, np.append(kelvin, SUN_K)))
    return 1e4 * light / light[:, 1:2] * rng.normal(1.0, 0.01, light.shape)


def white_of_field(share, seed, **population):
    """R/G and B/G of the Sun by the main sequence of a field, over those of the light that is white."""
    flux = stars_with_giants(share, np.random.default_rng(seed), **population)
    error = 0.01 * flux[:-1]
    found = balance_on_locus(flux[:-1], error, 0.653)
    return (flux[-1] * found.factors)[[0, 2]] / flux[-1, 1], found.errors[[0, 2]]


def test_red_giants_do_not_move_white():
    """From none to two thirds of the stars: the mode of all colours would move by more than 5 %."""
    found = np.array([[white_of_field(share, seed)[0] for seed in range(4)] for share in (0.0, 0.25, 0.5, 0.65)])
    assert np.abs(found.mean(axis=1) - 1.0).max() < 0.015
    assert np.ptp(found.mean(axis=1), axis=0).max() < 0.015
    off, error = white_of_field(0.25, 1)
    assert (np.abs(off - 1.0) < 3.0 * error).all()
    assert (error > 0.008).all()  # what fields differ by is in it
    assert (error < 0.03).all()


def test_white_follows_the_dwarfs_and_the_white_point():
    """The method sees no more than it can: hotter dwarfs make white bluer, and a bluer aim the stars redder."""
    usual, hot = (np.mean([white_of_field(0.25, k, dwarf_k=t)[0] for k in range(4)], axis=0) for t in (5900.0, 6200.0))
    assert hot[0] - usual[0] > 0.01
    assert usual[1] - hot[1] > 0.01
    flux = stars_with_giants(0.25, np.random.default_rng(1))[:-1]
    solar, spiral = (balance_on_locus(flux, 0.01 * flux, aim).factors for aim in (0.653, 0.617))
    assert spiral[0] > solar[0]
    assert spiral[2] < solar[2]


@pytest.mark.slow
def test_white_is_the_same_over_the_whole_mosaic(tmp_path):
    """Four panels and two nights under an orange sky: every quarter within 1 %, and the noise of its stars."""
    spec = SPEC.but(panels=(2, 2), subs_per_panel=6, nights=2, sky_colour=SKIES["orange"], sky_colour_spread=0.3)
    truth = simulate_survey(tmp_path / "in", spec, seed=5)
    catalogue = write_catalogue(tmp_path / "stars.csv", truth.scene)
    mosaic = run(tmp_path / "in", tmp_path / "out", colour="catalogue", reference_catalogue=str(catalogue))
    height, width = mosaic.pixels.shape[:2]
    for right in (False, True):
        for top in (False, True):
            found = white(
                mosaic, truth.scene, lambda x, y, r=right, t=top: ((x > width / 2) == r) & ((y > height / 2) == t)
            )
            assert np.all(np.abs(found[:, 0] - 1.0) < 0.01 + 2.0 * found[:, 1])
