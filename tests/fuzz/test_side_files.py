"""What lies beside the subs and in the output folder: pipes, devices, links, files without an end."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest
from astropy.io import fits

from zemosaic_engine.catalogues.passbands import read_passbands
from zemosaic_engine.catalogues.reference import read_catalogue
from zemosaic_engine.errors import SettingsError, SubError
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.regular_files import open_own, read_file
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.crashes import Crashes
from zemosaic_engine.resume.run_folder import STATE_NAME, RunFolder
from zemosaic_engine.settings import load_settings_file
from zemosaic_engine.solving.cards import cards_beside
from zemosaic_engine.subs.frames import UnsolvedSub, read_sub
from zemosaic_engine.subs.sidecars import Sidecars
from zemosaic_engine.subs.stack_plan import read_stack_plan
from zemosaic_worker import RunLog

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and links of POSIX")
PATIENCE_S = 20.0


def returns(function):
    """What a function returns or raises; that it comes back at all is what is tested."""
    found = []

    def call():
        try:
            found.append(function())
        except Exception as error:  # noqa: BLE001 - handed over
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert found, "it waits for somebody to write into the pipe"
    return found[0]


def pipe(path):
    os.mkfifo(path)
    return path


def endless(path):
    """A file of 200 GB that takes no room."""
    path.touch()
    os.truncate(path, 200_000_000_000)
    return path


@pytest.mark.parametrize("make", [pipe, endless])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("settings.toml", load_settings_file),
        ("settings.json", load_settings_file),
        ("stack_plan.csv", read_stack_plan),
        ("stars.csv", lambda path: read_catalogue(path, ("R", "G", "B"))),
        ("stars.ecsv", lambda path: read_catalogue(path, ("R", "G", "B"))),
        ("stars.fits", lambda path: read_catalogue(path, ("R", "G", "B"))),
        ("bands.csv", lambda path: read_passbands(str(path))),
    ],
)
def test_what_is_no_file_is_refused_by_name(tmp_path, name, read, make):
    told = returns(lambda: read(make(tmp_path / name)))
    assert isinstance(told, SettingsError)
    assert name in str(told)


@pytest.mark.parametrize("make", [pipe, endless])
def test_notes_that_are_no_files_are_as_if_they_were_not_there(tmp_path, make):
    make(tmp_path / "shotsInfo.json")
    header = HeaderCards({"NAXIS": 2})
    assert dict(returns(lambda: Sidecars().completed(tmp_path / "a.fits", header))) == dict(header)
    fits.PrimaryHDU(data=[[1] * 64] * 64).writeto(tmp_path / "a.fits")
    sub = read_sub(tmp_path / "a.fits")
    assert isinstance(sub, UnsolvedSub)
    make(tmp_path / "a.wcs")
    make(tmp_path / "a.ini")
    assert returns(lambda: cards_beside(sub)) is None


def test_state_that_is_no_file_is_removed_and_nothing_behind_a_link_is_touched(tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "precious"
    victim.write_text("precious")
    folder.mkdir()
    (folder / ".a.part").write_text("precious")
    (folder / "b.record").write_text("precious")
    state = tmp_path / "out" / STATE_NAME
    (state / "kind").mkdir(parents=True)
    for name in ("lock", "subs.journal", "reserve", "crashes.json"):
        (state / name).symlink_to(victim)
    pipe(state / "plate_solutions.journal")
    pipe(state / "kind" / "a.record")
    (state / "kind" / "b.record").symlink_to(victim)
    (state / "tiles").symlink_to(folder)

    def go():
        with RunFolder(tmp_path / "out") as held:
            held.keep_reserve()
            kept = Checkpoints(state)
            kept.keep_only_used()
            return sorted(path.name for path in state.iterdir())

    assert returns(go) == ["kind", "lock", "reserve", "subs.journal"]
    assert victim.read_text() == "precious"
    assert sorted(path.name for path in folder.iterdir()) == [".a.part", "b.record"]


def test_a_record_that_is_no_file_is_damage(tmp_path):
    told = []
    kept = Checkpoints(tmp_path, told.append)
    for number, make in enumerate((pipe, Path.mkdir, lambda path: path.symlink_to("/dev/zero"))):
        key = f"{number:040d}"
        (tmp_path / "kind").mkdir(exist_ok=True)
        make(tmp_path / "kind" / f"{key}.record")
        assert returns(lambda key=key: kept.get("kind", key, int)) is None
        assert not os.path.lexists(tmp_path / "kind" / f"{key}.record")
    assert len(told) == 3


@pytest.mark.parametrize("name", [STATE_NAME, "tiles"])
def test_folders_of_the_program_that_are_links_are_refused(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="is a link to"), RunFolder(tmp_path / "out"):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_log_is_written_through_no_link_and_no_pipe(tmp_path):
    log = tmp_path / "zemosaic.log"
    for make in (pipe, lambda path: path.symlink_to(tmp_path / "victim")):
        make(log)
        (tmp_path / "state").mkdir(exist_ok=True)
        assert not returns(lambda: Crashes(tmp_path / "state", log)).told
        written = RunLog("GRID", lambda event: None)
        returns(lambda written=written: written.open(log))
        written.close()
        assert log.is_file()
        assert not log.is_symlink()
        assert not (tmp_path / "victim").exists()
        log.unlink()


def test_a_file_of_ours_is_opened_where_it_lies(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    pipe(tmp_path / "pipe")
    for name in ("link", "pipe"):
        for mode in ("wb", "a+b"):
            told = returns(lambda name=name, mode=mode: open_own(tmp_path / name, mode))
            assert isinstance(told, OSError)
    assert victim.read_text() == "precious"
    with open_own(tmp_path / "new", "wb") as file:
        file.write(b"longer than the next")
    with open_own(tmp_path / "new", "wb") as file:
        file.write(b"next")
    with open_own(tmp_path / "new", "a+b") as file:
        file.write(b" one")
    assert read_file(tmp_path / "new", 8) == b"next one"
    with pytest.raises(OSError, match="far too large"):
        read_file(tmp_path / "new", 7)


# --- headers and containers that unfold


def test_a_string_that_is_continued_for_ever_takes_no_time():
    block = b"OBJECT  = 'x&'".ljust(80) + (b"CONTINUE  '" + b"x" * 60 + b"&'").ljust(80) * 45_000 + b"END".ljust(80)
    text = returns(lambda: HeaderCards.parse(block)).text("OBJECT")
    assert 60_000 < len(text) < 70_000


def little(tag, kind, count, value):
    return struct.pack("<HHQQ", tag, kind, count, value)


def big_tiff(path, changes=()):
    """A TIFF of 64-bit offsets with an image of 64 x 64; `changes` replaces or adds tags."""
    tags = {256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 1, 16), 259: (3, 1, 1), 262: (3, 1, 1), 273: (16, 1, 1000),
            277: (3, 1, 1), 278: (4, 1, 64), 279: (16, 1, 8192)} | dict(changes)  # fmt: skip
    entries = b"".join(little(tag, *tags[tag]) for tag in sorted(tags))
    head = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags))
    path.write_bytes((head + entries).ljust(10_000, b"\0"))
    return path


HUGE = 2**63 + 5


@pytest.mark.parametrize(
    "changes",
    [{273: (16, 1, HUGE)}, {279: (16, 1, 10**12)}, {279: (16, 1, HUGE)}, {273: (16, 1, 2**64 - 1)},
     {273: (12, 1, 0)}, {256: (4, 1, 40_000), 257: (4, 1, 40_000), 278: (4, 1, 40_000)}],
)  # fmt: skip
def test_offsets_and_counts_of_a_tiff_may_be_any_number(tmp_path, changes):
    read_sub(big_tiff(tmp_path / "good.tif"))
    told = returns(lambda: read_sub(big_tiff(tmp_path / "a.tif", changes)))
    assert type(told) is SubError


def test_tags_that_name_millions_of_values_are_passed_over(tmp_path):
    many = {1000 + n: (16, 4_000_000, 4096) for n in range(3000)} | {305: (2, 30_000_000, HUGE)}
    path = big_tiff(tmp_path / "a.tif", many | {273: (16, 1, 65_000), 279: (16, 1, 8192)})
    os.truncate(path, 40_000_000)
    assert returns(lambda: read_sub(path)).shape == (64, 64)


def xisf(path, header, encoding="utf-8", behind=b""):
    text = header.encode(encoding)
    path.write_bytes(b"XISF0100" + struct.pack("<II", len(text), 0) + text + behind)
    return path


IMAGE = '<Image geometry="64:64:1" sampleFormat="UInt16" location="attachment:1000:8192"/>'
ENTITIES = f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE z [<!ENTITY a "x">]><xisf>{IMAGE}</xisf>'


@pytest.mark.parametrize(
    ("header", "encoding", "told"),
    [
        ("<xisf>" + "<a>" * 5_000_000, "utf-8", "far too long"),
        ("<xisf>" + '<a b=""/>' * 1_700_000 + IMAGE + "</xisf>", "utf-8", "far too long"),
        (
            f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE z [<!ENTITY a "x">]><xisf>{IMAGE}</xisf>',
            "utf-16",
            "entit",
        ),
        ("<xisf>" + IMAGE.replace("8192", "9" * 15) + "</xisf>", "utf-8", "more room"),
    ],
    ids=["deep", "wide", "entities", "long"],
)
def test_headers_of_xisf_are_read_to_their_first_image_at_most(tmp_path, header, encoding, told):
    with pytest.raises(SubError, match=told):
        read_sub(xisf(tmp_path / "a.xisf", header, encoding))


@pytest.mark.parametrize("name", ["a.tif", "a.xisf"])
def test_other_formats_are_read_as_far_as_they_reach_too(tmp_path, name):
    if name == "a.tif":
        path = big_tiff(tmp_path / name)
    else:
        path = xisf(tmp_path / name, f"<xisf>{IMAGE}</xisf>", behind=bytes(10_000))
    os.truncate(path, 100_000_000_000)
    assert read_sub(path).span < 10_000


def test_an_image_behind_gigabytes_of_a_zipped_file_is_not_looked_for(tmp_path, monkeypatch):
    import gzip

    cards = [f"{key:<8}= {value:>20}".ljust(80) for key, value in
             {"SIMPLE": "T", "BITPIX": "8", "NAXIS": "1", "NAXIS1": str(10**10)}.items()]  # fmt: skip
    head = ("".join(cards) + "END".ljust(80)).ljust(2880).encode()
    with gzip.open(tmp_path / "a.fits.gz", "wb", 1) as file:
        file.write(head)
        file.write(os.urandom(2_000_000))
    with gzip.open(tmp_path / "a.fits.gz", "ab", 9) as file:
        for _ in range(600):
            file.write(bytes(1 << 20))
    asked, real = [], gzip.GzipFile.seek

    def seek(file, offset, whence=0):
        asked.append(offset)
        return real(file, offset, whence)

    monkeypatch.setattr(gzip.GzipFile, "seek", seek)
    with pytest.raises(SubError, match="holds no image"):
        read_sub(tmp_path / "a.fits.gz")
    assert not asked
