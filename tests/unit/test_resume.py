"""What is kept of a run: records and their checksums, digests of subs, keys, the lock of an output folder."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.planning import made_up_infos
from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.canvas.tile_layout import TileLayout
from zemosaic_engine.errors import RunError, SettingsError, SubError
from zemosaic_engine.geometry import Box
from zemosaic_engine.machine import backend
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.resume import crashes
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.dependencies import Dependencies, settings_of
from zemosaic_engine.resume.fingerprints import engine_fingerprint, fingerprint, kit_digests
from zemosaic_engine.resume.records import DamagedRecord, decode, encode
from zemosaic_engine.resume.run_folder import STATE_NAME, RunFolder
from zemosaic_engine.resume.sub_digests import SubDigests
from zemosaic_engine.settings import GridSettings, Stage
from zemosaic_engine.subs.lost_inputs import raise_if_lost
from zemosaic_engine.survey.measurements import SkyCells, StarFluxes, SubMeasurement


@dataclass(frozen=True)
class Inner:
    values: NDArray[np.float32]
    name: str


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: list[Inner]
    maybe: NDArray[np.float64] | None
    number: float
    flag: bool
    pairs: dict[str, Inner]
    pair: tuple[int, ...]


def example(number=1.5):
    inner = Inner(np.array([[1.0, np.nan], [np.inf, -0.0]], np.float32), "ünï\udcff")
    return Outer(inner, [inner, Inner(np.zeros((0, 3), np.float32), "")], None, number, True, {"a": inner}, (1, 2))


def assert_same(first, second):
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes()
        elif hasattr(a, "__dataclass_fields__"):
            assert_same(a, b)
        elif isinstance(a, list) and a and hasattr(a[0], "__dataclass_fields__"):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                assert_same(x, y)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
        else:
            assert a == b or (a != a and b != b)


# --- records


@given(st.floats(allow_nan=True))
def test_a_record_comes_back_bit_by_bit(number):
    assert_same(example(number), decode(encode(example(number)), Outer))


def test_what_a_run_keeps_comes_back():
    rng = np.random.default_rng(1)
    stars = StarFluxes(*(rng.random(5) for _ in range(4)), rng.random((5, 3)), rng.random((5, 3)))
    cells = SkyCells(np.arange(4), *(rng.random(4) for _ in range(2)), rng.random((4, 3)), rng.random((4, 3)))
    measurement = SubMeasurement(stars, cells, rng.random(3), rng.random(3), float("nan"), 10.0, "cam", "2026-01-01")
    assert_same(measurement, decode(encode(measurement), SubMeasurement))
    calibration = SubCalibration.exact(np.ones(3), np.zeros(3), np.zeros((3, 2)), np.zeros((3, 6)))
    assert_same(calibration, decode(encode(calibration), SubCalibration))


@given(st.data())
def test_no_changed_or_missing_byte_goes_unnoticed(data):
    whole = encode(example())
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedRecord):
        decode(bytes(changed), Outer)
    with pytest.raises(DamagedRecord):
        decode(whole[:place], Outer)


def test_a_record_of_another_kind_is_not_taken():
    with pytest.raises(DamagedRecord):
        decode(encode(Inner(np.zeros(2, np.float32), "x")), Outer)
    with pytest.raises(TypeError, match="no place in a record"):
        encode(Inner(object(), "x"))


# --- fingerprints


def test_a_fingerprint_tells_values_types_and_nesting_apart():
    parts = [
        (1,), (1.0,), ("1",), (True,), (None,), (1, 2), ((1, 2),), ([1], 2), ({"a": 1},), ({"a": 2},), ("ab", "c"),
        ("a", "bc"), (np.zeros(2),), (np.zeros(2, np.float32),),
        (np.zeros((2, 1)),), (-0.0,), (0.0,), (np.float64(2.0),),
        ([("a", 1)],),
    ]  # fmt: skip
    assert len({fingerprint(*values) for values in parts}) == len(parts)
    assert fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    assert fingerprint(example()) == fingerprint(example())
    assert fingerprint(example(1.0)) != fingerprint(example(2.0))
    with pytest.raises(TypeError):
        fingerprint(object())


def test_the_engine_has_one_fingerprint():
    assert len(engine_fingerprint()) == 64
    code = "from zemosaic_engine.resume.fingerprints import engine_fingerprint as f; print(f())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == engine_fingerprint()


def test_every_file_that_makes_numbers_counts_in_the_fingerprint(tmp_path):
    kit = tmp_path / "kit"
    root = Path(__file__).resolve().parents[2]
    left_out = shutil.ignore_patterns("simulate", "__pycache__", "*.stars")
    shutil.copytree(root / "zemosaic_engine", kit / "zemosaic_engine", ignore=left_out)
    for name in ("grid_mode.py", "zemosaic_stack_core.py"):
        shutil.copy(root / name, kit)
    (kit / "zemosaic_engine" / "solving" / "tycho2.stars").write_bytes(b"a catalogue")
    before = kit_digests(kit)
    for name in ("kernels/pixels.cuh", "solving/tycho2.stars", "kernels/combining.py", "resume/__init__.py"):
        path = kit / "zemosaic_engine" / name
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert kit_digests(kit) != before, name
        path.write_bytes(content)
        assert kit_digests(kit) == before
    for name in ("kernels/__pycache__/combining.nbi", "simulate/scene.py"):
        path = kit / "zemosaic_engine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not of the numbers")
    assert kit_digests(kit) == before


def test_a_tile_depends_on_the_device_that_stacks_it(monkeypatch):
    """A run that is resumed where a GPU has come or gone stacks anew."""
    infos = made_up_infos(1, 1)
    canvas = plan_canvas(infos, 0.0, 100.0)
    layout = TileLayout("tile", Box(0, 10, 0, 10), Box(0, 10, 0, 10), ())

    def key(device, problem):
        monkeypatch.setattr(backend, "cuda_problem", lambda: problem)
        settings = GridSettings(device=device)
        return Dependencies(infos, settings, canvas, Checkpoints()).tile(layout, [], None, None)

    assert key("auto", "no GPU") == key("cpu", "") == key("cpu", "no GPU")
    assert key("auto", "") == key("cuda", "")
    assert key("auto", "") != key("auto", "no GPU")


def test_every_setting_belongs_to_one_stage():
    stages = get_args(Stage)
    names = [set(settings_of(GridSettings(), stage)) for stage in stages]
    assert set().union(*names) == set(GridSettings.model_fields)
    assert sum(map(len, names)) == len(GridSettings.model_fields)
    assert {"threads", "memory_gb"} <= names[stages.index("none")]
    assert settings_of(GridSettings(threads=3), "none")["threads"] == 3


# --- checkpoints


def test_a_checkpoint_is_found_by_its_key_alone(tmp_path):
    store = Checkpoints(tmp_path / "state")
    key, other = store.key("x", 1), store.key("x", 2)
    store.put("things", key, example())
    assert_same(store.get("things", key, Outer), example())
    assert store.get("things", other, Outer) is None
    assert_same(Checkpoints(tmp_path / "state").get("things", key, Outer), example())
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]


def test_a_damaged_checkpoint_is_told_and_gone(tmp_path):
    told = []
    store = Checkpoints(tmp_path, told.append)
    store.put("things", "k" * 64, example())
    (path,) = tmp_path.rglob("*.record")
    path.write_bytes(path.read_bytes()[:-1])
    assert store.get("things", "k" * 64, Outer) is None
    assert len(told) == 1
    assert "damaged" in told[0]
    assert not path.exists()


def test_only_what_a_run_used_is_left(tmp_path):
    first = Checkpoints(tmp_path)
    for number in range(3):
        first.put("things", first.key(number), example())
    second = Checkpoints(tmp_path)
    assert second.get("things", second.key(1), Outer) is not None
    second.put("things", second.key(7), example())
    second.keep_only_used()
    assert [Checkpoints(tmp_path).get("things", second.key(n), Outer) is not None for n in (0, 1, 2, 7)] == [
        False, True, False, True,
    ]  # fmt: skip


def test_nothing_is_kept_without_a_folder():
    store = Checkpoints()
    store.put("things", "k" * 64, example())
    assert store.get("things", "k" * 64, Outer) is None
    assert not store.keeps
    store.keep_only_used()


# --- digests of subs


def named(path):
    """What is known of a sub, as far as its digest needs it."""
    return SimpleNamespace(path=path, state=None, span=0)


def test_the_content_counts(tmp_path):
    sub = tmp_path / "a.fits"
    sub.write_bytes(b"one")
    digest = SubDigests(tmp_path / "journal").digest(named(sub))
    stat = sub.stat()
    sub.write_bytes(b"two")  # same size, and the same time of modification
    os.utime(sub, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert SubDigests(tmp_path / "journal").digest(named(sub)) != digest
    sub.write_bytes(b"one")
    os.utime(sub, (1.0, 1.0))
    assert SubDigests(tmp_path / "journal").digest(named(sub)) == digest


def test_an_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("zemosaic_engine.resume.sub_digests._RACY_NS", -1)
    sub = tmp_path / "a.fits"
    sub.write_bytes(b"one")
    digest = SubDigests(tmp_path / "journal").digest(named(sub))
    monkeypatch.setattr("zemosaic_engine.resume.sub_digests.file_digest", lambda *_: pytest.fail("read again"))
    assert SubDigests(tmp_path / "journal").digest(named(sub)) == digest


def test_a_cut_or_damaged_journal_costs_its_lines_only(tmp_path):
    journal = tmp_path / "journal"
    subs = []
    for number in range(4):
        subs.append(tmp_path / f"{number}.fits")
        subs[-1].write_bytes(bytes([number]))
    digests = SubDigests(journal)
    wanted = [digests.digest(named(sub)) for sub in subs]
    data = journal.read_bytes()
    for cut in range(0, len(data), 37):
        journal.write_bytes(data[:cut])
        again = SubDigests(journal)
        assert [again.digest(named(sub)) for sub in subs] == wanted
    journal.write_bytes(data.replace(b'"size": 1', b'"size": 2', 1) + b"\xff\xfe\x00")
    assert [SubDigests(journal).digest(named(sub)) for sub in subs] == wanted


def test_only_the_subs_of_the_last_run_stay_in_the_journal(tmp_path):
    a, b = tmp_path / "a.fits", tmp_path / "b.fits"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    first = SubDigests(tmp_path / "journal")
    first.digest(named(a))
    first.digest(named(b))
    second = SubDigests(tmp_path / "journal")
    second.digest(named(b))
    second.keep_only_asked()
    text = (tmp_path / "journal").read_text()
    assert "b.fits" in text
    assert "a.fits" not in text


# --- a folder of subs that is gone


def unreadable(path, number=errno.EIO):
    error = SubError(path, "it cannot be read")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


def test_a_bad_sub_is_no_lost_folder(tmp_path):
    paths = [tmp_path / f"{n}.fits" for n in range(3)]
    for path in paths[1:]:
        path.write_bytes(b"x")
    raise_if_lost(unreadable(paths[0]), paths)
    raise_if_lost(SubError(paths[0], "it is black"), paths)
    with pytest.raises(RunError, match="can no longer be read"):
        raise_if_lost(unreadable(paths[0], errno.ESTALE), paths)
    for path in paths[1:]:  # the mount point of a share that went away is an empty folder
        path.unlink()
    with pytest.raises(RunError, match="bring it back"):
        raise_if_lost(unreadable(paths[0], errno.ENOENT), paths)
    with pytest.raises(RunError):
        raise_if_lost(unreadable(Path("/no/such/folder/a.fits")), [])


# --- the output folder


def test_two_runs_cannot_hold_one_folder_and_the_second_learns_who_does(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from zemosaic_engine.resume.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match=rf"Another run \(process {process.pid} on .*\) is at work"):
            RunFolder(tmp_path).__enter__()
        process.kill()
        process.wait()
    with RunFolder(tmp_path):  # the lock of a killed process is no lock
        pass


def test_threads_of_one_process_cannot_hold_one_folder_either(tmp_path):
    refused = []

    def enter():
        try:
            RunFolder(tmp_path).__enter__()
        except SettingsError:
            refused.append(1)

    with RunFolder(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert refused == [1]


def test_what_a_killed_run_was_writing_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "tiles").mkdir()
    (tmp_path / ".zemosaic" / "things").mkdir(parents=True)
    parts = [
        tmp_path / ".mosaic_grid.123-4.part.fits",
        tmp_path / "tiles" / ".tile_0000.123-5.part.fits",
        tmp_path / ".zemosaic" / "things" / ".abc.record.123-6.part",
    ]
    others = [tmp_path / "my.part.fits", tmp_path / ".hidden", tmp_path / "tiles" / "tile_0001.fits"]
    for path in parts + others:
        path.write_text("x")
    with RunFolder(tmp_path):
        pass
    assert not any(path.exists() for path in parts)
    assert all(path.exists() for path in others)


def test_starting_over_forgets_the_state_and_keeps_the_lock(tmp_path):
    with RunFolder(tmp_path) as folder:
        store = Checkpoints(folder.state)
        store.put("things", store.key(1), example())
        (tmp_path / "a.fits").write_bytes(b"a")
        store.subs.digest(named(tmp_path / "a.fits"))
        folder.start_over()
        assert [path.name for path in folder.state.iterdir()] == ["lock"]
        with pytest.raises(SettingsError):
            RunFolder(tmp_path).__enter__()


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_fresh_empties_nothing_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "precious").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / STATE_NAME).symlink_to(elsewhere)
    with pytest.raises(SettingsError, match="is a link to"), RunFolder(tmp_path / "out") as folder:
        folder.start_over()
    (tmp_path / "out" / STATE_NAME).unlink()
    with RunFolder(tmp_path / "out") as folder:
        (tmp_path / "out" / STATE_NAME / "tiles").symlink_to(elsewhere / "deep")
        folder.start_over()
    assert (elsewhere / "deep" / "precious").read_text() == "precious"


def test_a_changed_record_has_another_fingerprint():
    assert fingerprint(example()) != fingerprint(replace(example(), flag=False))


@dataclasses.dataclass(frozen=True)
class _Kept:
    count: int
    name: str
    level: float | None


@pytest.mark.parametrize(
    "fields",
    [
        {"count": "1", "name": "a", "level": 1.0},
        {"count": 1, "name": 2, "level": 1.0},
        {"count": 1, "name": "a", "level": "x"},
        {"count": None, "name": "a", "level": 1.0},
        {"count": True, "name": "a", "level": 1.0},
        {"count": 1, "name": "a"},
        {"count": 1, "name": "a", "level": {"array": 5}},
        {"count": 1, "name": "a", "level": {"map": 3}},
    ],
)
def test_a_record_with_the_right_checksum_and_another_content_is_damaged(fields):
    body = io.BytesIO()
    np.savez(body, allow_pickle=False, tree=np.frombuffer(json.dumps({"of": fields}).encode(), dtype=np.uint8))
    data = body.getvalue()
    whole = b"ZEMOSAIC-RECORD-1 " + hashlib.sha256(data).hexdigest().encode() + b"\n" + data
    with pytest.raises(DamagedRecord):
        decode(whole, _Kept)


def test_a_record_of_scalars_comes_back():
    for kept in (_Kept(1, "a", None), _Kept(2, "", 3.5), _Kept(2, "", 3)):
        assert decode(encode(kept), _Kept) == kept


def test_after_a_block_within_another_the_crash_is_told_where_the_outer_one_wants_it(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(crashes.faulthandler, "is_enabled", lambda: False)
    monkeypatch.setattr(crashes.faulthandler, "enable", lambda file, all_threads: told.append(file))
    monkeypatch.setattr(crashes.faulthandler, "disable", lambda: told.append(None))
    with crashes.crashes_told("a"), crashes.crashes_told("b"), crashes.crashes_told("c"):
        pass
    assert told == ["a", "b", "c", None, "b", None, "a", None]
