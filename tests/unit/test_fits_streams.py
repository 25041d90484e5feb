"""FITS written piece by piece: what astropy reads is what was written, checksums hold, bytes repeat."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.errors import Cancelled
from zemosaic_engine.fits import streams
from zemosaic_engine.fits.writer import write_fits
from zemosaic_engine.machine.large_arrays import LargeArray, is_mapped


@pytest.mark.parametrize("shape", [(3,), (5, 7), (3, 7, 5), (2, 501, 303)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "u2", "i2", "i4"])
def test_astropy_reads_what_was_written(tmp_path, monkeypatch, shape, dtype):
    monkeypatch.setattr(streams, "_PIECE_BYTES", 10_001)
    monkeypatch.setattr(streams, "_SYNC_BYTES", 50_000)
    pixels = (np.random.default_rng(1).random(shape) * 200).astype(dtype)
    strided = np.moveaxis(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)), -1, 0)
    hdus = [fits.PrimaryHDU(pixels), fits.ImageHDU(strided, name="AGAIN"), fits.ImageHDU(name="EMPTY")]
    hdus[0].header["EXPTIME"] = (1.5, "[s]")
    hdus[0].header.add_history("setting a = 1")
    path = write_fits(tmp_path / "a.fits", hdus)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True, memmap=False) as read:
            read.verify("exception")
            assert [hdu.name for hdu in read] == ["PRIMARY", "AGAIN", "EMPTY"]
            assert all(np.array_equal(hdu.data, pixels) for hdu in read[:2])
            assert read[0].data.dtype.newbyteorder("=") == np.dtype(dtype)
            assert read[0].header["EXPTIME"] == 1.5
            assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in read)


@pytest.mark.parametrize("threads", [2, 9])
@pytest.mark.parametrize("dtype", ["f4", "u1", "u2"])
def test_the_bytes_do_not_depend_on_the_threads(tmp_path, monkeypatch, threads, dtype):
    monkeypatch.setattr(streams, "_PIECE_BYTES", 1_001)
    pixels = (np.random.default_rng(1).random((3, 101, 203)) * 200).astype(dtype)
    images = [fits.PrimaryHDU(pixels), fits.ImageHDU(pixels[0])]
    alone = write_fits(tmp_path / "a.fits", images).read_bytes()
    assert write_fits(tmp_path / "b.fits", images, threads=threads).read_bytes() == alone


@pytest.mark.parametrize("place", [70, 3000, 6000])
def test_a_changed_byte_breaks_the_checksum(tmp_path, place):
    path = write_fits(tmp_path / "a.fits", [fits.PrimaryHDU(np.arange(2000, dtype=np.float32).reshape(40, 50))])
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with fits.open(path, memmap=False) as hdus:
        hdu = hdus[0]
        assert not hdu.verify_checksum()


def test_the_same_images_give_the_same_bytes(tmp_path):
    images = [fits.PrimaryHDU(np.ones((3, 9, 9), np.float32)), fits.ImageHDU(np.ones((9, 9), np.uint16))]
    first = write_fits(tmp_path / "a.fits", images).read_bytes()
    time.sleep(1.1)  # a time stamp would differ by now
    assert write_fits(tmp_path / "b.fits", images).read_bytes() == first


def test_writing_stops_where_it_is_asked_and_leaves_the_older_file(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_PIECE_BYTES", 1000)
    path = tmp_path / "a.fits"
    path.write_bytes(b"older")
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        write_fits(path, [fits.PrimaryHDU(np.zeros((100, 100), np.float32))], check)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dtype", ["f4", "u1", "u2"])
def test_the_memory_of_mapped_pixels_is_given_back_piece_by_piece(tmp_path, monkeypatch, dtype):
    pixels = LargeArray((40, 50, 1), dtype, tmp_path).values
    released = []
    monkeypatch.setattr(streams, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(streams, "release", lambda array: released.append(is_mapped(array)))
    write_fits(tmp_path / "a.fits", [fits.PrimaryHDU(pixels[..., 0])])
    assert len(released) > 1
    assert all(released)
