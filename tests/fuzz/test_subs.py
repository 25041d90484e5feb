"""Whatever lies in a folder under the name of a sub costs that sub at most."""

from __future__ import annotations

import csv
import io
import sys
from functools import partial

import numpy as np
import pytest
from astropy.io import fits
from hostile import card, cards_of, copied, text_card, tiny_survey, with_cards, write

from benchmarks.survival import science
from zemosaic_engine.errors import RunError, SettingsError, SubError, SubFault
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs import faults
from zemosaic_engine.subs.faults import read_guarded
from zemosaic_engine.subs.frames import load_frame, read_sub_info
from zemosaic_engine.survey.measure import measure_subs
from zemosaic_worker import run_grid


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("hostile") / "survey")


@pytest.fixture(scope="module")
def sub(survey):
    return sorted(survey.glob("*.fits"))[3]


#: Odd, but nothing that the pixels or the plate solution depend on: such a sub is used.
HARMLESS = {
    "the first day of .NET": (text_card("DATE-OBS", "0001-01-01T00:00:00"), card("SITELONG", "12.5")),
    "the last day of .NET": (text_card("DATE-OBS", "9999-12-31T23:59:59"), card("SITELONG", "-170.0")),
    "the first local day": (text_card("DATE-LOC", "0001-01-01T00:00:00"),),
    "NUL in the telescope": (text_card("TELESCOP", "S50\0\0\0"),),
    "a tab in the camera": (text_card("INSTRUME", "Seestar\tS50"),),
    "an escape sequence in the filter": (text_card("FILTER", "LP\x1b[2J"),),
    "PCOUNT": (card("PCOUNT", "5"),),
    "a huge PCOUNT": (card("PCOUNT", "9" * 19),),
    "a huge GCOUNT": (card("GCOUNT", "9" * 19),),
}
HARMFUL = {
    "one huge axis": (card("NAXIS", "1"), card("NAXIS1", "9" * 20)),
    "one axis of 70 digits": (card("NAXIS", "1"), f"NAXIS1  = {'9' * 70}"),
    "a huge negative axis": (card("NAXIS1", "-" + "9" * 20),),
    "an infinite axis": (card("NAXIS1", "1E999"),),
    "999 axes": (card("NAXIS", "999"),),
    "no bits": (card("BITPIX", "0"),),
    "a pole at infinity": (card("CRVAL2", "1E300"),),
    "a scale of 1e300": (card("CD1_1", "1E300"), card("CD2_2", "1E300")),
    "a tiny scale": tuple(card(name, "1E-300") for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_odd_cards_cost_nothing(sub, tmp_path, case):
    info = read_sub_info(with_cards(sub, tmp_path / "a.fits", *HARMLESS[case]))
    np.testing.assert_array_equal(load_frame(info).pixels, load_frame(read_sub_info(sub)).pixels)
    assert (info.camera + info.filter).isprintable()
    info.camera.encode("ascii")


@pytest.mark.parametrize("case", HARMFUL)
def test_impossible_cards_cost_the_sub(sub, tmp_path, case):
    with pytest.raises(SubError) as caught:
        load_frame(read_sub_info(with_cards(sub, tmp_path / "a.fits", *HARMFUL[case])))
    assert not isinstance(caught.value, SubFault)
    assert len(caught.value.reason) < 400


# --- tile compression


def compressed(sub, path, method="RICE_1"):
    with fits.open(sub) as hdus:
        fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type=method).writeto(path)
    return path


def with_table_cards(path, *new):
    """The same file with other cards in the header of its table."""
    data = path.read_bytes()
    primary, rest = data[:2880], data[2880:]
    (path.parent / "table").write_bytes(rest)
    cards, heap = cards_of(path.parent / "table")
    named = {line[:8]: line for line in new}
    kept = [named.pop(line[:8], line) for line in cards]
    write(path.parent / "table", [*kept, *named.values()], heap)
    path.write_bytes(primary + (path.parent / "table").read_bytes())
    return path


TABLE_CASES = {
    "an infinite value": (card("TZERO1", "1E999"),),
    "a long name of a column": (f"TTYPE1  = '{'X' * 69}'",),
    "nine huge axes": (card("ZNAXIS", "9"), *(card(f"ZNAXIS{n}", "9" * 18) for n in range(1, 10))),
    "nine huge axes of the table": (card("NAXIS", "9"), *(card(f"NAXIS{n}", "9" * 18) for n in range(1, 10))),
    "very many columns": (card("TFIELDS", "9" * 18),),
    "a number of 19 digits": (card("ZTILE1", "9" * 19),),
    "no column": (card("TFIELDS", "0"),),
}


@pytest.mark.parametrize("case", TABLE_CASES)
def test_impossible_tables_cost_the_sub(sub, tmp_path, case):
    path = with_table_cards(compressed(sub, tmp_path / "a.fits.fz"), *TABLE_CASES[case])
    with pytest.raises(SubError) as caught:
        load_frame(read_sub_info(path))
    assert not isinstance(caught.value, SubFault)


def test_a_file_that_is_cut_off_behind_a_header_without_axes_is_told(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "a.fits")
    (tmp_path / "a.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:1000])
    with pytest.raises(SubError, match=r"it holds no image \(its header declares no pixels\)"):
        read_sub_info(tmp_path / "a.fits")


def test_the_table_that_was_not_changed_is_read(sub, tmp_path):
    path = with_table_cards(compressed(sub, tmp_path / "a.fits.fz"))
    np.testing.assert_array_equal(load_frame(read_sub_info(path)).pixels, load_frame(read_sub_info(sub)).pixels)


# --- what nobody foresaw


def test_what_third_party_code_raises_is_damage_and_what_is_ours_is_a_fault(tmp_path):
    with pytest.raises(SubError) as damage:
        read_guarded(tmp_path / "a.fits", lambda: fits.open(io.BytesIO(b"SIMPLE  = nonsense")).verify("exception"))
    assert not isinstance(damage.value, SubFault)
    with pytest.raises(SubFault) as fault:
        read_guarded(tmp_path / "a.fits", lambda: {}["nothing"])
    assert "KeyError" in fault.value.reason
    assert "test_subs.py" in fault.value.trace
    for passes in (MemoryError, SettingsError, RunError, KeyboardInterrupt, RuntimeWarning):
        with pytest.raises(passes):
            read_guarded(tmp_path / "a.fits", partial(_raise, passes("no")))


def _raise(error):
    raise error


def test_a_fault_of_ours_costs_the_sub_is_counted_and_its_place_is_in_the_log(survey, tmp_path, monkeypatch):
    """Where it happens makes no difference: reading the header, decoding, measuring."""
    subs = copied(survey, tmp_path / "subs")
    names = sorted(path.name for path in subs.glob("*.fits"))
    for module, function, name in (
        (read_sub_info.__module__, "_camera", names[2]),
        (load_frame.__module__, "_is_plateau", names[5]),
        (measure_subs.__module__, "sky_of", names[7]),
    ):
        _break(monkeypatch, sys.modules[module], function, name)
    lines = []
    outcome = run_grid(
        subs,
        tmp_path / "out",
        GridSettings(threads=1),
        lambda event: lines.append(event.line) if isinstance(event, LogLine) else None,
        CancelToken(),
    )
    with (tmp_path / "out" / "rejected_subs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file_path"].rsplit("/", 1)[-1] for row in rows) == [names[2], names[5], names[7]]
    assert all("the program failed on it (KeyError: 'no such thing'" in row["reason"] for row in rows)
    assert not outcome.is_complete
    assert outcome.report.faults == 3
    assert any("3 subs were set aside because of a fault of the program" in line for line in lines)
    log = (tmp_path / "out" / "zemosaic.log").read_text()
    assert log.count("Traceback (most recent call last)") == 1  # of one place: thousands of subs may fail there
    assert "in _breaks" in log


def _break(monkeypatch, module, function, name):
    """Let a function fail whenever the sub of this name is at work."""
    real_enter, at_work = faults._Blaming.__enter__, []

    def enter(self):
        at_work.append(getattr(self._path, "name", self._path))
        return real_enter(self)

    monkeypatch.setattr(faults._Blaming, "__enter__", enter)
    real = getattr(module, function)

    def _breaks(*arguments):
        if at_work[-1] == name:
            raise KeyError("no such thing")
        return real(*arguments)

    monkeypatch.setattr(module, function, _breaks)


@pytest.mark.slow
def test_a_folder_with_all_of_them_gives_the_mosaic_of_the_good_ones(survey, sub, tmp_path):
    good, mixed = copied(survey, tmp_path / "good"), copied(survey, tmp_path / "mixed")
    for number, case in enumerate(HARMFUL):
        with_cards(sub, mixed / f"bad_{number}.fits", *HARMFUL[case])
    for folder in (good, mixed):
        run_grid(folder, tmp_path / f"{folder.name}_out", GridSettings(), lambda event: None, CancelToken())
    # Those whose headers can be read hold the pixels of one exposure, which is used once.
    tables = [(tmp_path / "mixed_out" / name).read_text() for name in ("rejected_subs.csv", "not_stacked.csv")]
    assert sum("bad_" in row for table in tables for row in table.splitlines()) == len(HARMFUL)
    wanted, found = (science(tmp_path / f"{name}_out") for name in ("good", "mixed"))
    differing = {name for name in wanted if wanted[name] != found.get(name)}
    assert differing <= {"rejected_subs.csv", "not_stacked.csv"}
