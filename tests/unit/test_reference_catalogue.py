"""A catalogue of the user: sexagesimal places, unknown cells, and sentences that name the line of what is wrong."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table

from zemosaic_engine.catalogues.reference import read_catalogue
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.run.reference_stars import check_reference
from zemosaic_engine.settings import GridSettings

RGB = ("R", "G", "B")


def read(tmp_path, text, name="stars.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_catalogue(tmp_path / name, RGB)


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ("83.5", "-5.25", (83.5, -5.25)),
        ("05:34:00", "-05:15:00", (83.5, -5.25)),
        ("5 34 0.0", "-5 15 0", (83.5, -5.25)),
        ("05h34m00.0s", "-00d15m00s", (83.5, -0.25)),
        ("83d30m00s", "+5d15m0s", (83.5, 5.25)),
        (" 83.5 ", "N/A", None),
        ("", "1.0", None),
    ],
)
def test_places_of_every_kind(tmp_path, ra, dec, expected):
    stars = read(tmp_path, f"ra,dec,mag\n{ra},{dec},12.5\n10.0,20.0,11\nx10,20.0,11\n".replace("x10", "10"))
    assert len(stars.ra_deg) == (3 if expected else 2)
    if expected:
        assert (stars.ra_deg[0], stars.dec_deg[0]) == pytest.approx(expected)
    assert all(len(values) == len(stars.ra_deg) for values in stars.magnitude.values())


def test_a_magnitude_may_be_unknown(tmp_path):
    stars = read(tmp_path, "ra,dec,rmag,gmag,bmag\n1,2,N/A,10,\n3,4,9,null,8\n")
    np.testing.assert_array_equal(stars.magnitude["R"], [np.nan, 9.0])
    np.testing.assert_array_equal(stars.magnitude["G"], [10.0, np.nan])
    np.testing.assert_array_equal(stars.magnitude["B"], [np.nan, 8.0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ra,dec,mag\n1,2,3\nabc,2,3\n", r"stars\.csv, line 3: ra is 'abc', which is no number"),
        ("ra,dec,mag\n1,2,3\n\n05:61:00,2,3\n", r"line 4: ra is '05:61:00'"),
        ("ra,dec,mag\n1,2,1e999\n", r"line 2: mag is 'inf'"),
        ("ra,dec,mag\n1,2,x\n1,2," + "y" * 200_000 + "\n", r"line 2: mag is 'x'"),
        ("ra,dec,mag\n1,2," + "y" * 200_000 + "\n", r"line 2: mag is 'y{40}'|cannot be read"),
        ("ra,mag\n1,2\n", "no column of declinations"),
        ("", "holds no star"),
        ("ra,dec,mag\n", "holds no star"),
        ("ra,dec,mag\n1,2\n1,2,3,4,5\n", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, reason):
    with pytest.raises(SettingsError, match=reason) as caught:
        read(tmp_path, text)
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_the_line_of_an_ecsv(tmp_path):
    table = Table({"ra": ["1", "x"], "dec": [1.0, 2.0], "mag": [1.0, 2.0]})
    table.write(tmp_path / "stars.ecsv", format="ascii.ecsv")
    lines = (tmp_path / "stars.ecsv").read_text().splitlines()
    with pytest.raises(SettingsError, match=f"line {len(lines)}: ra is 'x'"):
        read_catalogue(tmp_path / "stars.ecsv", RGB)


def test_a_fits_table_of_texts(tmp_path):
    Table({"ra": ["05:34:00"], "dec": ["-05:15:00"], "mag": [9.0]}).write(tmp_path / "stars.fits")
    stars = read_catalogue(tmp_path / "stars.fits", RGB)
    assert (stars.ra_deg[0], stars.dec_deg[0]) == pytest.approx((83.5, -5.25))
    Table({"ra": [[1.0, 2.0]], "dec": [1.0], "mag": [9.0]}).write(tmp_path / "many.fits")
    with pytest.raises(SettingsError, match="cells of its column ra hold several values"):
        read_catalogue(tmp_path / "many.fits", RGB)


def test_an_ecsv_nested_without_end(tmp_path):
    text = "# %ECSV 1.0\n# ---\n# datatype: " + "[" * 5000 + "\nra dec mag\n1 2 3\n"
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path, text, "stars.ecsv")


@pytest.mark.parametrize(
    "text",
    [
        "# of the field\nra,dec,mag\n# a comment\n83.5,-5.25,12.5\n10.0,20.0,11\n",
        "ra;dec;mag\n83.5;-5.25;12.5\n10.0;20.0;11\n",
        "ra;dec;mag\n83,5;-5,25;12,5\n10,0;20,0;11\n",
        "ra\tdec\tmag\n83.5\t-5.25\t12.5\n10.0\t20.0\t11\n",
        "\ufeffra|dec|mag\n83.5|-5.25|12.5\n10.0|20.0|11\n",
        "ra\tdec\tmag\n83,5\t-5,25\t12,5\n10,0\t20,0\t11\n",
        '"ra","dec","mag"\n"83,5","-5,25","12,5"\n"10,0","20,0","11"\n',
        "ra dec mag\n83.5 -5.25 12.5\n10.0 20.0 11\n",
        "# of the field\n#  ra      dec     mag\n  83.5   -5.25    12.5\n  10.0   20.00    11.0  # near\n",
        "RA (deg),Dec (deg),V [mag]\n83.5,-5.25,12.5\n10.0,20.0,11\n",
        "RA_J2000,DEC_J2000,Vmag\n83.5,-5.25,12.5\n10.0,20.0,11\n",
        "Right Ascension;Declination;V\n05:34:00;-05:15:00;12,5\n00:40:00;+20:00:00;11\n",
    ],
)
def test_tables_of_other_programs(tmp_path, text):
    stars = read(tmp_path, text)
    np.testing.assert_allclose(stars.ra_deg, [83.5, 10.0])
    np.testing.assert_allclose(stars.dec_deg, [-5.25, 20.0])
    np.testing.assert_allclose(stars.magnitude["G"], [12.5, 11.0])


@pytest.mark.parametrize(
    ("ending", "ra"), [(".ecsv", [5.5666667, 1.0] * units.hourangle), (".fits", [5010.0, 900.0] * units.arcmin)]
)
def test_units_of_columns_are_understood(tmp_path, ending, ra):
    table = Table({"ra": ra, "dec": [-315.0, 60.0] * units.arcmin, "mag": [12.5, 11.0]})
    table["mag"].unit = units.mag
    table.write(tmp_path / f"stars{ending}")
    stars = read_catalogue(tmp_path / f"stars{ending}", RGB)
    np.testing.assert_allclose(stars.ra_deg, [83.5, 15.0], atol=1e-5)
    np.testing.assert_allclose(stars.dec_deg, [-5.25, 1.0])
    np.testing.assert_allclose(stars.magnitude["R"], [12.5, 11.0])


def test_places_may_be_a_skycoord(tmp_path):
    places = SkyCoord([83.5, 10.0] * units.deg, [-5.25, 20.0] * units.deg)
    Table({"place": places.galactic, "mag": [12.5, 11.0]}).write(tmp_path / "stars.ecsv")
    stars = read_catalogue(tmp_path / "stars.ecsv", RGB)
    np.testing.assert_allclose(stars.ra_deg, [83.5, 10.0])
    np.testing.assert_allclose(stars.dec_deg, [-5.25, 20.0])


def test_the_line_of_a_wrong_cell_counts_comments_too(tmp_path):
    with pytest.raises(SettingsError, match="line 4: mag is 'x'"):
        read(tmp_path, "# of the field\nra,dec,mag\n# a comment\n83.5,-5.25,x\n")


PLACES = [(83.5, -5.25, 12.5, 0.5), (84.0, -5.5, 11.25, 1.25)]
ROWS = "".join("{:.4f};{:+.4f};{:.3f};{:.2f}\n".format(*row) for row in PLACES)


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        (
            "vizier.tsv",
            "#Title: stars\n_RAJ2000;_DEJ2000;Vmag;B-V\ndeg;deg;mag;mag\n------;------;----;---\n" + ROWS,
            "utf-8",
        ),
        ("vizier.csv", '\n_RAJ2000;_DEJ2000;Vmag;B-V\n"deg";"deg";mag;mag\n' + ROWS, "utf-8"),
        ("savetxt.txt", "# my stars, of 2024\n# ra,dec,mag,b_v\n" + ROWS.replace(";", ","), "utf-8"),
        ("excel.csv", "sep=;\nRA;Dec;mag;B-V\n" + ROWS.replace(".", ","), "cp1252"),
        ("names.csv", "RA;Dec;mag;B-V;n\u00e4me\n" + ROWS.replace("\n", ";\u00e9toile\n"), "cp1252"),
        ("unicode.csv", "ra;dec;mag;b_v\n" + ROWS, "utf-16"),
        ("pasted.csv", "ra;dec;mag;b_v\n" + ROWS.replace(";-", ";\u2212"), "utf-8"),
        ("remarks.csv", "ra;dec;mag;b_v\n" + ROWS.replace("\n", " # good, better\n"), "utf-8"),
    ],
)
def test_tables_as_programs_and_people_write_them(tmp_path, name, text, encoding):
    (tmp_path / name).write_text(text, encoding=encoding)
    stars = read_catalogue(tmp_path / name, RGB)
    found = np.stack([stars.ra_deg, stars.dec_deg, stars.magnitude["G"], stars.colours.value], axis=1)
    np.testing.assert_allclose(found, PLACES)


def test_the_line_of_a_wrong_cell_counts_all_lines(tmp_path):
    text = "sep=,\n# one\nra,dec,mag\ndeg,deg,mag\n---,---,---\n1,2,3\n# two\n1,2,x\n"
    with pytest.raises(SettingsError, match="line 8: mag is 'x'"):
        read(tmp_path, text)


def test_values_that_no_star_has_are_unknown(tmp_path):
    stars = read(tmp_path, "ra,dec,mag,b_v\n1,2,99.999,0.5\n3,4,11.0,-99.9\n5,6,-999,9.9e33\n")
    np.testing.assert_array_equal(stars.magnitude["R"], [np.nan, 11.0, np.nan])
    np.testing.assert_array_equal(stars.colours.value, [0.5, np.nan, np.nan])


def test_magnitudes_have_units(tmp_path):
    table = Table({"ra": [1.0, 3.0], "dec": [2.0, 4.0], "mag": [11500.0, 12500.0]})
    table["mag"].unit = units.Unit("mmag")
    table.write(tmp_path / "stars.ecsv")
    np.testing.assert_allclose(read_catalogue(tmp_path / "stars.ecsv", RGB).magnitude["G"], [11.5, 12.5])


def test_a_folder_without_a_catalogue_is_refused_before_the_run(tmp_path):
    (tmp_path / "notes.txt").write_text("no stars")
    with pytest.raises(SettingsError, match=tmp_path.name):
        check_reference(GridSettings(reference_catalogue=str(tmp_path)), 3)
