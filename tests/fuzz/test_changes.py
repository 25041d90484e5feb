"""Subs that change, hang, unfold to anything, or whose pixels are wrong: as if they had not been there."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hostile import card, copied, tiny_survey, with_cards

from benchmarks.survival import science
from zemosaic_engine.canvas.plan import split_by_agreement
from zemosaic_engine.errors import RunError, SubError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, TileCount
from zemosaic_engine.regular_files import open_file
from zemosaic_engine.resume.sub_digests import SubDigests
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs.finding import Search, find_subs
from zemosaic_engine.subs.frames import load_frame, read_sub_info
from zemosaic_worker import RunOrder, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("changes") / "survey")


def make(subs, output, sink=lambda event: None, mode="grid", tiles_only=False, **settings):
    order = RunOrder(Path(subs), Path(output), GridSettings(**settings), mode, tiles_only)
    outcome = run(order, sink, CancelToken())
    return outcome, science(Path(output))


def rejected(output):
    with (output / "rejected_subs.csv").open(newline="") as file:
        return {Path(row["file_path"]).name: row["reason"] for row in csv.DictReader(file)}


def same_but_for_rejected(found, wanted):
    return {name for name in found | wanted if found.get(name) != wanted.get(name)} <= {"rejected_subs.csv"}


@pytest.fixture(scope="module")
def without_two(survey, tmp_path_factory):
    """The files of a run that never saw two of the subs."""
    folder = tmp_path_factory.mktemp("without")
    subs = copied(survey, folder / "subs")
    names = [path.name for path in sorted(subs.glob("*.fits"))[5:11:5]]
    for name in names:
        (subs / name).unlink()
    return names, make(subs, folder / "out")[1]


# --- set aside means: as if it were not there


def black(pixels, rng):
    pixels[...] = 0


def one_value(pixels, rng):
    pixels[...] = 1234


def noise(pixels, rng):
    pixels[...] = rng.normal(300.0, 4.0, pixels.shape)


def out_of_focus(pixels, rng):
    from scipy.ndimage import gaussian_filter

    for y in (0, 1):
        for x in (0, 1):
            plane = pixels[y::2, x::2]
            plane[...] = gaussian_filter(plane.astype(float), 6.0) + rng.normal(0.0, 60.0, plane.shape)


@pytest.mark.parametrize("wrong", [noise, pytest.param(black, marks=pytest.mark.slow)])
def test_subs_with_wrong_pixels_leave_no_trace(survey, without_two, tmp_path, wrong):
    names, wanted = without_two
    subs = copied(survey, tmp_path / "subs")
    _spoil(subs, names, wrong)
    outcome, found = make(subs, tmp_path / "out")
    assert sorted(rejected(tmp_path / "out")) == names
    assert sorted(error.path.name for error in outcome.grid.rejected) == names
    assert same_but_for_rejected(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "mode", "photometry"),
    [(out_of_focus, "grid", "survey"), (one_value, "grid", "tiles"), (one_value, "classic", "survey")],
)
def test_they_leave_no_trace_in_any_mode(survey, tmp_path, wrong, mode, photometry):
    without, subs = copied(survey, tmp_path / "without"), copied(survey, tmp_path / "subs")
    names = [path.name for path in sorted(subs.glob("*.fits"))[5:11:5]]
    for name in names:
        (without / name).unlink()
    _spoil(subs, names, wrong)
    _, wanted = make(without, tmp_path / "wanted", mode=mode, photometry=photometry)
    _, found = make(subs, tmp_path / "out", mode=mode, photometry=photometry)
    assert sorted(rejected(tmp_path / "out")) == names
    assert same_but_for_rejected(found, wanted)
    assert make(subs, tmp_path / "out", mode=mode, photometry=photometry)[1] == found


def _spoil(folder, names, wrong):
    rng = np.random.default_rng(3)
    for name in names:
        with fits.open(folder / name, mode="update") as hdus:
            wrong(hdus[0].data, rng)


@pytest.mark.slow
def test_a_finished_tile_that_cannot_be_read_leaves_no_trace(survey, tmp_path):
    make(survey, tmp_path / "tiles_of")
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for path in sorted((tmp_path / "tiles_of" / "tiles").glob("*.fits")):
        with fits.open(path) as hdus:
            fits.PrimaryHDU(hdus[0].data, hdus[0].header).writeto(tiles / path.name)
    _, wanted = make(tiles, tmp_path / "wanted", tiles_only=True)
    with fits.open(sorted(tiles.glob("*.fits"))[0]) as hdus:
        header, shape = hdus[0].header, hdus[0].data.shape
    fits.PrimaryHDU(np.full(shape, np.nan, np.float32), header).writeto(tiles / "a_bad_one.fits")
    _, found = make(tiles, tmp_path / "out", tiles_only=True)
    assert list(rejected(tmp_path / "out")) == ["a_bad_one.fits"]
    assert same_but_for_rejected(found, wanted)


@pytest.mark.slow
def test_where_all_are_wrong_the_run_says_so(survey, tmp_path):
    subs = copied(survey, tmp_path / "subs")
    _spoil(subs, [path.name for path in subs.glob("*.fits")], black)
    with pytest.raises(RunError, match="No usable sub: all 16 were set aside"):
        make(subs, tmp_path / "out")


# --- subs that change


def spoilt_copy(path, to):
    """The same sub with other pixels and the same times."""
    shutil.copy2(path, to)
    with fits.open(to, mode="update") as hdus:
        hdus[0].data[:160] = hdus[0].data[:160][::-1].copy()
    stat = path.stat()
    os.utime(to, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return to


def at(event, moment):
    if moment == "reading headers":
        return isinstance(event, PhaseStarted) and "stacking" in event.name
    if moment == "measured":
        return isinstance(event, LogLine) and "Memory" not in event.text and "on one scale" in event.text
    return isinstance(event, TileCount) and event.done == 1


@pytest.mark.parametrize(
    ("how", "moment"),
    [
        pytest.param(how, moment, marks=pytest.mark.slow)
        for how in ("other pixels", "gone", "a pipe")
        for moment in ("measured", "first tile")
    ],
)
def test_a_sub_that_changes_after_it_was_measured_leaves_no_trace(survey, without_two, tmp_path, moment, how):
    names, wanted = without_two
    subs = copied(survey, tmp_path / "subs")
    aside = tmp_path / "aside"
    aside.mkdir()

    def change(event):
        if at(event, moment) and not list(aside.iterdir()):
            for name in names:
                (subs / name).rename(aside / name)
                if how == "other pixels":
                    spoilt_copy(aside / name, subs / name)
                elif how == "a pipe":
                    os.mkfifo(subs / name)

    _, found = make(subs, tmp_path / "out", change, threads=1)
    assert sorted(rejected(tmp_path / "out")) == names
    if how == "other pixels":
        assert all("it changed while the run was at work" in reason for reason in rejected(tmp_path / "out").values())
    assert same_but_for_rejected(found, wanted)
    for name in names:
        (subs / name).unlink(missing_ok=True)
        (aside / name).rename(subs / name)
    _, again = make(subs, tmp_path / "out")
    assert not rejected(tmp_path / "out")
    assert again == make(survey_of(subs, tmp_path), tmp_path / "fresh")[1]


def survey_of(subs, tmp_path):
    return shutil.copytree(subs, tmp_path / "as_new")


@pytest.mark.slow
def test_other_bytes_for_a_moment_are_in_no_tile(survey, tmp_path):
    """There and back between measuring and stacking, with the times set back: the tile is of the true bytes."""
    subs = copied(survey, tmp_path / "subs")
    _, wanted = make(subs, tmp_path / "wanted")
    name = sorted(path.name for path in subs.glob("*.fits"))[5]
    true = (subs / name).read_bytes()
    other = spoilt_copy(subs / name, tmp_path / "other.fits").read_bytes()
    stat, done = (subs / name).stat(), []

    def write(data):
        (subs / name).write_bytes(data)
        os.utime(subs / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def change(event):
        if at(event, "measured") and not done:
            done.append(True)
            write(other)
            threading.Timer(0.05, write, [true]).start()

    _, found = make(subs, tmp_path / "out", change)
    assert done
    if rejected(tmp_path / "out"):
        assert list(rejected(tmp_path / "out")) == [name]
    else:
        assert found == wanted


@pytest.mark.slow
def test_a_sub_that_is_touched_is_used(survey, tmp_path):
    subs = copied(survey, tmp_path / "subs")
    _, wanted = make(subs, tmp_path / "wanted")

    def touch(event):
        if isinstance(event, TileCount) or at(event, "measured"):
            for path in subs.glob("*.fits"):
                path.chmod(0o640 if path.stat().st_mode & 0o004 else 0o644)
                os.utime(path)

    assert make(subs, tmp_path / "out", touch)[1] == wanted


# --- files without an end, and files that unfold


def test_nothing_but_files_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    for path in (tmp_path / "pipe.fits", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match="it is a pipe or a device"):
            open_file(path)
        with pytest.raises(SubError, match="it is a pipe or a device, not a file"):
            read_sub_info(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no such file here")
def test_memory_under_the_name_of_a_sub_is_no_sub(tmp_path):
    (tmp_path / "a.fits").symlink_to("/proc/self/mem")
    with pytest.raises(SubError):
        read_sub_info(tmp_path / "a.fits")


def test_a_sub_that_is_padded_to_any_size_is_read_as_far_as_it_reaches(survey, tmp_path):
    sub = sorted(survey.glob("*.fits"))[0]
    padded = Path(shutil.copy(sub, tmp_path / "padded.fits"))
    os.truncate(padded, 100_000_000_000)
    info, plain = read_sub_info(padded), read_sub_info(sub)
    np.testing.assert_array_equal(load_frame(info).pixels, load_frame(plain).pixels)
    assert info.span < sub.stat().st_size + 1
    assert SubDigests(None).digest(info) == SubDigests(None).digest(plain)


def test_what_stands_behind_the_image_of_a_zipped_sub_is_not_unfolded(survey, tmp_path, monkeypatch):
    """200 MB of zeros behind it, in a few kB."""
    sub = sorted(survey.glob("*.fits"))[0]
    with gzip.open(tmp_path / "a.fits.gz", "wb") as file:
        file.write(sub.read_bytes())
        for _ in range(200):
            file.write(bytes(1 << 20))
    unfolded, read = [], gzip.GzipFile.read

    def counted(self, size=-1):
        unfolded.append(read(self, size))
        return unfolded[-1]

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    np.testing.assert_array_equal(
        load_frame(read_sub_info(tmp_path / "a.fits.gz")).pixels, load_frame(read_sub_info(sub)).pixels
    )
    assert sum(map(len, unfolded)) < 70_000_000


def bombs(sub, folder):
    """Valid subs of 26,000 x 26,000 pixels: zeros, zipped and tile-compressed."""
    side = 26_000
    with_cards(sub, folder / "a.fits", card("NAXIS1", str(side)), card("NAXIS2", str(side)))
    header = (folder / "a.fits").read_bytes()[:5760]
    (folder / "a.fits").unlink()
    with gzip.open(folder / "bomb.fits.gz", "wb", 9) as file:
        file.write(header)
        left = 2 * side * side
        while left > 0:
            file.write(bytes(min(left, 1 << 24)))
            left -= 1 << 24
    fits.CompImageHDU(
        np.zeros((side, side), np.uint8), fits.getheader(sub), compression_type="GZIP_1", tile_shape=(1000, side)
    ).writeto(folder / "bomb.fits.fz")


@pytest.mark.slow
def test_a_sub_that_unfolds_to_gigabytes_is_set_aside_before_memory_is_asked_for(survey, tmp_path):
    subs = copied(survey, tmp_path / "subs")
    bombs(sorted(subs.glob("*.fits"))[0], subs)
    assert all(path.stat().st_size < 3_000_000 for path in subs.glob("bomb*"))
    code = (
        "import sys\n"
        "from zemosaic_app.cli import main\n"
        "from zemosaic_engine.machine.memory import peak_rss_bytes\n"
        "code = main(sys.argv[1:])\n"
        "print(code, peak_rss_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "grid", subs, tmp_path / "out"],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    code, peak = done.stdout.splitlines()[-1].split()
    assert (code, sorted(rejected(tmp_path / "out"))) == ("3", ["bomb.fits.fz", "bomb.fits.gz"]), done.stderr
    assert int(peak) < 1_000_000_000
    assert all("far more than the 240 x 320 of the usual sub" in text for text in rejected(tmp_path / "out").values())


def test_unsolved_subs_that_unfold_to_gigabytes_are_set_aside_before_any_is_solved(tmp_path):
    """A solver would unfold them to look for stars."""
    header = fits.Header({"IMAGETYP": "Light", "EXPTIME": 10.0, "RA": 10.0, "DEC": 40.0})
    pixels = np.random.default_rng(1).integers(900, 1100, (60, 80)).astype(np.uint16)
    for number in range(3):
        fits.PrimaryHDU(pixels + number, header).writeto(tmp_path / f"{number}.fits")
    vast = np.zeros((450, 450), np.uint8)  # 42 times as many
    fits.CompImageHDU(vast, header, compression_type="GZIP_1", tile_shape=vast.shape).writeto(tmp_path / "bomb.fits.fz")
    fits.PrimaryHDU(vast, header).writeto(tmp_path / "bomb.fits.gz")
    found = find_subs(tmp_path, Search())
    assert [sub.path.name for sub in found.unsolved] == ["0.fits", "1.fits", "2.fits"]
    assert sorted(error.path.name for error in found.rejected) == ["bomb.fits.fz", "bomb.fits.gz"]


def test_the_size_alone_sets_no_sub_of_another_camera_aside(survey, tmp_path):
    """Sixteen subs of one camera and one of a camera of sixteen times the pixels, all of the same scale."""
    infos = [read_sub_info(path) for path in sorted(survey.glob("*.fits"))]
    with fits.open(infos[0].path) as hdus:
        large = np.tile(hdus[0].data, (4, 4))
        fits.PrimaryHDU(large, hdus[0].header).writeto(tmp_path / "large.fits")
    kept, odd = split_by_agreement([*infos, read_sub_info(tmp_path / "large.fits")], 3.0)
    assert (len(kept), odd) == (17, [])
