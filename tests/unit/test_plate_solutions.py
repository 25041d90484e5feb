"""Hints of headers, solutions as cards, beside a sub and in the journal, and the solving of a run."""

import json
import re
import shutil
import zlib
from contextlib import ExitStack
from dataclasses import asdict, replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from benchmarks.star_fields import Trouble, picture
from zemosaic_app.cli import main
from zemosaic_app.exit_codes import DONE, INCOMPLETE, WRONG_USAGE
from zemosaic_engine.errors import Cancelled, SettingsError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, Progress, Reporter
from zemosaic_engine.fits.headers import HeaderCards, unit_vectors
from zemosaic_engine.resume.run_folder import RunFolder
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.solving import session
from zemosaic_engine.solving.cards import cards_beside, plate_cards, wcs_of
from zemosaic_engine.solving.copies import write_copy
from zemosaic_engine.solving.hints import ANY_SCALE, Learnt, angle_deg, pointings, scales_arcsec, searches
from zemosaic_engine.solving.journal import KeptSolution, SolutionJournal
from zemosaic_engine.solving.plate import Plate
from zemosaic_engine.solving.star_zones import shipped_catalogue
from zemosaic_engine.subs.folder import scan_folder
from zemosaic_engine.subs.frames import UnsolvedSub, read_sub
from zemosaic_worker import run_grid

# --- hints


@pytest.mark.parametrize(
    ("value", "hours", "degrees"),
    [
        (193.04166, True, 193.04166),
        ("12 51 53.0", True, 192.970833),
        ("12:51:53", True, 192.970833),
        ("12h51m53.0s", True, 192.970833),
        ("12h 51m 53.0s", True, 192.970833),
        ("192d58m15s", True, 192.970833),
        ("-01 30 00", False, -1.5),
        ("-00:30:00.0", False, -0.5),
        ("+41°07'12\"", False, 41.12),
        ("40.97", False, 40.97),
        ("12 51", True, 192.75),
    ],
)
def test_angles_in_their_dialects(value, hours, degrees):
    assert angle_deg(value, hours=hours) == pytest.approx(degrees, abs=1e-5)


@pytest.mark.parametrize("value", ["", "unknown", None, True, "12:xx:10"])
def test_what_is_no_angle(value):
    assert np.isnan(angle_deg(value, hours=True))


def test_places_of_a_header():
    assert pointings(HeaderCards({"RA": 193.0, "DEC": 41.0, "OBJCTRA": "12 52 00", "OBJCTDEC": "41 00 00"})) == [
        (193.0, 41.0)
    ]
    hours = pointings(HeaderCards({"RA": 12.8666, "DEC": 41.0}))
    assert hours == [(12.8666, 41.0), (pytest.approx(192.999), 41.0)]
    assert pointings(HeaderCards({"RA": 0.0, "DEC": 0.0})) == []
    assert pointings(HeaderCards({"RA": 10.0, "DEC": 120.0})) == []
    assert pointings(HeaderCards({"CRVAL1": 10.5, "CRVAL2": -60.0}))[0] == (10.5, -60.0)


def test_scales_of_a_header():
    seestar = {"FOCALLEN": 250, "XPIXSZ": 2.9}
    assert scales_arcsec(HeaderCards(seestar)) == [pytest.approx(2.3927, abs=1e-3)]
    assert scales_arcsec(HeaderCards({**seestar, "XBINNING": 2})) == pytest.approx([2.3927, 4.7854, 1.19634], abs=1e-3)
    assert scales_arcsec(HeaderCards({"PIXSCALE": 1.5})) == [1.5]
    assert scales_arcsec(HeaderCards({"CDELT1": -0.001})) == [pytest.approx(3.6)]
    assert scales_arcsec(HeaderCards({"FOCALLEN": 0, "XPIXSZ": 2.9})) == []


def test_searches_go_from_the_likely_to_the_whole_sky():
    cards = HeaderCards({"RA": 193.0, "DEC": 41.0, "FOCALLEN": 250, "XPIXSZ": 2.9})
    found = searches(cards)
    assert found[0].center_deg == (193.0, 41.0)
    assert found[0].scale_arcsec[0] < 2.39 < found[0].scale_arcsec[1]
    assert found[-1].center_deg is None
    assert found[-1].scale_arcsec == ANY_SCALE
    assert all(search.center_deg is not None for search in searches(cards, blind=False))
    assert searches(HeaderCards({}), blind=False) == []


def test_a_search_without_a_place_is_of_the_whole_sky():
    cards = HeaderCards({"FOCALLEN": 250, "XPIXSZ": 2.9, "RA": 193.0, "DEC": 41.0})
    for one in searches(cards):
        assert one.radius_deg == 180.0 if one.center_deg is None else one.center_deg == (193.0, 41.0)
    blind = [one.scale_arcsec for one in searches(cards) if one.center_deg is None]
    assert blind[0][0] < 2.3927 < blind[0][1]
    assert blind[1:] == [ANY_SCALE]


def test_a_solved_sub_of_the_camera_leads_by_its_scale_parity_and_offset():
    learnt = Learnt(2.375, True, (0.2, -0.1), (10.0, 20.0))
    first = searches(HeaderCards({"RA": 193.0, "DEC": 41.0}), [learnt])[0]
    assert first.center_deg == (pytest.approx(193.0 - 0.1 / np.cos(np.radians(41.2))), pytest.approx(41.2))
    assert first.mirrored is True
    assert first.scale_arcsec[1] / first.scale_arcsec[0] < 1.05
    assert searches(HeaderCards({}), [learnt])[0].center_deg == (10.0, 20.0)


# --- cards


def bent_plate():
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], b[1, 2], b[0, 3] = 2e-6, 3e-10, -5e-10
    cd = np.array([[-1e-5, 3e-6], [3e-6, 1e-5]])
    return Plate(unit_vectors(np.array(83.0), np.array(-5.0)), (599.5, 399.5), cd, a, b)


def test_cards_mean_the_plate_to_us_and_to_astropy():
    plate, shape = bent_plate(), (800, 1200)
    x, y = np.random.default_rng(0).uniform(0, 800, (2, 30))
    truth = np.stack(plate.to_sky(x, y), axis=1)
    cards = plate_cards(plate, shape)
    np.testing.assert_allclose(wcs_of(cards, shape).all_pix2world(np.stack([x, y], axis=1), 0), truth, atol=1e-9)
    other = WCS(fits.Header(list(cards.items())))
    np.testing.assert_allclose(other.all_pix2world(np.stack([x, y], axis=1), 0), truth, atol=1e-9)
    there_and_back = other.sip_foc2pix(other.sip_pix2foc(np.stack([x, y], axis=1), 0), 0)  # by AP and BP
    np.testing.assert_allclose(there_and_back, np.stack([x, y], axis=1), atol=0.005)
    assert [cards[f"{name}_ORDER"] for name in ("A", "B", "AP", "BP")] == [3, 3, 4, 4]
    straight = replace(plate, a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    assert plate_cards(straight, shape)["CTYPE1"] == "RA---TAN"


@pytest.fixture
def unsolved(tmp_path):
    header = fits.Header({"RA": 83.0, "DEC": -5.0})
    fits.PrimaryHDU(np.zeros((80, 120), np.uint16), header).writeto(tmp_path / "Light 1.fit")
    sub = read_sub(tmp_path / "Light 1.fit")
    assert isinstance(sub, UnsolvedSub)
    return sub


CARDS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.0, "CRVAL2": -5.0, "CRPIX1": 60.5, "CRPIX2": 40.5,
    "CD1_1": -1e-3, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-3,
}  # fmt: skip


def test_a_header_that_solve_field_left_is_read(unsolved):
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), *CARDS.items(), ("IMAGEW", 120)])
    fits.PrimaryHDU(header=header).writeto(unsolved.path.with_suffix(".wcs"))
    path, cards = cards_beside(unsolved)
    assert path.name == "Light 1.wcs"
    assert unsolved.solved(wcs_of(cards, unsolved.shape)).center_deg == pytest.approx((83.0, -5.0), abs=1e-6)


@pytest.mark.parametrize("ending", [".wcs", ".ini"])
def test_lines_that_astap_left_are_read(unsolved, ending):
    lines = [
        "PLTSOLVD=T",
        *(f"{k}= {v!r:>20} / comment" for k, v in CARDS.items() if "CTYPE" not in k or ending == ".wcs"),
    ]
    unsolved.path.with_suffix(ending).write_bytes("\r\n".join(lines).encode())
    solver = session.PlateSolver(GridSettings(), SolutionJournal(None))
    solved = solver.solve(unsolved, (), blind=True, anew=False, check=lambda: None)
    assert solved.origin == "beside"
    assert solved.info.center_deg == pytest.approx((83.0, -5.0), abs=1e-6)


@pytest.mark.parametrize(
    "text", ["PLTSOLVD=F\nCRVAL1=83.0\n", "nothing of this\nkind\n", "", "CRVAL1=83.0\nCRPIX1=1\nNAXIS1=500\n"]
)
def test_files_beside_a_sub_that_are_no_solution_of_it_are_passed_over(unsolved, text):
    unsolved.path.with_suffix(".ini").write_text(text)
    assert cards_beside(unsolved) is None
    bigger = "\n".join(f"{k}= {v!r}" for k, v in {**CARDS, "IMAGEW": 500}.items())
    unsolved.path.with_suffix(".wcs").write_text(bigger)
    assert cards_beside(unsolved) is None


# --- the journal


def a_solution(sub="ab", way="1"):
    return KeptSolution(sub, way, {"CRVAL1": 1.5, "CTYPE1": "RA---TAN"}, 20, 0.2, 99.0, "blind")


def test_solutions_are_known_again_and_damage_is_passed_over(tmp_path):
    path = tmp_path / "state" / "journal"
    journal = SolutionJournal(path)
    journal.keep(a_solution())
    journal.keep(a_solution("cd"))
    path.write_text(path.read_text()[:-20] + "\n0000 {}\n")
    again = SolutionJournal(path)
    assert again.find("ab", "1") == a_solution()
    assert again.find("ab", "2") is None
    assert again.find("cd", "1") is None


def test_a_journal_begun_anew_replaces_the_one_that_is_there_and_asks_before_it_writes(tmp_path):
    path, asked = tmp_path / "state" / "journal", []
    SolutionJournal(path).keep(a_solution("old"))
    before = path.read_bytes()

    def ask():
        asked.append(path.read_bytes())

    journal = SolutionJournal(path, anew=True, before_writing=ask)
    assert journal.find("old", "1") is None
    assert path.read_bytes() == before
    journal.keep(a_solution("ab"))
    journal.keep(a_solution("cd"))
    assert asked == [before]
    assert {sub for sub, _ in SolutionJournal(path)._kept} == {"ab", "cd"}


def test_a_line_with_a_right_checksum_and_a_wrong_content_is_passed_over(tmp_path):
    facts = asdict(a_solution())
    wrong = [[], 3, "x", {}, {**facts, "more": 1}, {**facts, "stars": "many"}, {**facts, "cards": [1]},
             {**facts, "cards": {"CRVAL1": None}}, {**facts, "sub": 7}, {**facts, "rms_px": None}]  # fmt: skip
    lines = [json.dumps(content) for content in wrong] + ["[" * 100_000, json.dumps(facts)]
    path = tmp_path / "journal"
    path.write_text("".join(f"{zlib.crc32(line.encode()):08x} {line}\n" for line in lines))
    kept = SolutionJournal(path)._kept
    assert list(kept) == [(facts["sub"], facts["way"])]


# --- a run


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Four unsolved subs of one camera: three of one field, one of nothing; one header is wrong."""
    folder = tmp_path_factory.mktemp("night")
    sky = shipped_catalogue()
    for number in range(3):
        made = picture(np.random.default_rng(4), sky, 2.0, (500, 700), Trouble(hot_pixels=50), center_deg=(83.0, 35.0))
        off = 2.5 if number == 1 else 0.2
        header = fits.Header(
            {"RA": 83.0, "DEC": 35.0 + off, "FOCALLEN": 100, "DATE-OBS": f"2025-01-01T20:0{number}:00"}
        )
        header["XPIXSZ"] = 3600.0 * np.degrees(made.plate.scale_rad) * 100 / 206.264806
        noise = np.random.default_rng(number).normal(0, 3, made.pixels.shape[:2])
        pixels = (made.pixels[:, :, 0] + noise).astype(np.float32)
        fits.PrimaryHDU(pixels, header).writeto(folder / f"sub{number}.fits")
    header["DATE-OBS"] = "2025-01-01T20:05:00"
    blank = np.random.default_rng(9).normal(1000, 20, (500, 700)).astype(np.float32)
    fits.PrimaryHDU(blank, header).writeto(folder / "cloud.fits")
    return folder, made


def solve_night(folder, state, events=None, cancel=None, **settings):
    reporter = Reporter((events if events is not None else []).append)
    return session.solve_found(
        scan_folder(folder), GridSettings(**settings), SolutionJournal(state), reporter, cancel or CancelToken()
    )  # fmt: skip


def test_a_folder_of_unsolved_subs_is_solved_and_the_rest_set_aside_by_name(night, tmp_path):
    folder, made = night
    events = []
    found = solve_night(folder, tmp_path / "journal", events)
    assert [info.path.name for info in found.infos] == ["sub0.fits", "sub1.fits", "sub2.fits"]
    for info in found.infos:
        assert info.center_deg == pytest.approx(made.plate.center_deg, abs=2e-4)
    assert [error.path.name for error in found.rejected] == ["cloud.fits"]
    assert "stars" in found.rejected[0].reason
    assert any(isinstance(event, PhaseStarted) and event.name == "plate solving" for event in events)
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]


def test_what_was_solved_is_not_solved_again(night, tmp_path, monkeypatch):
    folder, _ = night
    first = solve_night(folder, tmp_path / "journal")
    monkeypatch.setattr(session, "stars_of_sub", lambda sub: pytest.fail(f"{sub.path.name} was read again"))
    (tmp_path / "moved").mkdir()
    for number in range(3):
        shutil.copy(folder / f"sub{number}.fits", tmp_path / "moved" / f"renamed{number}.fits")
    again = solve_night(tmp_path / "moved", tmp_path / "journal")
    assert len(again.infos) == 3
    for one, other in zip(first.infos, again.infos, strict=True):
        np.testing.assert_array_equal(one.wcs.wcs.crval, other.wcs.wcs.crval)


def test_solutions_do_not_depend_on_threads(night, tmp_path):
    folder, _ = night
    one, other = (solve_night(folder, tmp_path / f"{n}", threads=n) for n in (1, 3))
    for a, b in zip(one.infos, other.infos, strict=True):
        assert a.wcs.to_header_string() == b.wcs.to_header_string()


def test_nothing_is_solved_or_written_where_it_is_not_wanted(night, tmp_path):
    folder, _ = night
    found = solve_night(folder, tmp_path / "journal", plate_solve="off")
    assert not found.infos
    assert len(found.rejected) == 4
    assert not (tmp_path / "journal").exists()


def test_subs_that_were_solved_stand_in_the_order_of_time_with_the_others(night, tmp_path):
    folder, made = night
    for name, minute in (("sub0", 2), ("sub1", 0), ("sub2", 1)):
        with fits.open(folder / f"{name}.fits") as hdus:
            hdus[0].header["DATE-OBS"] = f"2026-01-01T22:0{minute}:00"
            if name == "sub2":
                hdus[0].header.update(plate_cards(made.plate, (500, 700)))
            hdus.writeto(tmp_path / f"{name}.fits")
    assert [info.path.stem for info in solve_night(tmp_path, tmp_path / "j").infos] == ["sub1", "sub2", "sub0"]


def test_all_solves_subs_that_have_a_solution_anew(night, tmp_path):
    folder, made = night
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    cards = plate_cards(replace(made.plate, center=unit_vectors(np.array(83.6), np.array(35.3))), (500, 700))
    with fits.open(folder / "sub0.fits") as hdus:
        hdus[0].header.update(cards)
        hdus.writeto(wrong / "solved.fits")
    kept = solve_night(wrong, tmp_path / "a")
    assert kept.infos[0].center_deg == pytest.approx((83.6, 35.3), abs=1e-3)
    anew = solve_night(wrong, tmp_path / "b", plate_solve="all")
    assert anew.infos[0].center_deg == pytest.approx(made.plate.center_deg, abs=2e-4)


def test_solving_stops_when_it_is_cancelled_and_goes_on_where_it_was(night, tmp_path, monkeypatch):
    folder, _ = night
    cancel = CancelToken()

    def stop_after_first(event):
        if isinstance(event, Progress):
            cancel.cancel()

    with pytest.raises(Cancelled):
        session.solve_found(
            scan_folder(folder), GridSettings(), SolutionJournal(tmp_path / "j"), Reporter(stop_after_first), cancel
        )
    solved = []
    whole = session.solve
    monkeypatch.setattr(session, "solve", lambda *args: solved.append(args) or whole(*args))
    assert len(solve_night(folder, tmp_path / "j").infos) == 3
    assert sum(len(arguments[0]) > 20 for arguments in solved) == 2


def test_solutions_of_a_fresh_run_serve_the_next_one(night, tmp_path, monkeypatch):
    folder, _ = night
    out, stop = tmp_path / "out", CancelToken()
    journal = out / ".zemosaic" / "plate_solutions.journal"
    journal.parent.mkdir(parents=True)
    journal.write_text("of an earlier run")

    def cancel_later(event):
        if isinstance(event, LogLine) and "Canvas" in event.text:
            stop.cancel()

    with pytest.raises(Cancelled):
        run_grid(folder, out, GridSettings(), cancel_later, stop, fresh=True)
    assert len(SolutionJournal(journal)._kept) == 3
    assert "earlier" not in journal.read_text()
    monkeypatch.setattr(session, "solve", lambda stars, *args: pytest.fail("solved again") if len(stars) > 20 else None)
    made = run_grid(folder, out, GridSettings(), lambda event: None, CancelToken())
    assert len(made.grid.used) == 3


def test_a_folder_that_another_run_takes_meanwhile_is_not_written_to(night, tmp_path):
    folder, _ = night
    with ExitStack() as other:

        def begin_another(event):
            if isinstance(event, LogLine) and "to be plate-solved" in event.text:
                other.enter_context(RunFolder(tmp_path / "out"))

        with pytest.raises(SettingsError, match="Another run"):
            run_grid(folder, tmp_path / "out", GridSettings(), begin_another, CancelToken())
        assert not (tmp_path / "out" / ".zemosaic" / "plate_solutions.journal").exists()


# --- solving by itself


def digests(folder):
    return {path: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_the_command_lists_what_is_solved_and_changes_nothing(night, tmp_path, capsys):
    folder, made = night
    before = digests(folder)
    assert main(["solve", str(folder)]) == INCOMPLETE
    said = capsys.readouterr().out
    found = re.search(r"sub0\.fits +RA +(\S+) Dec +(\S+) ", said)
    assert (float(found[1]), float(found[2])) == pytest.approx(made.plate.center_deg, abs=2e-4)
    assert "cloud.fits  not solved: it has no plate solution" in said
    assert "3 of 4 subs are plate-solved" in said
    assert digests(folder) == before


def test_copies_have_the_solution_and_the_same_pixels(night, tmp_path, capsys):
    folder, made = night
    before = digests(folder)
    assert main(["solve", str(folder), "--write", str(tmp_path / "solved")]) == INCOMPLETE
    assert digests(folder) == before
    assert sorted(path.name for path in (tmp_path / "solved").glob("*.fits")) == ["sub0.fits", "sub1.fits", "sub2.fits"]
    for path in (tmp_path / "solved").glob("*.fits"):
        sub = read_sub(path)
        assert sub.center_deg == pytest.approx(made.plate.center_deg, abs=2e-4)
        np.testing.assert_array_equal(fits.getdata(path), fits.getdata(folder / path.name))
        assert fits.getheader(path)["FOCALLEN"] == 100
    assert main(["solve", str(tmp_path / "solved")]) == DONE
    assert "3 subs have a solution in their header" in capsys.readouterr().out


def test_headers_alone_are_read_beside_their_subs(night, tmp_path, capsys):
    folder, _ = night
    main(["solve", str(folder), "--write", str(tmp_path / "cards"), "--cards"])
    assert sorted(path.name for path in (tmp_path / "cards").glob("sub*")) == ["sub0.wcs", "sub1.wcs", "sub2.wcs"]
    shutil.copy(folder / "sub1.fits", tmp_path / "cards")
    main(["solve", str(tmp_path / "cards")])
    assert "1 of 1 subs are plate-solved: 1 read from files beside them" in capsys.readouterr().out


def test_copies_of_integers_keep_their_bytes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (40, 50)).astype(np.uint16)
    header = fits.Header({"CTYPE1": "RA---TAN-SIP", "A_ORDER": 2, "CDELT1": 0.5, "BAYERPAT": "GRBG"})
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "a.fit")
    sub = read_sub(tmp_path / "a.fit")
    write_copy(sub, CARDS, tmp_path / "out" / "a.fit")
    np.testing.assert_array_equal(fits.getdata(tmp_path / "out" / "a.fit"), pixels)
    written = fits.getheader(tmp_path / "out" / "a.fit")
    assert "A_ORDER" not in written
    assert "CDELT1" not in written
    assert written["BAYERPAT"] == "GRBG"
    assert written["CTYPE1"] == "RA---TAN"


def test_copies_do_not_go_among_the_originals(night, capsys):
    folder, _ = night
    assert main(["solve", str(folder), "--write", str(folder / "copies")]) == WRONG_USAGE
    assert "must lie outside" in capsys.readouterr().err
