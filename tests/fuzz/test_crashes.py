"""What compiled code does to a process costs one sub: now where it is known to crash, next time where it is not."""

from __future__ import annotations

import ast
import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hostile import copied, tiny_survey

from benchmarks.survival import Job, science
from zemosaic_engine.errors import SubError
from zemosaic_engine.fits.reader import read_image
from zemosaic_engine.machine import decoders
from zemosaic_engine.resume.crashes import Crashes, _escaped
from zemosaic_engine.subs.faults import frame_name
from zemosaic_engine.subs.frames import load_frame, read_sub_info

ROOT = Path(__file__).resolve().parents[2]
#: Bytes of an HCOMPRESS stream that made the decoder die of SIGSEGV, SIGABRT and SIGFPE: what it says of its size.
DEADLY = {"width": (5, 127), "height": (8, 1), "no height": (9, 0)}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("crashes") / "survey")


@pytest.fixture(scope="module")
def packed(survey, tmp_path_factory):
    """A sub compressed by HCOMPRESS."""
    path = tmp_path_factory.mktemp("packed") / "sub.fits.fz"
    with fits.open(sorted(survey.glob("*.fits"))[3]) as hdus:
        fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="HCOMPRESS_1", tile_shape=(16, 240)).writeto(
            path
        )
    return path


@pytest.fixture(autouse=True)
def no_process_stays():
    yield
    decoders.end_all()


def damaged(packed, path, case):
    with fits.open(packed, disable_image_compression=True) as hdus:
        table = hdus[1].header
        heap = hdus[1]._data_offset + table["NAXIS1"] * table["NAXIS2"]
    place, value = DEADLY[case]
    data = bytearray(packed.read_bytes())
    data[heap + place] = value
    path.write_bytes(data)
    return path


# --- decoders that are known to crash


@pytest.mark.parametrize(("method", "top"), [("HCOMPRESS_1", 60000), ("PLIO_1", 4000)])
def test_another_process_gives_the_same_pixels(tmp_path, method, top):
    pixels = np.random.default_rng(1).integers(0, top, (64, 96)).astype(np.int32)
    fits.CompImageHDU(pixels, compression_type=method, tile_shape=(16, 96)).writeto(tmp_path / "a.fits")
    for _ in range(3):
        np.testing.assert_array_equal(read_image(tmp_path / "a.fits", 1), pixels)
    assert len(decoders._idle) == 1


@pytest.mark.parametrize("case", DEADLY)
def test_a_decoder_that_crashes_costs_the_sub(packed, tmp_path, case):
    wanted = load_frame(read_sub_info(packed)).pixels
    with pytest.raises(SubError, match=r"it made the decoder crash|cannot be undone"):
        load_frame(read_sub_info(damaged(packed, tmp_path / "a.fits.fz", case)))
    np.testing.assert_array_equal(load_frame(read_sub_info(packed)).pixels, wanted)


def test_one_at_least_of_them_crashes_the_decoder(packed, tmp_path):
    """Otherwise nothing here is tested."""
    with pytest.raises(SubError, match="crash"):
        load_frame(read_sub_info(damaged(packed, tmp_path / "a.fits.fz", "no height")))


def test_a_decoder_that_does_not_come_back_is_ended(packed, monkeypatch):
    monkeypatch.setattr(decoders, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(decoders, "_DECODE_S", 0.2)
    with pytest.raises(SubError, match="crash"):
        load_frame(read_sub_info(packed))
    assert not decoders._idle


def test_a_process_that_ended_while_it_was_idle_is_replaced(packed):
    load_frame(read_sub_info(packed))
    decoders._idle[0].kill()
    decoders._idle[0].wait()
    load_frame(read_sub_info(packed))


def test_where_no_process_can_be_started_the_sentence_says_what_to_do(packed, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(SubError, match=r"HCOMPRESS_1 is unpacked by .* unpack the file with funpack"):
        load_frame(read_sub_info(packed))


def test_no_process_outlives_the_one_that_asked(packed):
    code = (
        "import sys\nfrom zemosaic_engine.machine import decoders\n"
        "from zemosaic_engine.subs.frames import load_frame, read_sub_info\n"
        "load_frame(read_sub_info(sys.argv[1]))\n"
        "print(decoders._idle[0].pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, packed], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.slow
def test_a_folder_with_such_a_sub_gives_a_mosaic_and_names_it(survey, packed, tmp_path):
    subs = copied(survey, tmp_path / "subs")
    damaged(packed, subs / "bad.fits.fz", "no height")
    done = run(subs, tmp_path / "out")
    assert done.returncode == 3
    assert [row["file_path"] for row in rejected(tmp_path / "out")] == [str(subs / "bad.fits.fz")]


# --- what nobody knows to crash


def run(subs, output, *options, **environment):
    return subprocess.run(
        Job(subs).command(output, *options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )


def rejected(output):
    with (output / "rejected_subs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


CRASH = """
import ctypes, os, sys
sys.path.insert(0, {root!r})
def _die(event, arguments):
    if event == "open" and os.path.basename(str(arguments[0])) == os.environ.get("DIES_AT"):
        ctypes.string_at(0)
sys.addaudithook(_die)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_crash_leaves_the_name_in_the_log_and_the_next_run_sets_the_sub_aside(survey, tmp_path):
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(CRASH.format(root=str(ROOT)))
    subs, output = copied(survey, tmp_path / "subs"), tmp_path / "out"
    sub = sorted(subs.glob("*.fits"))[6]
    hooked = {"PYTHONPATH": str(tmp_path / "hook")}
    (output / ".zemosaic").mkdir(parents=True)  # or the log begins after the headers
    assert run(subs, output, **hooked, DIES_AT="").returncode == 0
    (output / "zemosaic.log").unlink()
    moved = sub.rename(sub.with_name("deadly.fits"))
    # It dies when the sub is measured, not when its header is read: the log is open then.
    (tmp_path / "hook" / "sitecustomize.py").write_text(
        CRASH.format(root=str(ROOT)).replace("if event", "if os.path.exists(os.environ['LOG']) and event")
    )
    hooked |= {"DIES_AT": "deadly.fits", "LOG": str(output / "zemosaic.log")}
    died = run(subs, output, "--threads", "1", **hooked)
    assert died.returncode == -11, died.stderr
    assert f"<sub {moved}>" in (output / "zemosaic.log").read_text()
    again = run(subs, output, **hooked)
    assert again.returncode == 3, again.stderr
    assert [row["file_path"] for row in rejected(output)] == [str(moved)]
    assert "crashed" in rejected(output)[0]["reason"]
    assert f"The run before crashed (Segmentation fault) while it was at work on {moved}" in again.stdout
    third = run(subs, output, **hooked)  # the log of the crash is gone by now
    assert third.returncode == 3
    os.utime(moved)  # replaced since
    assert run(subs, output, "--threads", "1", **hooked).returncode == -11
    assert run(subs, output, "--fresh", "--threads", "1", **hooked).returncode == -11
    moved.rename(sub)
    assert run(subs, output).returncode == 0
    reference = tmp_path / "reference"
    assert run(subs, reference).returncode == 0
    assert science(output) == science(reference)


def test_a_kill_is_no_crash(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "log").write_text("2026-01-01 12:00:00 INFO [GRID] measuring\n")
    crashes = Crashes(tmp_path / "state", tmp_path / "log")
    assert not crashes.told
    assert not crashes.reason(tmp_path / "a.fits")


@pytest.mark.parametrize(
    "name", ["a.fits", "é中😀.fits", "a\udcff.fits", 'a", line 1.fits', "a\nb>.fits", 300 * "é" + ".fits"]
)
def test_names_are_found_however_faulthandler_writes_them(tmp_path, name):
    code = (
        "import ast, ctypes, faulthandler, sys\n"
        "from zemosaic_engine.subs.faults import read_guarded\n"
        "faulthandler.enable(open(sys.argv[1], 'wb'))\n"
        "read_guarded(ast.literal_eval(sys.argv[2]), lambda: ctypes.string_at(0))"
    )
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", code, tmp_path / "log", ascii(str(path))], cwd=ROOT, check=False, timeout=60)
    (tmp_path / "state").mkdir()
    found = Crashes(tmp_path / "state", tmp_path / "log")
    assert list(found._noted) == [_escaped(frame_name(path))]
    assert ast.literal_eval(ascii(name))  # what is passed is what is meant


def test_notes_that_are_damaged_are_no_notes(tmp_path):
    for text in ("", "[]", "{", '{"a": "b"}', "null", '{"a": 1}\0'):
        (tmp_path / "crashes.json").write_text(text)
        assert not Crashes(tmp_path, tmp_path / "log").reason(tmp_path / "a")


HOST = """
import faulthandler, sys
faulthandler.enable()
import grid_mode
grid_mode.run_grid_mode(sys.argv[1], sys.argv[2], lambda message, *_, **__: print(message))
assert faulthandler.is_enabled()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_crash_inside_a_host_costs_the_sub_in_its_next_run_too(survey, tmp_path):
    """Also where the host has switched faulthandler on for itself."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(CRASH.format(root=str(ROOT)))
    sub = sorted(survey.glob("*.fits"))[6]
    output, hooked = tmp_path / "out", {**os.environ, "PYTHONPATH": str(tmp_path / "hook"), "DIES_AT": sub.name}

    def run_in_host():
        command = [sys.executable, "-c", HOST, survey, output]
        return subprocess.run(
            command, cwd=ROOT, env=hooked, capture_output=True, text=True, check=False, timeout=300
        )  # fmt: skip

    died = run_in_host()
    assert died.returncode == -11, died.stderr
    assert f"<sub {sub}>" in (output / ".zemosaic" / "crash.txt").read_text()
    again = run_in_host()
    assert again.returncode == 0, again.stderr
    assert f"The run before crashed (Segmentation fault) while it was at work on {sub}" in again.stdout
    assert [row["file_path"] for row in rejected(output)] == [str(sub)]


def test_of_two_runs_at_once_the_crash_goes_to_the_last_and_the_host_gets_its_own_back(tmp_path):
    code = (
        "import ctypes, faulthandler, sys\n"
        "from zemosaic_engine.resume.crashes import crashes_told\n"
        "faulthandler.enable()\n"
        "first, second = (open(name, 'wb', buffering=0) for name in sys.argv[1:3])\n"
        "with crashes_told(first):\n"
        "    with crashes_told(second):\n"
        "        if sys.argv[3] == 'both': ctypes.string_at(0)\n"
        "    if sys.argv[3] == 'first': ctypes.string_at(0)\n"
        "ctypes.string_at(0)"
    )
    for where in ("both", "first", "none"):
        files = [tmp_path / f"{where}_{name}" for name in ("first", "second")]
        done = subprocess.run(
            [sys.executable, "-c", code, *files, where], cwd=ROOT, capture_output=True, text=True, check=False
        )
        texts = [files[0].read_text(), files[1].read_text(), done.stderr]
        assert [("Fatal Python error" in text) for text in texts] == [
            where == "first", where == "both", where == "none",
        ]  # fmt: skip
