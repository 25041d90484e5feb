"""Colours of stars as catalogues tell them, and passbands as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from tests.unit.test_star_catalogues import some_stars, write_astap, write_siril
from zemosaic_engine.catalogues.colours import WHITE, johnson_of_temperature, johnson_of_tycho
from zemosaic_engine.catalogues.passbands import blackbody, known_passbands, read_passbands
from zemosaic_engine.catalogues.reference import read_catalogue
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.mosaic.colour import colours_of
from zemosaic_engine.solving.catalogues import open_catalogues
from zemosaic_engine.solving.star_zones import StarList, ZonedCatalogue, write_zones


@pytest.mark.parametrize(
    ("columns", "cells", "index", "value", "error"),
    [
        ("mag,bp_rp", "9,0.82", "BP-RP", 0.82, None),
        ("mag,BP-RP,e_BP-RP", "9,0.82,0.01", "BP-RP", 0.82, 0.01),
        ("phot_g_mean_mag,phot_bp_mean_mag,phot_rp_mean_mag", "9,9.5,8.75", "BP-RP", 0.75, None),
        ("Gmag,BPmag,RPmag,e_BPmag,e_RPmag", "9,9.5,8.75,0.03,0.04", "BP-RP", 0.75, 0.05),
        ("mag,B-V,e_B-V", "9,0.65,0.02", "B-V", 0.65, 0.02),
        ("Vmag,Bmag,e_Vmag,e_Bmag", "9,9.65,0.03,0.04", "B-V", 0.65, 0.05),
        ("mag,BTmag,VTmag", "9,9.724,9.0", "B-V", 0.653, None),
    ],
)
def test_columns_of_colours(tmp_path, columns, cells, index, value, error):
    (tmp_path / "stars.csv").write_text(f"ra,dec,{columns}\n10,20,{cells}\n,20,{cells}\n", encoding="utf-8")
    colours = read_catalogue(tmp_path / "stars.csv", ("L",)).colours
    assert colours.index == index
    assert colours.value == pytest.approx([value], abs=0.002)
    assert np.isnan(colours.error[0]) if error is None else colours.error[0] == pytest.approx(error)


def test_a_catalogue_without_colours(tmp_path):
    (tmp_path / "stars.csv").write_text("ra,dec,mag\n10,20,9\n", encoding="utf-8")
    assert read_catalogue(tmp_path / "stars.csv", ("L",)).colours is None


def test_colours_of_tycho_and_of_temperatures_become_b_v():
    """Both branches of the transformation, and their ends; the Sun, an A0 star and an M dwarf by their temperatures."""
    tycho = np.linspace(-0.2, 2.6, 281)
    johnson = johnson_of_tycho(tycho)
    assert np.abs(np.diff(johnson)).max() < 0.02  # no step between the branches
    assert (np.diff(johnson) > 0.0).all()
    assert np.interp(0.85, tycho, johnson) == pytest.approx(0.757, abs=0.01)  # ESA (1997) has 0.75 there
    assert johnson_of_temperature(np.array([5772.0, 9700.0, 3850.0])) == pytest.approx([0.653, 0.03, 1.45], abs=0.05)
    kelvin = 4600.0 * (1.0 / (0.92 * 0.8 + 1.7) + 1.0 / (0.92 * 0.8 + 0.62))
    assert johnson_of_temperature(np.array([kelvin])) == pytest.approx([0.8], abs=1e-9)
    assert np.isnan(johnson_of_temperature(np.array([0.0]))).all()


def test_zones_keep_colours(tmp_path):
    stars = some_stars(2000)
    rng = np.random.default_rng(3)
    colour = rng.uniform(-0.9, 5.0, 2000).astype(np.float32)
    colour[:50], colour[50:60] = np.nan, 7.0
    error = rng.uniform(0.01, 2.0, 2000).astype(np.float32)
    stars = StarList(stars.ra_deg, stars.dec_deg, stars.magnitude, colour, error)
    write_zones(tmp_path / "a.stars", stars, "made up", belts=30)
    back = ZonedCatalogue(tmp_path / "a.stars")
    there, truth = back.near((120.0, 10.0), 40.0), stars.within((120.0, 10.0), 40.0).brightest_first()
    assert len(there) == len(truth)
    place = {(round(r, 4), round(d, 4)): k for k, (r, d) in enumerate(zip(truth.ra_deg, truth.dec_deg, strict=True))}
    order = [place[round(r, 4), round(d, 4)] for r, d in zip(there.ra_deg, there.dec_deg, strict=True)]
    expected = np.where(truth.colour[order] > 5.1, np.nan, truth.colour[order])
    np.testing.assert_allclose(there.colour, expected, atol=0.0031)
    known = np.isfinite(expected)
    np.testing.assert_allclose(there.colour_error[known], truth.colour_error[order][known], rtol=0.06)
    few = back.near((120.0, 10.0), 40.0, most=7)
    np.testing.assert_array_equal(few.colour, there.colour[:7])
    write_zones(tmp_path / "b.stars", some_stars(100), "made up", belts=30)
    assert np.isnan(ZonedCatalogue(tmp_path / "b.stars").near((0.0, 0.0), 90.0).colour).all()


def test_folders_tell_colours(tmp_path):
    (tmp_path / "astap").mkdir()
    write_astap(tmp_path / "astap", some_stars(300), ".1476", 6, "v50")
    first = open_catalogues(str(tmp_path / "astap"))[0]
    assert first.colour_index == "BP-RP"
    assert (first.near((0.0, 0.0), 90.0).colour == 0.0).all()  # as it was written
    (tmp_path / "plain").mkdir()
    write_astap(tmp_path / "plain", some_stars(300), ".1476", 5)
    assert open_catalogues(str(tmp_path / "plain"))[0].colour_index is None
    (tmp_path / "siril").mkdir()
    write_siril(tmp_path / "siril" / "siril_cat_healpix8_astro.dat", some_stars(300))
    gaia = open_catalogues(str(tmp_path / "siril"))[0]
    assert gaia.colour_index == "B-V"
    assert gaia.near((0.0, 0.0), 90.0).colour == pytest.approx(johnson_of_temperature(np.array([5000.0]))[0])


def test_passbands_that_ship():
    assert known_passbands() == ("johnson_cousins", "nikon_d5100")
    wavelength = np.arange(360.0, 902.0, 2.0)
    for name in known_passbands():
        bands = read_passbands(name)
        peaks = bands.wavelength_nm[np.argmax(bands.response, axis=0)]
        assert peaks[0] > peaks[1] > peaks[2]
        hot, cool = bands.light(wavelength, blackbody(wavelength, np.array([9000.0, 4000.0])))
        assert hot[2] / hot[0] > 2.0 * cool[2] / cool[0]
        sun, spiral = bands.white("solar"), bands.white("spiral")
        assert spiral[2] / spiral[0] > sun[2] / sun[0]  # bluer


def test_sunlight_has_the_colour_that_is_called_white():
    """Against blackbodies through B and V: the tilt to spiral galaxies is the difference of the two whites."""
    bands = read_passbands("johnson_cousins")
    sun, spiral = (-2.5 * np.log10(bands.white(kind)[2] / bands.white(kind)[1]) for kind in ("solar", "spiral"))
    assert spiral - sun == pytest.approx(WHITE["spiral"]["B-V"] - WHITE["solar"]["B-V"], abs=0.003)


def test_passbands_of_a_user(tmp_path):
    table = "wavelength_nm,R,G,B\n400,0,0,1\n500,0,1,0\n600,1,0,0\n"
    (tmp_path / "mine.csv").write_text("# a camera\n" + table, encoding="utf-8")
    photons = read_passbands(str(tmp_path / "mine.csv"))
    assert photons.response.max(axis=0) == pytest.approx([1.0, 5 / 6, 4 / 6])  # a red photon has less energy
    (tmp_path / "energy.csv").write_text("# per: energy\n" + table, encoding="utf-8")
    assert read_passbands(str(tmp_path / "energy.csv")).response.max(axis=0) == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    "text",
    ["", "nm,R,G,B\n400,0,0,1\n", "wavelength_nm,R,G,B\n400,0,0,1\n500,0,x,0\n600,1,0,0\n",
     "wavelength_nm,R,G,B\n400,0,0,1\n500,0,-1,0\n600,1,0,0\n",
     "wavelength_nm,R,G,B\n0.4,0,0,1\n0.5,0,1,0\n0.6,1,0,0\n",
     "wavelength_nm,R,G,B\n400,0,0,1\n500,0,1\n600,1,0,0\n", "wavelength_nm,R,G,B\n600,0,0,1\n500,0,1,0\n400,1,0,0\n"],
)  # fmt: skip
def test_what_is_no_table_of_passbands(tmp_path, text):
    (tmp_path / "mine.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"mine\.csv are no table"):
        read_passbands(str(tmp_path / "mine.csv"))


def test_passbands_that_nobody_knows():
    with pytest.raises(SettingsError, match="neither a file nor one of johnson_cousins, nikon_d5100"):
        read_passbands("imx999")


def test_colours_are_told_by_all_their_cards_or_not_at_all():
    cards = {f"ZMCF{name}": 1.0 + number for number, name in enumerate("RGB")}
    cards |= {f"ZMCO{name}": 10.0 * number for number, name in enumerate("RGB")}
    factors, offsets = colours_of(fits.Header(cards))
    assert (factors.tolist(), offsets.tolist()) == ([1.0, 2.0, 3.0], [0.0, 10.0, 20.0])
    for name in cards:
        assert colours_of(fits.Header({key: value for key, value in cards.items() if key != name})) is None
