"""Deeper catalogues, in files made here as their makers document them."""

import math
import struct

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from benchmarks.star_fields import random_plate
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.solving import catalogues, session
from zemosaic_engine.solving.catalogues import AstapCatalogue, SirilCatalogue, open_catalogues
from zemosaic_engine.solving.healpix import cells_touching, nested_cells
from zemosaic_engine.solving.journal import SolutionJournal
from zemosaic_engine.solving.star_zones import StarList, separation_deg
from zemosaic_engine.subs.frames import read_sub


def some_stars(number=4000, seed=1):
    rng = np.random.default_rng(seed)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    return StarList(rng.uniform(0, 360, number), dec, np.round(rng.uniform(2, 16, number), 1).astype(np.float32))


def belts_of(ending):
    """Edges and cells of the belts, written out as in the documentation of ASTAP."""
    if ending == ".290":
        edges = [90.0, 85.23224404, 75.66348756, 65.99286637, 56.14497387, 46.03163067, 35.54307745, 24.53348115,
                 12.79440589, 0.0]  # fmt: skip
        cells = [1, 4, 8, 12, 16, 20, 24, 28, 32]
    else:
        edges = [90.0, *(87.42857143 - 5.142857143 * k for k in range(17)), 0.0]
        cells = [1, 3, 9, 15, 21, 27, 33, 38, 43, 48, 52, 56, 60, 63, 65, 67, 68, 69]
    return [*(-e for e in edges), *edges[-2::-1]], [*cells, *cells[::-1]]


def write_astap(folder, stars, ending, size, prefix="d50"):
    edges, cells = belts_of(ending)
    for belt, number in enumerate(cells):
        for cell in range(number):
            inside = (stars.dec_deg >= edges[belt]) & (stars.dec_deg < edges[belt + 1])
            inside &= (stars.ra_deg / 360 * number).astype(int) == cell
            out = bytearray(b"a made up database, Epoch=2025".ljust(109) + bytes([size]))
            group = None
            for k in sorted(np.flatnonzero(inside), key=lambda k: stars.magnitude[k]):
                dec = round(stars.dec_deg[k] / 90 * (2**23 - 1))
                high, magnitude = dec >> 16, round(float(stars.magnitude[k]) * 10)
                if (high, magnitude) != group:
                    group = high, magnitude
                    out += b"\xff\xff\xff" + bytes([high + 128, magnitude + 16]) + bytes(size - 5)
                ra = min(round(stars.ra_deg[k] / 360 * (2**24 - 1)), 2**24 - 2)
                out += struct.pack("<I", ra)[:3] + struct.pack("<H", dec & 0xFFFF) + bytes(size - 5)
            if inside.any():
                (folder / f"{prefix}_{belt + 1:02d}{cell + 1:02d}{ending}").write_bytes(out)


def write_siril(path, stars, level=3, pm=(0, 0), chunk=None):
    cell = nested_cells(stars.ra_deg, stars.dec_deg, level)
    first, last = chunk or (0, 12 * 4**level - 1)
    order = [k for k in np.argsort(cell, kind="stable") if first <= cell[k] <= last]
    counts = np.bincount(cell[order] - first, minlength=last - first + 1)
    title = b"Siril Gaia DR3 astrometric extract".ljust(48, b"\0")
    header = struct.pack("<48sBBBBBIII63s", title, 3, level, 1, int(chunk is not None), 1, 0, first, last, b"")
    scale = (2**31 - 1) / 360.0
    body = b"".join(
        struct.pack("<iihhHh", int(stars.ra_deg[k] * scale), int(stars.dec_deg[k] * scale), *pm, 5000,
                    round(float(stars.magnitude[k]) * 1000))
        for k in order
    )  # fmt: skip
    path.write_bytes(header + np.cumsum(counts).astype("<u4").tobytes() + body)


PLACES = [
    (10.0, 0.0, 5.0),
    (359.9, 45.0, 3.0),
    (0.05, -30.0, 8.0),
    (123.0, 88.5, 4.0),
    (200.0, -89.9, 3.0),
    (77, 12.7, 2),
]


def check_near(catalogue, stars, tolerance_arcsec):
    for ra, dec, radius in PLACES:
        found = catalogue.near((ra, dec), radius)
        truth = stars.within((ra, dec), radius)
        assert abs(len(found) - len(truth)) <= 1, (ra, dec)
        assert len(truth) >= 1
        assert (np.diff(found.magnitude) >= 0).all()
        for k in range(len(truth)):
            off = separation_deg(found.ra_deg, found.dec_deg, truth.ra_deg[k], truth.dec_deg[k])
            nearest = np.argmin(off)
            if off[nearest] * 3600 < tolerance_arcsec:
                assert found.magnitude[nearest] == pytest.approx(truth.magnitude[k], abs=0.051)
            else:
                at_edge = separation_deg(truth.ra_deg[k : k + 1], truth.dec_deg[k : k + 1], ra, dec)[0]
                assert at_edge > radius - 0.01


@pytest.mark.parametrize(("ending", "size"), [(".1476", 5), (".290", 5), (".1476", 6)])
def test_databases_of_astap(tmp_path, ending, size):
    stars = some_stars()
    write_astap(tmp_path, stars, ending, size)
    catalogue = AstapCatalogue(tmp_path, "d50", ending)
    assert catalogue.name == "ASTAP D50"
    check_near(catalogue, stars, 0.2)
    assert len(catalogue.near((10.0, 0.0), 20.0, most=7)) == 7


def test_a_database_of_astap_with_names_of_stars_is_refused(tmp_path):
    (tmp_path / "hyg_0101.290").write_bytes(bytes(109) + b"\x0b" + bytes(110))
    with pytest.raises(SettingsError, match="records have 11 bytes"):
        AstapCatalogue(tmp_path, "hyg", ".290").near((0.0, -90.0), 1.0)


def test_the_local_gaia_of_siril(tmp_path):
    stars = some_stars()
    path = tmp_path / "siril_cat_healpix8_astro.dat"
    write_siril(path, stars)
    check_near(SirilCatalogue(path), stars, 0.01)
    assert len(SirilCatalogue(path).near((10.0, 0.0), 20.0, most=7)) == 7


def test_a_chunk_of_the_local_gaia_of_siril(tmp_path):
    stars = some_stars()
    path = tmp_path / "siril_cat_astro.dat"
    cell = int(nested_cells(np.array(10.0), np.array(0.0), 1))
    write_siril(path, stars, chunk=(16 * cell, 16 * cell + 15))
    found = SirilCatalogue(path).near((10.0, 0.0), 30.0)
    truth = stars.within((10.0, 0.0), 30.0)
    inside = nested_cells(truth.ra_deg, truth.dec_deg, 1) == cell
    assert len(found) == np.count_nonzero(inside) > 10


def test_stars_of_gaia_move(tmp_path):
    star = StarList(np.array([100.0]), np.array([60.0]), np.array([8.0], np.float32))
    path = tmp_path / "siril_cat_healpix8_astro.dat"
    write_siril(path, star, pm=(2000, -1000))
    moved = SirilCatalogue(path).at(2026.0).near((100.0, 60.0), 0.1)
    assert (moved.ra_deg[0] - 100.0) * 3600 * math.cos(math.radians(60)) == pytest.approx(20.0, abs=0.05)
    assert (moved.dec_deg[0] - 60.0) * 3600 == pytest.approx(-10.0, abs=0.05)


@pytest.mark.parametrize(("content", "words"), [(b"short", "not whole"), (bytes(128 + 4 * 12), "not the astrometric")])
def test_a_damaged_catalogue_of_siril_is_refused(tmp_path, content, words):
    path = tmp_path / "siril_cat_healpix8_astro.dat"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        SirilCatalogue(path).near((0.0, 0.0), 1.0)


@pytest.mark.parametrize("ending", [".csv", ".ecsv", ".fits"])
def test_tables(tmp_path, ending):
    stars = some_stars(200)
    Table({"ra": stars.ra_deg, "dec": stars.dec_deg, "phot_g_mean_mag": stars.magnitude}).write(tmp_path / f"t{ending}")
    (catalogue,) = open_catalogues(str(tmp_path))
    found = catalogue.near((180.0, 0.0), 40.0)
    assert len(found) == len(stars.within((180.0, 0.0), 40.0))
    assert (np.diff(found.magnitude) >= 0).all()


def test_what_is_found_in_a_folder(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="holds no star catalogue"):
        open_catalogues(str(tmp_path))
    with pytest.raises(SettingsError, match="is not there"):
        open_catalogues(str(tmp_path / "none"))
    write_siril(tmp_path / "siril_cat_healpix8_astro.dat", some_stars(50))
    (tmp_path / "d80_0101.1476").write_bytes(bytes(109) + b"\x05")
    assert [c.name for c in open_catalogues(str(tmp_path))] == ["Gaia (Siril)", "ASTAP D80"]
    monkeypatch.setattr(catalogues, "_usual_places", lambda: [tmp_path, tmp_path / "none"])
    assert [c.name for c in open_catalogues("")] == ["Gaia (Siril)", "ASTAP D80"]


def test_cells_of_healpix_are_those_of_its_library():
    library = pytest.importorskip("astropy_healpix")
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 20000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20000)))
    for level in (0, 1, 3, 8):
        grid = library.HEALPix(1 << level, order="nested")
        expected = grid.lonlat_to_healpix(ra * u.deg, dec * u.deg)
        np.testing.assert_array_equal(nested_cells(ra, dec, level), expected)


@pytest.mark.parametrize(("ra", "dec", "radius"), PLACES)
def test_cells_that_a_circle_touches(ra, dec, radius):
    stars = some_stars(20000)
    cells = set(cells_touching((ra, dec), radius, 4).tolist())
    inside = stars.within((ra, dec), radius)
    assert set(nested_cells(inside.ra_deg, inside.dec_deg, 4).tolist()) <= cells
    assert len(cells) < 12 * 4**4


def test_a_narrow_field_is_solved_by_a_deep_catalogue_and_not_without(tmp_path):
    rng = np.random.default_rng(4)
    plate = random_plate(rng, 0.15, (500, 700), (83.0, 62.0))
    around = 83.0 + rng.uniform(-1.2, 1.2, 3000) / math.cos(math.radians(62)), 62.0 + rng.uniform(-1.2, 1.2, 3000)
    stars = StarList(*around, np.round(rng.uniform(11.0, 16.0, 3000), 1).astype(np.float32)).brightest_first()
    write_astap(tmp_path, stars, ".1476", 5)
    x, y = plate.to_pixel(stars.ra_deg, stars.dec_deg)
    pixels = rng.normal(1000.0, 20.0, (500, 700))
    row, column = np.mgrid[:500, :700]
    for k in np.flatnonzero((x > 0) & (y > 0) & (x < 700) & (y < 500)):
        height = 300.0 * 10 ** (-0.4 * (stars.magnitude[k] - 15.5))
        pixels += height * np.exp(-0.5 * ((column - x[k]) ** 2 + (row - y[k]) ** 2) / 1.3**2)
    scale = 3600 * math.degrees(plate.scale_rad)
    header = fits.Header({"RA": 83.1, "DEC": 62.1, "PIXSCALE": scale})
    (tmp_path / "subs").mkdir()
    fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(tmp_path / "subs" / "narrow.fit")
    sub = read_sub(tmp_path / "subs" / "narrow.fit")
    for folder, is_solved in ((str(tmp_path), True), ("", False)):
        solver = session.PlateSolver(GridSettings(star_catalogue_dir=folder), SolutionJournal(None))
        if not folder:
            solver._deep = ()  # whatever this machine has
        solved = solver.solve(sub, (), blind=False, anew=False, check=lambda: None)
        assert (solved.info is not None) == is_solved
        if is_solved:
            assert solved.info.center_deg == pytest.approx((83.0, 62.0), abs=1e-4)
            assert solved.rms_px < 0.3
