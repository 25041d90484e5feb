"""Names on the sky: the tables are whole, and a field finds what lies in it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_engine.canvas.named_field import name_of_field, objects_in_field, size_of_field, told_objects
from zemosaic_engine.catalogues.sky_objects import named_objects
from zemosaic_engine.events import Metric, Reporter
from zemosaic_engine.mosaic.mask import Flag
from zemosaic_engine.mosaic.names import name_field
from zemosaic_engine.solving.star_zones import shipped_catalogue


def field(ra, dec, shape=(300, 360), scale_arcsec=12.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [shape[1] / 2 + 0.5, shape[0] / 2 + 0.5]
    wcs.wcs.cdelt = [-scale_arcsec / 3600.0, scale_arcsec / 3600.0]
    return wcs, shape


def names(found):
    return [one.object.name for one in found]


def test_the_tables_are_whole():
    objects = named_objects()
    assert {one.name for one in objects if one.is_messier} == {f"M {number}" for number in range(1, 111)}
    assert sum(one.name.startswith("NGC ") for one in objects) > 7000
    assert sum(one.name.startswith("IC ") for one in objects) > 4000
    assert sum(one.kind == "star" for one in objects) > 100
    assert len({one.name for one in objects}) == len(objects)
    assert all(0 <= one.ra_deg < 360 and -90 <= one.dec_deg <= 90 for one in objects)


# Positions from the literature, which is not where the table comes from: M 31 (Evans et al. 2010), M 87 (ICRF),
# M 42's Trapezium (theta1 Ori C), the Crab pulsar.
@pytest.mark.parametrize(
    ("name", "place", "within_arcmin"),
    [
        ("M 31", "00h42m44.33s +41d16m07.5s", 0.2),
        ("M 87", "12h30m49.42s +12d23m28.0s", 0.2),
        ("M 42", "05h35m16.46s -05d23m22.8s", 1.0),
        ("M 1", "05h34m31.97s +22d00m52.1s", 0.5),
    ],
)
def test_objects_are_where_they_are(name, place, within_arcmin):
    found = next(one for one in named_objects() if one.name == name)
    assert SkyCoord(found.ra_deg, found.dec_deg, unit="deg").separation(SkyCoord(place)).arcmin < within_arcmin


@pytest.mark.parametrize(
    ("name", "common"),
    [("M 1", "Crab Nebula"), ("M 17", "Omega Nebula"), ("M 27", "Dumbbell Nebula"), ("IC 434", "Horsehead Nebula"),
     ("NGC 2024", "Flame Nebula")],
)  # fmt: skip
def test_objects_have_the_names_that_people_use(name, common):
    assert next(one for one in named_objects() if one.name == name).common.split("; ")[0] == common


def test_bright_stars_are_those_of_the_star_catalogue():
    """Most named stars are there in the catalogue for plate solving, within 15 arcseconds, with their magnitude."""
    catalogue, met = shipped_catalogue(), 0
    for star in (one for one in named_objects() if one.kind == "star"):
        near = catalogue.near((star.ra_deg, star.dec_deg), 15.0 / 3600.0)
        met += bool(len(near) and abs(near.magnitude.min() - star.magnitude) < 0.6)
    assert met > 75  # it lacks some of the brightest


def test_a_field_knows_what_is_in_it():
    wcs, shape = field(192.72, 41.12)
    found = objects_in_field(wcs, shape)
    assert names(found)[0] == "M 94"
    assert (found[0].x, found[0].y) == pytest.approx((shape[1] / 2 - 0.5, shape[0] / 2 - 0.5), abs=1.0)
    assert name_of_field(found) == "M 94"
    assert told_objects(found)[0] == "M 94 (NGC 4736)"
    assert size_of_field(wcs, shape) == "1.2 x 1.0 degrees"
    assert size_of_field(*field(192.72, 41.12, scale_arcsec=3.0)) == "18 x 15 arcminutes"


@pytest.mark.parametrize("place", [(-0.45, 100.0), (359.45, 100.0), (100.0, -0.45), (100.0, 299.45)])
def test_an_object_counts_up_to_the_edges_of_the_outermost_pixels(place):
    wcs, shape = field(192.72, 41.12)
    m94 = next(one for one in named_objects() if one.name == "M 94")
    wcs.wcs.crval = m94.ra_deg, m94.dec_deg
    for middle, is_in in ((place, True), (tuple(side + 0.1 * np.sign(side - 150.0) for side in place), False)):
        wcs.wcs.crpix = [side + 1.0 for side in middle]
        assert ("M 94" in names(objects_in_field(wcs, shape))) is is_in


def test_only_what_is_covered_counts():
    wcs, shape = field(192.72, 41.12)
    left_half = objects_in_field(wcs, shape, lambda rows, columns: columns < shape[1] // 3)
    assert "M 94" not in names(left_half)
    assert all(one.x < shape[1] // 3 for one in left_half)


def test_a_field_at_the_pole_and_one_across_ra_zero():
    assert "Polaris" in names(objects_in_field(*field(0.0, 89.9, scale_arcsec=30.0)))
    assert "NGC 7814" in names(objects_in_field(*field(0.3, 16.1, scale_arcsec=10.0)))


def test_a_field_without_a_prominent_object_has_no_name():
    faint = [one for one in objects_in_field(*field(192.72, 41.12)) if one.object.prominence < 1.0]
    assert name_of_field(faint) == ""


@pytest.mark.parametrize("told", [True, False])
def test_the_mosaic_is_named_where_no_sub_names_it(told):
    wcs, shape = field(192.72, 41.12)
    mask = np.zeros(shape, dtype=np.uint8)
    cards = fits.Header([("OBJECT", "My galaxy")] if told else [])
    events = []
    reporter = Reporter(events.append)
    name_field(cards, wcs, mask, reporter)
    assert cards["OBJECT"] == ("My galaxy" if told else "M 94")
    figures = {event.figure: str(event.text) for event in events if isinstance(event, Metric)}
    assert figures["Field"] == "M 94, 1.2 x 1.0 degrees"
    assert figures["Objects in the field"].startswith("M 94 (NGC 4736)")

    cards, mask[:] = fits.Header(), np.uint8(Flag.OUTSIDE)
    name_field(cards, wcs, mask, reporter)
    assert "OBJECT" not in cards
