"""The catalogue that ships with the program, and the form in which stars are stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.solving import star_zones
from zemosaic_engine.solving.star_zones import StarList, ZonedCatalogue, Zones, separation_deg, write_zones

SHIPPED = star_zones.Path(star_zones.__file__).with_name("tycho2.stars")

# Places (ICRS, epoch 2000) and V_T from the literature, not from the file: SIMBAD.
KNOWN = {
    "Betelgeuse": (88.79294, 7.40706, 0.77),
    "Rigel": (78.63447, -8.20164, 0.28),
    "Deneb": (310.35798, 45.28034, 1.34),
    "Atlas": (57.29059, 24.05342, 3.60),
    "sigma Octantis": (317.19540, -88.95650, 5.48),
    "HD 209458": (330.79489, 18.88432, 7.70),
}


@pytest.fixture(scope="module")
def shipped():
    return ZonedCatalogue(SHIPPED)


@pytest.mark.parametrize("name", KNOWN)
def test_known_stars_are_where_and_as_bright_as_they_are_known_to_be(shipped, name):
    ra, dec, magnitude = KNOWN[name]
    stars = shipped.near((ra, dec), 10.0 / 3600.0)
    assert len(stars)
    assert separation_deg(stars.ra_deg, stars.dec_deg, ra, dec)[0] * 3600.0 < 1.0
    assert stars.magnitude[0] == pytest.approx(magnitude, abs=0.05)


def test_the_catalogue_is_complete_and_small(shipped):
    assert len(shipped) == 1_871_011
    assert SHIPPED.stat().st_size <= 20_000_000
    sky = shipped.whole_sky()
    assert len(shipped.near((0.0, 90.0), 180.0)) == len(shipped)
    # Half of the sky on either side of the equator; V_T reaches 12 for nine stars of ten.
    assert 0.4 < np.mean(sky.dec_deg > 0.0) < 0.6
    assert 12.0 < np.percentile(sky.magnitude, 90) < 12.3


def test_the_notice_travels_with_the_catalogue():
    notice = SHIPPED.with_suffix(".txt").read_bytes()
    kept = star_zones.Path(__file__).resolve().parents[2] / "LICENSES" / "Tycho-2.txt"
    assert notice == kept.read_bytes()
    assert b"BSD-2-Clause" in notice


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 360.0), st.floats(-90.0, 90.0), st.floats(0.01, 40.0))
def test_a_circle_finds_the_stars_that_a_look_at_all_stars_finds(tmp_path_factory, ra, dec, radius):
    folder = tmp_path_factory.getbasetemp()
    rng = np.random.default_rng(5)
    z = rng.uniform(-1.0, 1.0, 3000)
    stars = StarList(
        rng.uniform(0.0, 360.0, z.size), np.degrees(np.arcsin(z)), rng.uniform(1.0, 13.0, z.size).astype(np.float32)
    )
    path = folder / "some.stars"
    if not path.exists():
        write_zones(path, stars, "made up", belts=20)
    catalogue = ZonedCatalogue(path)
    found = catalogue.near((ra, dec), radius)
    sky = catalogue.whole_sky()
    assert len(found) == np.count_nonzero(separation_deg(sky.ra_deg, sky.dec_deg, ra, dec) <= radius)
    assert (np.diff(found.magnitude) >= 0.0).all()


def test_places_and_magnitudes_come_back_as_they_went_in(tmp_path):
    rng = np.random.default_rng(3)
    dec = np.concatenate([np.degrees(np.arcsin(rng.uniform(-1, 1, 5000))), [90.0, -90.0, 0.0]])
    ra = np.concatenate([rng.uniform(0.0, 360.0, 5000), [0.0, 359.9999999, 360.0]])
    stars = StarList(ra, dec, rng.uniform(-1.4, 14.0, ra.size).astype(np.float32))
    write_zones(tmp_path / "x.stars", stars, "made up")
    sky = ZonedCatalogue(tmp_path / "x.stars").whole_sky().brightest_first()
    truth = stars.brightest_first()
    # Two magnitudes may round to one step: each star is looked for where it is.
    for k in range(0, ra.size, 50):
        off = separation_deg(sky.ra_deg, sky.dec_deg, truth.ra_deg[k], truth.dec_deg[k])
        nearest = int(np.argmin(off))
        assert off[nearest] * 3.6e6 < 1.0
        assert abs(sky.magnitude[nearest] - truth.magnitude[k]) < 0.0011


def test_zones_cover_the_sky_once():
    zones = Zones(30)
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    zone = zones.zone_of(ra, dec)
    ra0, dec0, width = zones.corner_deg(zone)
    assert ((ra >= ra0 - 1e-9) & (ra <= ra0 + width + 1e-9)).all()
    assert ((dec >= dec0 - 1e-9) & (dec <= dec0 + zones.height_deg + 1e-9)).all()
    assert np.unique(zone).size > 0.9 * len(zones)


def test_a_damaged_catalogue_is_refused_by_name(tmp_path):
    short = tmp_path / "short.stars"
    short.write_bytes(SHIPPED.read_bytes()[:-8])
    with pytest.raises(SettingsError, match=r"short\.stars is not whole"):
        ZonedCatalogue(short)
    (tmp_path / "text.stars").write_text("hello")
    with pytest.raises(SettingsError, match="is not a star catalogue"):
        ZonedCatalogue(tmp_path / "text.stars")
    with pytest.raises(SettingsError, match="cannot be read"):
        ZonedCatalogue(tmp_path / "none.stars")


def test_the_brightest_of_a_circle_are_the_first_of_all_of_it(tmp_path):
    """Whatever number of them is asked for, also half or a quarter of all."""
    rng = np.random.default_rng(7)
    stars = StarList(
        rng.uniform(0.0, 360.0, 40), rng.uniform(-60.0, 60.0, 40), rng.permutation(40).astype(np.float32) / 4
    )
    write_zones(tmp_path / "few.stars", stars, "made up", belts=8)
    catalogue = ZonedCatalogue(tmp_path / "few.stars")
    for radius in (180.0, 60.0):
        whole = catalogue.near((100.0, 10.0), radius)
        for most in range(1, len(whole) + 2):
            found = catalogue.near((100.0, 10.0), radius, most=most)
            np.testing.assert_array_equal(found.magnitude, whole.magnitude[:most])
    assert len(catalogue.near((100.0, 10.0), 1e-4)) == 0
