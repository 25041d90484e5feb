"""Folders as people keep them: every file is found once and has the role that its header, place or name gives."""

import gzip
import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.subs.doubles import find_doubles
from zemosaic_engine.subs.finding import Search, find_subs, found_text, nothing_found
from zemosaic_engine.subs.folder import list_folder, read_subs, scan_folder
from zemosaic_engine.subs.frames import BINNED_MONO, STRAY_SIP, SubInfo, UnsolvedSub, read_sub
from zemosaic_engine.subs.roles import Role, role_of_file, role_of_folder, role_of_name
from zemosaic_engine.subs.stack_plan import PlanRow

SCALE = 2.4 / 3600
SOLVED = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 10.0, "CRPIX2": 10.0,
    "CD1_1": -SCALE, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": SCALE,
}  # fmt: skip


class Camera:
    """Writes exposures, each with pixels and a moment of its own."""

    def __init__(self, root):
        self.root, self.count = root, 0

    def take(self, name, pixels=None, **cards):
        self.count += 1
        if pixels is None:
            pixels = np.random.default_rng(self.count).normal(900.0, 30.0, (24, 32)).astype(np.uint16)
        header = fits.Header(
            {"DATE-OBS": f"2025-03-01T20:{self.count // 60:02d}:{self.count % 60:02d}", "EXPTIME": 10.0}
        )
        header.update({key.replace("_OBS", "-OBS"): value for key, value in cards.items()})
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(pixels, header).writeto(path)
        return path

    def touch(self, *names):
        for name in names:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(b"x")


@pytest.fixture
def camera(tmp_path):
    return Camera(tmp_path)


def roles_in(folder):
    """Number of files of each role, lights among them."""
    found = scan_folder(folder)
    assert found.rejected == []
    return Counter({Role.LIGHT: len(found.subs)}) + Counter(file.role for file in found.others)


# --- trees of telescopes and programs


def test_seestar(camera):
    for night in ("20250301", "20250302"):
        for n in range(3):
            name = f"MyWorks/M 31_sub/Light_M 31_10.0s_IRCUT_{night}-21{n:02d}00"
            camera.take(f"{name}.fit", IMAGETYP="Light", BAYERPAT="GRBG", RA=10.7, DEC=41.3, CREATOR="ZWO Seestar S50")
            camera.touch(f"{name}_thn.jpg")
    camera.take("MyWorks/M 31/Stacked_6_M 31_10.0s_IRCUT_20250302-220000.fit", IMAGETYP="Light", STACKCNT=6)
    camera.touch("MyWorks/M 31/Stacked_6_M 31_10.0s_IRCUT_20250302-220000.jpg", "MyWorks/M 31/clip.mp4")
    camera.take("darks/Dark_10.0s_20250303-080000.fit", IMAGETYP="Dark")
    assert roles_in(camera.root) == {Role.LIGHT: 6, Role.STACK: 1, Role.DARK: 1, Role.PICTURE: 8}


def test_dwarf(camera):
    lights = "Astronomy/DWARF_RAW_TELE_IC 1396_EXP_60_GAIN_60_2025-03-01-21-00-00-123"
    for n in range(2):
        camera.take(f"{lights}/IC 1396_60s60_Astro_20250301-21{n:02d}00123_22C.fits", BAYERPAT="RGGB", EXPTIME=None)
    camera.take(f"{lights}/failed_IC 1396_60s60_Astro_20250301-210300123_22C.fits", BAYERPAT="RGGB")
    camera.take(f"{lights}/stacked-16_IC 1396_60s60_Astro_20250301-212300123.fits")
    camera.touch(f"{lights}/stacked.jpg", f"{lights}/stacked_thumbnail.jpg", f"{lights}/Thumbnail/1.jpg")
    told = {"RA": 21.65, "DEC": 57.5, "exp": "60", "gain": 60, "ir": "Duo-Band", "target": "IC 1396"}
    (camera.root / lights / "shotsInfo.json").write_text(json.dumps(told))
    camera.take("CALI_FRAME/dark/cam_0/dark_exp_60.000000_gain_60_bin_1_22C_stack_10.fits")
    camera.take("CALI_FRAME/bias/cam_1/bias_gain_2_bin_1.fits")
    camera.take("CALI_FRAME/flat/cam_0/flat_gain_2_bin_1_ir_1.fits")
    camera.take(
        "DWARF_DARK/tele_exp_60_gain_60_bin_1_2025-03-02-00-37-45-393/raw_60s_60_0000_20250302-003814624_22C.fits"
    )
    found = scan_folder(camera.root)
    assert found.count_by_role() == {
        Role.DARK: 2, Role.FLAT: 1, Role.BIAS: 1, Role.STACK: 1, Role.FAILED: 1, Role.PICTURE: 2
    }  # fmt: skip
    assert {file.path.name[:4] for file in found.of_role(Role.DARK) if file.is_master} == {"dark"}
    assert len(found.unsolved) == 2
    for sub in found.unsolved:
        assert (sub.exposure_s, sub.filter) == (60.0, "Duo-Band")
        assert sub.header.number("RA") == pytest.approx(21.65 * 15.0)
        assert sub.header.number("DEC") == 57.5


def test_notes_beside_subs_count_in_a_plan_too(camera):
    path = camera.take("DWARF_RAW_TELE_M 31/M 31_60s60_Astro_20250301-210000123_22C.fits", EXPTIME=None)
    (path.parent / "shotsInfo.json").write_text('{"RA": 0.712, "DEC": 41.3, "exp": "60", "gain": 60}')
    (by_folder,) = scan_folder(camera.root).unsolved
    (by_plan,) = read_subs([PlanRow(path)]).unsolved
    assert by_plan.header == by_folder.header
    assert (by_plan.exposure_s, by_plan.setup) == (60.0, by_folder.setup)


def test_a_header_wins_over_the_notes_beside_it(camera):
    camera.take("a.fits", RA=1.5, EXPTIME=7.0)
    (camera.root / "shotsInfo.json").write_text('{"RA": 20.0, "DEC": "x", "exp": "60"}')
    (sub,) = scan_folder(camera.root).unsolved
    assert (sub.exposure_s, sub.header.number("RA")) == (7.0, 1.5)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"RA": 1e999, "exp": true, "ir": 3}', "[" * 100_000])
def test_notes_that_make_no_sense(camera, text):
    camera.take("a.fits")
    (camera.root / "shotsInfo.json").write_text(text)
    (sub,) = scan_folder(camera.root).unsolved
    assert "RA" not in sub.header


def test_vespera(camera):
    for n in range(3):
        camera.take(f"M 27/light_{n:06d}.fit", BAYERPAT="RGGB", INSTRUME="Vespera Pro")
        camera.take(f"M 57/01-images-initial/img-{n:04d}.fits", BAYERPAT="RGGB")
        camera.touch(f"M 57/01-images-initial/img-{n:04d}-output.json", f"M 57/02-images-processed/img-{n:04d}.jpg")
    camera.take("M 27/dark_000001.fit", BAYERPAT="RGGB")
    assert roles_in(camera.root) == {Role.LIGHT: 6, Role.DARK: 1, Role.PICTURE: 3}


def test_unistellar(camera):
    for n in range(3):
        camera.take(f"kcdxsm_2025-03-01T20-00-{n:02d}.000_SCIENCE.fits", BAYERPAT="RGGB", INSTRUME="eVscope")
    camera.take("kcdxsm_2025-03-01T21-00-00.000_DARKFRAME.fits", BAYERPAT="RGGB")
    camera.touch("eVscope-20250301-210000.png")
    assert roles_in(camera.root) == {Role.LIGHT: 3, Role.DARK: 1, Role.PICTURE: 1}


def test_asiair(camera):
    for n in range(2):
        camera.take(f"Autorun/Light/M 42/Light_M 42_60.0s_Bin1_20250301-21{n:02d}00_000{n}.fit", IMAGETYP="Light")
        camera.take(f"Plan/Light/M 43/Light_M 43_60.0s_Bin1_20250301-22{n:02d}00_000{n}.fit", IMAGETYP="Light")
        camera.take(f"Autorun/Dark/Dark_60.0s_Bin1_20250302-21{n:02d}00_000{n}.fit", IMAGETYP="Dark")
        camera.take(f"Autorun/Flat/Flat_30.0ms_Bin1_20250302-21{n:02d}00_000{n}.fit", IMAGETYP="Flat")
        camera.take(f"Autorun/Bias/Bias_1.0ms_Bin1_20250302-21{n:02d}00_000{n}.fit", IMAGETYP="Bias")
    camera.take("Live/M 42/Stack_16bits_60frames_M 42_60.0s_20250301-230000.fit", IMAGETYP="Light")
    camera.take("Preview/Preview_5.0s_Bin2_20250301-200000.fit", IMAGETYP="Light")
    camera.touch("Autorun/Light/M 42/Light_M 42_60.0s_Bin1_20250301-210000_0000_thn.jpg")
    assert roles_in(camera.root) == {
        Role.LIGHT: 4, Role.DARK: 2, Role.FLAT: 2, Role.BIAS: 2, Role.STACK: 1, Role.SNAPSHOT: 1, Role.PICTURE: 1
    }  # fmt: skip


def test_nina(camera):
    for n in range(2):
        camera.take(f"2025-03-01/LIGHT/NGC 7000_Ha_300s_{n:04d}.fits", IMAGETYP="LIGHT", FILTER="Ha")
        camera.take(f"2025-03-01/DARK/300s_{n:04d}.fits", IMAGETYP="DARK")
        camera.take(f"2025-03-01/FLAT/Ha_{n:04d}.fits", IMAGETYP="FLAT")
        camera.take(f"2025-03-01/DARKFLAT/Ha_{n:04d}.fits", IMAGETYP="DARKFLAT")
        camera.take(f"2025-03-01/BIAS/{n:04d}.fits", IMAGETYP="BIAS")
    camera.take("2025-03-01/SNAPSHOT/0001.fits", IMAGETYP="SNAPSHOT")
    assert roles_in(camera.root) == {
        Role.LIGHT: 2, Role.DARK: 2, Role.FLAT: 2, Role.DARK_FLAT: 2, Role.BIAS: 2, Role.SNAPSHOT: 1
    }  # fmt: skip


def test_subs_that_another_program_wrote_anew_count_where_the_lights_are_gone(camera):
    camera.take("process/pp_light_00001.fit")
    camera.take("process/r_pp_light_00001.fit")
    assert roles_in(camera.root) == {Role.LIGHT: 2}
    camera.take("lights/light_00001.fit")
    assert roles_in(camera.root) == {Role.LIGHT: 1, Role.PROCESSED: 2}


# --- roles


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Darks", Role.DARK), ("DARK_180s_gain100", Role.DARK), ("01-darks", Role.DARK), ("DWARF_DARK", Role.DARK),
        ("Flat Darks", Role.DARK_FLAT), ("dark_flats", Role.DARK_FLAT), ("DARKFLAT", Role.DARK_FLAT),
        ("flats Ha", Role.FLAT), ("Bias", Role.BIAS), ("offsets", Role.BIAS), ("Lights", Role.LIGHT),
        ("Dark Shark Nebula", None), ("darks and flats", None), ("Barnard's dark nebulae", None), ("M 31_sub", None),
        ("Flatiron", None), ("2025-03-01", None), ("", None),
    ],
)  # fmt: skip
def test_names_of_folders(name, role):
    assert role_of_folder(name) == role


@pytest.mark.parametrize(
    ("stem", "role"),
    [
        ("Light_Dark Shark_10s_0001", Role.LIGHT), ("M45_Dark_001", Role.DARK), ("dark001", Role.DARK),
        ("masterDark_180s", Role.DARK), ("flat-dark-01", Role.DARK_FLAT), ("Stacked_45_M 31", Role.STACK),
        ("DSO_Stacked_12_M 31", Role.STACK), ("M31_stacked", Role.STACK), ("result_3600s", Role.STACK),
        ("Autosave001", Role.STACK), ("masterLight_BIN-1", Role.STACK), ("failed_M 31_15s", Role.FAILED),
        ("r_M31_001", None), ("R_pp_light_00001", Role.PROCESSED), ("Dark Shark 0001", None), ("stacker", None),
    ],
)  # fmt: skip
def test_names_of_files(stem, role):
    told = role_of_name(stem)
    assert (None if told is None else told[0]) == role


@pytest.mark.parametrize(
    ("name", "cards", "role"),
    [
        ("a.fit", {"IMAGETYP": "Master Dark"}, Role.DARK),
        ("lights/a.fit", {"IMAGETYP": "Dark Frame"}, Role.DARK),
        ("darks/a.fit", {"IMAGETYP": "Light Frame"}, Role.DARK),
        ("darks/a.fit", {"IMAGETYP": "Light Frame", "CTYPE1": "RA---TAN"}, Role.LIGHT),
        ("dark_a.fit", {"CTYPE1": "RA---TAN"}, Role.LIGHT),
        ("dark_a.fit", {"IMAGETYP": "Light"}, Role.LIGHT),
        ("dark_a.fit", {}, Role.DARK),
        ("a.fit", {"FRAME": "Flat Field"}, Role.FLAT),
        ("a.fit", {"IMAGETYP": "zero"}, Role.BIAS),
        ("a.fit", {"STACKCNT": 45, "CTYPE1": "RA---TAN", "IMAGETYP": "Light"}, Role.STACK),
        ("a.fit", {"STACKCNT": 2, "CTYPE1": "RA---TAN", "IMAGETYP": "Light"}, Role.STACK),
        ("a.fit", {"STACKCNT": 1, "IMAGETYP": "Light"}, Role.LIGHT),
        ("a.fit", {"IMAGETYP": "Dark", "NCOMBINE": 20}, Role.DARK),
        ("a.fit", {"CREATOR": "ZeMosaic 1.0", "NTILES": 9, "NCOMBINE": 1}, Role.STACK),
        ("Stacked_1_M 31.fit", {"IMAGETYP": "Light", "CTYPE1": "RA---TAN"}, Role.STACK),
        ("a.fit", {"IMAGETYP": "OBJECT"}, Role.LIGHT),
        ("a.fit", {"IMAGETYP": "nonsense"}, Role.LIGHT),
    ],
)
def test_header_place_and_name(tmp_path, name, cards, role):
    assert role_of_file(tmp_path / name, tmp_path, HeaderCards(cards)).role == role


def test_the_folder_that_was_asked_for_may_be_called_anything(tmp_path):
    assert role_of_file(tmp_path / "darks" / "a.fit", tmp_path / "darks", HeaderCards({})).role is Role.LIGHT


# --- links and what is no file


def test_sub_folders_are_walked_and_name_the_session_of_undated_subs(camera):
    camera.take("a.fits", **SOLVED)
    camera.take("night 2/b.fits", DATE_OBS="", **SOLVED)
    camera.take("night 2/deep/c.fits", DATE_OBS="", **SOLVED)
    found = scan_folder(camera.root)
    assert [(info.path.name, info.session) for info in found.infos] == [
        ("a.fits", "2025-03-01"), ("b.fits", "night 2"), ("c.fits", "night 2/deep")
    ]  # fmt: skip
    assert [info.path.name for info in scan_folder(camera.root, recursive=False).infos] == ["a.fits"]


def test_links_loops_and_what_is_no_file(camera, tmp_path_factory):
    elsewhere = Camera(tmp_path_factory.mktemp("elsewhere"))
    elsewhere.take("x.fits")
    camera.take("night/a.fits")
    (camera.root / "linked").symlink_to(elsewhere.root)
    (camera.root / "again").symlink_to(camera.root / "night")
    (camera.root / "night" / "loop").symlink_to(camera.root)
    (camera.root / "gone.fits").symlink_to("/mnt/usb/gone.fits")
    (camera.root / "gone_night").symlink_to("/mnt/usb/night")
    (camera.root / "notes.txt").symlink_to("/mnt/usb/notes.txt")
    (camera.root / "folder.fit").mkdir()
    os.mkfifo(camera.root / "pipe.fits")
    listing = list_folder(camera.root)
    assert [path.name for path in listing.files] == ["x.fits", "a.fits"]
    reasons = {error.path.name: error.reason for error in listing.rejected}
    assert set(reasons) == {"again", "loop", "gone.fits", "gone_night", "folder.fit", "pipe.fits"}
    assert reasons["gone.fits"] == "it is a link to /mnt/usb/gone.fits, which is not there"
    assert "looked into already" in reasons["loop"]
    assert "pipe" in reasons["pipe.fits"]
    assert "folder" in reasons["folder.fit"]


def test_a_link_and_its_file_are_one_exposure(camera):
    path = camera.take("a.fits", **SOLVED)
    (camera.root / "b.fits").symlink_to(path)
    found = find_subs(camera.root, Search())
    assert [info.path.name for info in found.infos] == ["a.fits"]
    assert [file.path.name for file in found.of_role(Role.DOUBLE)] == ["b.fits"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may look into every folder")
def test_a_folder_that_may_not_be_looked_into(camera):
    camera.take("a.fits")
    camera.take("mine/b.fits")
    (camera.root / "mine").chmod(0)
    (error,) = list_folder(camera.root).rejected
    assert error.reason == "the folder cannot be looked into: Permission denied"


def test_outputs_of_this_program_and_folders_of_systems_are_passed_over(camera):
    camera.take("a.fits", **SOLVED)
    camera.take("out/mosaic_grid.fits", **SOLVED)
    camera.touch("out/run_report.json")
    camera.take("__MACOSX/b.fits")
    camera.take("@eaDir/b.fits")
    camera.take(".Trash/b.fits")
    found = find_subs(camera.root, Search())
    assert [info.path.name for info in found.infos] == ["a.fits"]
    assert found.notes == [f"The folder {camera.root / 'out'} was not looked into: it is an output of this program."]


def test_an_output_folder_may_be_asked_for(camera):
    camera.take("mosaic_grid.fits", **SOLVED)
    camera.touch("run_report.json")
    assert len(list_folder(camera.root).files) == 1


# --- the same exposure twice


def test_doubles_are_found_by_their_pixels(camera):
    plain = camera.take("a.fits", **SOLVED)
    (camera.root / "a.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    shutil.copy(plain, camera.root / "copy of a.fits")
    with fits.open(plain) as hdus:
        header = hdus[0].header.copy()
        for keyword in SOLVED:
            del header[keyword]
        header["HISTORY"] = "x" * 5000  # more blocks
        header["DATE-OBS"] = header["DATE-OBS"] + ".000000"
        fits.PrimaryHDU(hdus[0].data, header).writeto(camera.root / "0_unsolved.fits")
        header["DATE-OBS"] = "2025-03-09T20:00:00"
        fits.PrimaryHDU(hdus[0].data, header).writeto(camera.root / "other moment.fits")
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header)]).writeto(
            camera.root / "a.fits.fz"
        )
    camera.take("b.fits", **SOLVED)
    found = find_subs(camera.root, Search())
    assert [sub.path.name for sub in found.subs] == ["a.fits", "b.fits", "other moment.fits"]
    assert [file.path.name for file in found.of_role(Role.DOUBLE)] == [
        "0_unsolved.fits", "a.fits.fz", "a.fits.gz", "copy of a.fits"
    ]  # fmt: skip
    assert {file.told_by for file in found.of_role(Role.DOUBLE)} == {"it holds the same exposure as a.fits"}
    assert found.notes[0].startswith("Doubles of exposures that are there already, left out: 4 (0_unsolved.fits,")


def test_only_candidates_are_decoded(camera, monkeypatch):
    for n in range(5):
        camera.take(f"{n}.fits", **SOLVED)
    read = []
    monkeypatch.setattr("zemosaic_engine.subs.doubles.read_image", lambda path, hdu: read.append(path))
    assert find_doubles(scan_folder(camera.root).infos) == []
    assert read == []


def test_looking_for_doubles_can_be_stopped(camera):
    camera.take("a.fits", **SOLVED)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_subs(camera.root, Search(), check=stop)


# --- what is said


def test_what_was_found_in_words(camera):
    camera.take("a.fits", **SOLVED)
    assert found_text(camera.root, find_subs(camera.root, Search())) == f"1 sub in {camera.root}"
    camera.take("b.fits")
    camera.take("darks/c.fits")
    camera.take("darks/d.fits")
    camera.take("Stacked_2.fit")
    assert found_text(camera.root, find_subs(camera.root, Search())) == (
        f"2 subs in {camera.root}, 1 of them not plate-solved; beside them 2 darks, 1 stack"
    )


def test_a_folder_without_lights_says_what_it_holds(camera):
    camera.take("Stacked_2.fit")
    found = find_subs(camera.root, Search())
    assert "holds no light to stack, only 1 stack; finished stacks are joined" in nothing_found(
        camera.root, found, recursive=True
    )


def test_an_empty_folder_names_the_one_below_it(camera):
    camera.take("deep/night/a.fits")
    found = find_subs(camera.root, Search(recursive=False))
    assert nothing_found(camera.root, found, recursive=False).endswith("; its folder deep does")
    with pytest.raises(SettingsError, match="cannot be listed"):
        find_subs(camera.root / "none", Search())


def test_the_folder_below_that_is_named_holds_lights(camera):
    camera.touch("a/notes.txt", "b/flat_1.fits")
    camera.take("darks/d.fits")
    found = find_subs(camera.root, Search(recursive=False))
    assert nothing_found(camera.root, found, recursive=False).endswith("; is it the right one?")
    camera.touch("e/night 1/light.fits", "f/light.fits")
    assert nothing_found(camera.root, found, recursive=False).endswith("; its folder e does")
    assert nothing_found(camera.root, found, recursive=True).endswith("; is it the right one?")
    camera.touch("0.fits")  # an image of the folder itself says nothing of those below
    assert nothing_found(camera.root, found, recursive=False).endswith("; its folder e does")


def test_finished_tiles_are_taken_whatever_they_are_called(camera):
    camera.take("Stacked_2.fit", STACKCNT=2, **SOLVED)
    camera.take("stack_3.fit", NCOMBINE=3, **SOLVED)
    assert len(find_subs(camera.root, Search(as_tiles=True)).infos) == 2


def test_a_plan_older_than_its_folder_says_so(camera):
    names = [camera.take(f"{n}.fits", **SOLVED).name for n in range(5)]
    camera.take("darks/d.fits")
    (camera.root / "stack_plan.csv").write_text("file_path\n" + "\n".join(names[:3]) + "\n")
    found = find_subs(camera.root, Search())
    assert len(found.infos) == 3
    (note,) = found.notes
    assert note.startswith(
        "Lights of the folder that stack_plan.csv does not list and that are not used: 2 (3.fits, 4.fits)"
    )
    assert len(find_subs(camera.root, Search(use_plan=False)).infos) == 5


def test_a_stack_in_a_plan_is_used_and_told(camera):
    camera.take("Stacked_2_M 31.fit", **SOLVED)
    (camera.root / "stack_plan.csv").write_text("file_path\nStacked_2_M 31.fit\n")
    found = find_subs(camera.root, Search())
    assert len(found.infos) == 1
    assert "called like stacks and are used as subs: 1 (Stacked_2_M 31.fit)" in found.notes[0]


# --- headers that are not believed


def mosaic_of(levels, noise=10.0, shape=(120, 160)):
    pixels = np.random.default_rng(3).normal(0.0, noise, shape)
    for number, level in enumerate(levels):
        pixels[number // 2 :: 2, number % 2 :: 2] += level
    return pixels.round().astype(np.int16)


@pytest.mark.parametrize(
    ("levels", "cards", "bayer"),
    [
        ((900, 900, 900, 900), {"XBINNING": 2}, None),
        ((900, 900, 900, 900), {"XBINNING": 1}, "RGGB"),
        ((900, 900, 900, 900), {}, "RGGB"),
        ((900, 930, 930, 870), {"XBINNING": 2}, "RGGB"),  # drivers may bin pixels of one colour
        ((0, 0, 0, 0), {"XBINNING": 2}, "RGGB"),  # nothing to tell them apart by
    ],
)
def test_a_binned_mono_camera_is_no_bayer_camera(camera, levels, cards, bayer):
    path = camera.take("a.fits", mosaic_of(levels), BAYERPAT="RGGB", **cards, **SOLVED)
    sub = read_sub(path)
    assert isinstance(sub, SubInfo)
    assert (sub.bayer, sub.channels) == (bayer, 3 if bayer else 1)
    assert sub.notes == (() if bayer else (BINNED_MONO,))


@pytest.mark.parametrize(("value", "notes"), [(1e-6, (STRAY_SIP,)), (0.0, ())])
def test_sip_that_is_not_asked_for_is_told(camera, value, notes):
    camera.take("a.fits", A_ORDER=2, B_ORDER=2, A_2_0=value, **SOLVED)
    (info,) = find_subs(camera.root, Search()).infos
    assert info.notes == notes
    assert info.wcs.sip is None


def test_unsolved_subs_are_told_too(camera):
    camera.take("a.fits", mosaic_of((900, 900, 900, 900)), BAYERPAT="RGGB", XBINNING=2)
    found = find_subs(camera.root, Search())
    assert isinstance(found.subs[0], UnsolvedSub)
    assert found.notes == [f"{BINNED_MONO}: 1 (a.fits)."]
