"""Stack plans of every dialect name the same subs; folders without one become one."""

import csv
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zemosaic_app.cli import main
from zemosaic_engine.errors import RunError, SettingsError, SubError
from zemosaic_engine.subs.folder import read_subs, scan_folder
from zemosaic_engine.subs.stack_plan import (
    PlanRow,
    find_stack_plan,
    is_grid_folder,
    read_stack_plan,
    rejected_path,
    select_filter,
    write_rejected,
    write_stack_plan,
)

SCALE = 2.4 / 3600
NAMES = ("a.fit", "b.fit")


def save(path, date="2025-03-01T20:00:00", **cards):
    header = fits.Header()
    for axis, (kind, value) in enumerate((("RA---TAN", 83.8), ("DEC--TAN", -5.4)), start=1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, value, 10.0
        header[f"CD{axis}_{axis}"] = SCALE
    header["DATE-OBS"] = date
    header.update(cards)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(np.full((20, 20), 900, np.uint16), header).writeto(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two files that exist; a plan does not care what is in them."""
    for name in NAMES:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def read(folder, text, encoding="utf-8", name="stack_plan.csv"):
    (folder / name).write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return read_stack_plan(folder / name)


HOST = "order,batch_id,mount,bortle,filter,exposure,file_path\n3,n1,ALTZ,5,IRCUT,10.0,a.fit\n4,n2,eq,,LP,20,b.fit\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("capitals", [str, str.upper, str.title])
def test_dialects(folder, encoding, delimiter, newline, capitals):
    header, *rows = HOST.split("\n")
    text = newline.join([capitals(header), *rows]).replace(",", delimiter)
    plan = read(folder, text, encoding)
    assert plan.rows == [
        PlanRow(folder / "a.fit", 10.0, "IRCUT", "n1", 3, "ALTZ", "5"),
        PlanRow(folder / "b.fit", 20.0, "LP", "n2", 4, "EQ", ""),
    ]
    assert (plan.missing, plan.notes) == ([], [])


@pytest.mark.parametrize("alias", ["file_path", "filepath", "file", "path", "filename", "fits", "raw", "File Path"])
def test_names_of_the_path_column(folder, alias):
    assert [row.path.name for row in read(folder, f"x,{alias}\n1,a.fit\n").rows] == ["a.fit"]


@pytest.mark.parametrize(
    ("column", "value", "field", "expected"),
    [
        *[(name, "12.5", "exposure_s", 12.5) for name in ("exposure", "exp", "EXPTIME", "exposure_s")],
        ("exposure", "10 s", "exposure_s", 10.0),
        *[(name, "Ha", "filter", "Ha") for name in ("filter", "band", "channel")],
        *[(name, "4", "bortle", "4") for name in ("bortle", "bortle_class", "sky_quality")],
        *[(name, "n1", "session", "n1") for name in ("batch_id", "batch", "session", "night")],
        *[(name, "7", "order", 7) for name in ("order", "seq", "sequence", "index")],
        *[(name, "EQ", "mount", "EQ") for name in ("mount", "eqmode", "mount_mode")],
        ("mount", "alt-az", "mount", "ALTZ"),
        ("eqmode", "0", "mount", "ALTZ"),
        ("order", "x", "order", 0),
        ("exposure", "", "exposure_s", math.nan),
    ],
)
def test_names_of_other_columns(folder, column, value, field, expected):
    row = read(folder, f"file,{column}\na.fit,{value}\n").rows[0]
    np.testing.assert_equal(getattr(row, field), expected)


def test_first_known_name_wins(folder):
    row = read(folder, "raw,path,file_path,exp,exposure\nx.fit,y.fit,a.fit,1,2\n").rows[0]
    assert (row.path.name, row.exposure_s) == ("a.fit", 2.0)


def test_decimal_commas(folder):
    assert read(folder, "file;exposure\na.fit;10,5\n").rows[0].exposure_s == 10.5


@pytest.mark.parametrize("header", ["file;exposure;seeing, wind, clouds, moon", "file\texposure\tseeing, wind, clouds"])
def test_cells_are_parted_where_the_names_make_sense_not_where_most_cells_come_out(folder, header):
    delimiter = header[4]
    plan = read(folder, f"{header}\na.fit{delimiter}12{delimiter}good\n")
    assert [(row.path.name, row.exposure_s) for row in plan.rows] == [("a.fit", 12.0)]


def test_without_a_header_cells_are_parted_where_an_image_comes_out(folder):
    plan = read(folder, "1;a.fit;x, y, z, w\n2;b.fit;x, y, z, w\n")
    assert [row.path.name for row in plan.rows] == list(NAMES)


def test_quotes_comments_blank_lines_and_short_rows(folder):
    plan = read(folder, '# made by hand\n\n"file_path" , "filter"\n"a.fit", "IR, cut"\n,,\n  \nb.fit\n')
    assert [(row.path.name, row.filter) for row in plan.rows] == [("a.fit", "IR, cut"), ("b.fit", "")]


@pytest.mark.parametrize(
    "text",
    [
        "0,n1,ALTZ,,IRCUT,10.0,a.fit\n1,n1,ALTZ,,IRCUT,10.0,b.fit\n",
        "a.fit\nb.fit\n",
        "1;a.fit;x\n2;b.fit;y\n",
    ],
)
def test_no_header(folder, text):
    plan = read(folder, text)
    assert [row.path.name for row in plan.rows] == list(NAMES)
    assert "no header" in plan.notes[0]
    if text.startswith("0"):
        assert (plan.rows[0].filter, plan.rows[0].exposure_s, plan.rows[1].order) == ("IRCUT", 10.0, 1)


@pytest.mark.parametrize(
    "written",
    [
        "{folder}/night/lights/a.fit",
        "night/lights/a.fit",
        "./night/lights/a.fit",
        "night\\lights\\a.fit",
        "D:\\astro\\M 31\\night\\lights\\a.fit",
        "d:/astro/night/lights/a.fit",
        "\\\\nas\\share\\night\\lights\\a.fit",
        "/home/other/run/night/lights/a.fit",
        "C:\\Astro\\Night\\LIGHTS\\A.FIT",
        "C:\\elsewhere\\b.fit",
        "/elsewhere/B.fit",
        "../{name}/b.fit",
    ],
)
def test_paths_of_other_machines(folder, written):
    target = folder / "night" / "lights" / "a.fit"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"")
    (folder / "a.fit").unlink()
    written = written.format(folder=folder, name=folder.name)
    plan = read(folder, f"file_path,filter\n{written},L\n")
    assert [row.path.resolve() for row in plan.rows] == [folder / "b.fit" if "b.fit" in written.lower() else target]


def test_the_longest_tail_wins(folder):
    for night in ("n1", "n2"):
        (folder / night).mkdir()
        (folder / night / "a.fit").write_bytes(b"")
    plan = read(folder, "file\nC:\\x\\n1\\a.fit\nC:\\x\\n2\\a.fit\nC:\\x\\n3\\a.fit\n")
    assert [row.path for row in plan.rows] == [folder / "n1" / "a.fit", folder / "n2" / "a.fit", folder / "a.fit"]


def test_missing_files_are_listed(folder):
    plan = read(folder, "file\na.fit\nC:\\x\\gone.fit\nb.fit\n")
    assert [row.path.name for row in plan.rows] == list(NAMES)
    assert [(str(error.path), error.reason) for error in plan.missing] == [
        ("C:\\x\\gone.fit", "the file that the stack plan names was not found")
    ]


def test_doubles_and_empty_names_are_noted(folder):
    plan = read(folder, "file,filter\na.fit,L\nA.FIT,L\n,L\n")
    assert len(plan.rows) == 1
    assert "more than once" in plan.notes[0]
    assert "row 3 names no file" in plan.notes[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\n ,, \n", "is empty"),
        ("exposure,filter\n10,L\n", "no column with file names; call it one of file_path, filepath"),
        ("name,filter\na.fit,L\n", "found: name, filter"),
    ],
)
def test_useless_plans_say_why(folder, text, reason):
    with pytest.raises(SettingsError, match=reason):
        read(folder, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,order\na.fit,1\n\nb.fit,1e999\n", r"stack_plan\.csv, line 4: order is '1e999', which is too large"),
        ("# x\nfile,exposure\na.fit,1e999\n", r"line 3: exposure is '1e999', which is too large"),
        ("file,exposure\na.fit,1\nb.fit," + "x" * 200_000 + "\n", "line 3, is not a row of a table: field larger than"),
        ("file,exposure\n" + "x" * 200_000 + ",1\n", "line 2, is not a row of a table"),
    ],
)
def test_absurd_values_are_named_with_their_line(folder, text, reason):
    with pytest.raises(SettingsError, match=reason) as caught:
        read(folder, text)
    assert len(str(caught.value)) < 400 + len(str(folder))


@pytest.mark.parametrize("text", ["sep=;\nfile;filter\na.fit;0,5\n", "\ufeffSEP=|\nfile|filter\na.fit|0,5\n"])
def test_the_line_that_excel_writes(folder, text):
    plan = read(folder, text)
    assert [(row.path.name, row.filter) for row in plan.rows] == [("a.fit", "0,5")]
    assert plan.notes == []


@pytest.mark.parametrize("mark", ["#", "# ", "##"])
def test_a_header_that_begins_like_a_comment(folder, mark):
    plan = read(folder, f"# made by a program\n{mark}file_path;filter\na.fit;LP\n# b.fit;LP\nb.fit;Ha\n")
    assert [(row.path.name, row.filter) for row in plan.rows] == [("a.fit", "LP"), ("b.fit", "Ha")]
    assert plan.notes == []


def test_a_comment_is_no_header(folder):
    assert [row.path.name for row in read(folder, "# my plan\nfile\na.fit\n").rows] == ["a.fit"]


def test_accents_may_be_composed_in_any_way(tmp_path):
    (tmp_path / "ne\u0301buleuse").mkdir()
    (tmp_path / "ne\u0301buleuse" / "e\u0301toile.fit").write_bytes(b"")
    plan = read(tmp_path, "file\nN\u00e9buleuse/\u00e9toile.fit\n")
    assert [row.path.name for row in plan.rows] == ["e\u0301toile.fit"]


@pytest.mark.parametrize(
    ("name", "option"),
    [("Ha", "--filter Ha"), ("zd DECam k1038", '--filter "zd DECam k1038"'), ('a "b" $c', "--filter 'a \"b\" $c'")],
)
def test_the_hint_for_a_filter_can_be_pasted(name, option):
    with pytest.raises(SettingsError) as caught:
        select_filter(rows(name, name, "other"))
    assert str(caught.value).endswith(f"for example {option}.")
    import shlex

    assert shlex.split(str(caught.value).split("for example ")[1][:-1]) == ["--filter", name]


def test_absent_plan(folder):
    with pytest.raises(SettingsError, match=r"cannot be read: No such file"):
        read_stack_plan(folder / "none.csv")


def test_absurd_names_are_missing_files(folder):
    long = "x" * 5000 + ".fit"
    plan = read(folder, f"file\n{long}\na\0b.fit\n")
    assert len(plan.missing) == 2


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.binary(max_size=200), st.text(alphabet="a.fit,;\t|\"'\n\r\\/:C#é", max_size=80)))
def test_any_text_is_survived(folder, text):
    try:
        plan = read(folder, text, name="other.csv")
    except SettingsError:
        return
    assert all(row.path.is_file() for row in plan.rows)


def test_is_grid_folder(tmp_path):
    assert not is_grid_folder(tmp_path)
    assert not is_grid_folder(tmp_path / "none")
    (tmp_path / "Stack_Plan.CSV").write_text("file\n")
    assert is_grid_folder(tmp_path)
    assert find_stack_plan(tmp_path) == tmp_path / "Stack_Plan.CSV"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "stack_plan.csv").mkdir()
    assert not is_grid_folder(tmp_path / "sub")


# --- filters


def rows(*filters):
    return [PlanRow(Path(f"{n}.fit"), filter=name) for n, name in enumerate(filters)]


def test_one_filter_is_no_choice():
    assert len(select_filter(rows("L", "l ", "L"))) == 3
    assert len(select_filter(rows("L", "", "L"))) == 3
    assert len(select_filter(rows("", ""))) == 2
    assert select_filter([]) == []
    assert select_filter([], "L") == []


def test_several_filters_are_an_error_that_names_them():
    with pytest.raises(SettingsError, match=r"Ha \(3 subs\), OIII \(1 subs\).*--filter"):
        select_filter(rows("Ha", "OIII", "ha", "Ha"))


def test_choice_of_a_filter():
    assert [row.path.name for row in select_filter(rows("Ha", "OIII", "ha", ""), "HA")] == ["0.fit", "2.fit"]
    with pytest.raises(SettingsError, match=r"'SII'.*--filter; there are Ha \(2 subs\), OIII"):
        select_filter(rows("Ha", "OIII", "ha"), "SII")


# --- folders


@pytest.fixture
def night(tmp_path):
    save(tmp_path / "c.fit", "2025-03-01T20:00:00", FILTER="L", EXPTIME=10.0)
    save(tmp_path / "b.FITS", "2025-03-01T21:00:00", FILTER="L", EXPTIME=10.0)
    save(tmp_path / "a.fts", "2025-03-02T20:00:00", FILTER="R")
    save(tmp_path / "z.fits.gz", "2025-03-01T19:00:00")
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(np.ones((20, 20), np.int16), fits.getheader(tmp_path / "c.fit"))]
    ).writeto(tmp_path / "y.fits.fz")
    save(tmp_path / "undated.fit", "")
    save(tmp_path / "sub" / "d.fit")
    (tmp_path / ".hidden.fit").write_bytes(b"")
    (tmp_path / "bad.fit").write_text("text " * 99)
    fits.PrimaryHDU(np.ones((20, 20), np.int16)).writeto(tmp_path / "unsolved.fit")
    (tmp_path / "folder.fit").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    return tmp_path


def test_scan_folder(night):
    looked = []
    found = scan_folder(
        night, recursive=False, saturation_adu=5000.0, on_file=lambda done, total: looked.append((done, total))
    )
    infos, rejected = found.infos, found.rejected
    assert [info.path.name for info in infos] == ["z.fits.gz", "c.fit", "y.fits.fz", "b.FITS", "a.fts", "undated.fit"]
    assert [error.path.name for error in rejected] == ["bad.fit", "folder.fit"]
    assert "text file" in rejected[0].reason
    assert [sub.path.name for sub in found.unsolved] == ["unsolved.fit"]
    assert "not plate-solved" in found.unsolved[0].reason
    assert [error.path.name for error in found.without_unsolved().rejected] == ["bad.fit", "folder.fit", "unsolved.fit"]
    assert looked == [(n, 8) for n in range(1, 9)]
    assert {info.saturation_adu for info in infos} == {5000.0}


def test_scan_can_be_stopped(night):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_folder(night, on_file=stop)


def test_absent_folder(tmp_path):
    with pytest.raises(SettingsError, match="cannot be listed: No such file"):
        scan_folder(tmp_path / "none")


def test_the_plan_wins_over_the_header(night):
    plan_rows = [
        PlanRow(night / "c.fit", 20.0, "IR", "n9", mount="EQ"),
        PlanRow(night / "bad.fit"),
        PlanRow(night / "b.FITS"),
    ]
    found = read_subs(plan_rows)
    infos, rejected = found.infos, found.rejected
    assert [(i.exposure_s, i.filter, i.session, i.mount) for i in infos] == [
        (20.0, "IR", "n9", "EQ"), (10.0, "L", "2025-03-01", "")
    ]  # fmt: skip
    assert [error.path.name for error in rejected] == ["bad.fit"]


# --- writing


def test_written_plans_can_be_read(night):
    found = scan_folder(night, recursive=False).without_unsolved()
    infos, rejected = found.infos, found.rejected
    path = write_stack_plan(night / "stack_plan.csv", infos)
    plan = read_stack_plan(path)
    assert (plan.missing, plan.notes) == ([], [])
    again = read_subs(plan.rows).infos
    assert [(i.path, i.filter, i.session) for i in again] == [(i.path, i.filter, i.session) for i in infos]
    np.testing.assert_array_equal([i.exposure_s for i in again], [i.exposure_s for i in infos])
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["order"] for row in table] == list("012345")
    assert table[1]["file_path"] == "c.fit"
    assert float(table[1]["pixel_scale_arcsec"]) == pytest.approx(2.4, rel=1e-3)
    assert float(table[1]["dec_deg"]) == pytest.approx(-5.4, abs=0.01)
    assert table[1]["date_obs"] == "2025-03-01T20:00:00"
    other = write_rejected(rejected_path(path), rejected)
    assert other.name == "stack_plan_rejected.csv"
    with other.open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["file_path"] for row in listed] == ["bad.fit", "folder.fit", "unsolved.fit"]
    assert "text file" in listed[0]["reason"]


def test_plan_in_another_folder_names_files_absolutely(night, tmp_path_factory):
    infos = scan_folder(night).infos
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    plan = read_stack_plan(write_stack_plan(elsewhere / "deep" / "plan.csv", infos))
    assert [row.path for row in plan.rows] == [info.path for info in infos]


def test_names_with_commas_and_accents(tmp_path):
    infos = scan_folder(save(tmp_path / "M 31, é «1».fit").parent).infos
    assert [row.path.name for row in read_stack_plan(write_stack_plan(tmp_path / "p.csv", infos)).rows] == [
        "M 31, é «1».fit"
    ]


def test_unwritable(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="cannot be written"):
        write_rejected(tmp_path / "file" / "r.csv", [SubError("a.fit", "why")])


@pytest.mark.real
def test_real_plan():
    root = os.environ.get("ZEMOSAIC_DATA")
    if not root or not (Path(root) / "seestar_m94").is_dir():
        pytest.skip("no seestar_m94 in ZEMOSAIC_DATA")
    folder = Path(root) / "seestar_m94"
    assert is_grid_folder(folder)
    plan = read_stack_plan(folder / "stack_plan.csv")
    assert (len(plan.rows), plan.missing, plan.notes) == (15, [], [])
    found = read_subs(select_filter(plan.rows))
    infos, rejected = found.infos, found.rejected
    assert (len(infos), rejected) == (15, [])
    assert {(i.filter, i.mount, i.exposure_s) for i in infos} == {("IRCUT", "ALTZ", 10.0)}
    assert {i.session for i in infos} == {"session1", "session2", "session3"}


@pytest.fixture
def panels(tmp_path):
    """A survey of 2 x 2 panels of three subs each, of which the last has one."""
    for panel in range(4):
        for number in range(3 if panel < 3 else 1):
            east, north = panel % 2, panel // 2
            name = tmp_path / "subs" / f"p{panel}_{number}.fit"
            save(name, f"2025-03-01T20:0{panel}:0{number}", CRVAL1=83.8 + 0.011 * east, CRVAL2=-5.4 + 0.011 * north,
                 EXPTIME=10.0)  # fmt: skip
    return tmp_path / "subs"


def test_advice_in_words_and_as_a_table(panels, tmp_path, capsys):
    table = tmp_path / "advice.csv"
    assert main(["plan", "--advice", "--output", str(table), str(panels)]) == 0
    told = capsys.readouterr().out
    assert "needs 2 subs of 10 s more (20 s of exposure), in 1 of its 4 panels" in told
    assert "A run takes about " in told
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["more_subs"]) for row in rows) == [0, 0, 0, 2]
    assert not (panels / "stack_plan.csv").exists()


def test_advice_follows_the_plan_of_the_folder_and_the_depth_that_is_wanted(panels, capsys):
    (panels / "stack_plan.csv").write_text("file_path\n" + "".join(f"p{n}_0.fit\n" for n in range(4)), encoding="utf-8")
    assert main(["plan", "--advice", str(panels)]) == 0
    assert "all 4 panels reach 80 % of 10 s" in capsys.readouterr().out
    assert main(["plan", "--advice", "--depth", "1", str(panels)]) == 0
    assert "needs 20 subs of 10 s more (3 min 20 s of exposure), in 4 of its 4 panels" in capsys.readouterr().out


def test_a_single_panel_is_told_with_its_depth(tmp_path, capsys):
    for number in range(3):
        save(tmp_path / f"{number}.fit", f"2025-03-01T20:00:0{number}", EXPTIME=50.0)
    assert main(["plan", "--advice", str(tmp_path)]) == 0
    assert "The mosaic has one panel, with a depth of 2 min 30 s.\n" in capsys.readouterr().out


@pytest.mark.parametrize("depth", ["-1", "nan", "inf"])
def test_a_wrong_depth_is_refused(depth, panels, capsys):
    assert main(["plan", "--advice", "--depth", depth, str(panels)]) == 2
    assert f"--depth is {depth}" in capsys.readouterr().err


def test_a_plan_comes_with_what_the_mosaic_will_be_or_why_that_is_not_known(panels, tmp_path, capsys):
    plan = ["plan", "--output", str(tmp_path / "plan.csv")]
    assert main([*plan, str(panels)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"\nMosaic.*: .* arcminutes, .* pixels of .* arcsec, from 10 subs\nA run takes about ", told)
    save(tmp_path / "two" / "a.fit", FILTER="Ha")
    save(tmp_path / "two" / "b.fit", "2025-03-01T20:00:10", FILTER="OIII")
    assert main([*plan, str(tmp_path / "two")]) == 0
    assert capsys.readouterr().out.count("several filters") == 1
    assert main([*plan, "--filter", "Ha", str(tmp_path / "two")]) == 0
    assert ", from 1 sub\n" in capsys.readouterr().out
    unsolved = tmp_path / "unsolved" / "a.fit"
    unsolved.parent.mkdir()
    fits.PrimaryHDU(np.full((20, 20), 900, np.uint16), fits.Header({"EXPTIME": 10.0})).writeto(unsolved)
    assert main([*plan, str(unsolved.parent)]) == 0
    assert "WARN: No header tells where its sub lies" in capsys.readouterr().out
