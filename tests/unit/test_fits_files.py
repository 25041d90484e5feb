"""Images of every storage come back as stored, broken files say why, files are written whole or not at all."""

import errno
import gzip
import os
import resource
import warnings
from contextlib import nullcontext, suppress

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zemosaic_engine.errors import RunError, SubError
from zemosaic_engine.fits import reader
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.fits.reader import find_image, read_header, read_image
from zemosaic_engine.fits.rice import RiceError, is_of_rice_rows, undo_rice_rows
from zemosaic_engine.fits.writer import _sync_folder, atomic_path, write_fits
from zemosaic_engine.kernels.unpacking import unpack_rice

SHAPE = (24, 36)


def ramp(dtype, shape=SHAPE):
    """Numbers over the whole range of an integer type, or any floats."""
    if np.dtype(dtype).kind == "f":
        return np.random.default_rng(1).normal(1000.0, 300.0, shape).astype(dtype)
    info = np.iinfo(dtype)
    return np.linspace(float(info.min), float(info.max) * (1 - 1e-12), np.prod(shape)).astype(dtype).reshape(shape)


def save(path, data, header=None, **cards):
    hdu = fits.PrimaryHDU(data, header)
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(path)
    return path


def load(path):
    return read_image(path, read_header(path)[1])


def raw_fits(path, cards, data=b""):
    """A file of cards as they are and bytes as they are."""
    text = "".join(card.ljust(80) for card in (*cards, "END")).encode("latin-1")
    path.write_bytes(text + b" " * (-len(text) % 2880) + data)
    return path


# --- types


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64"])
def test_integers_stay_what_they_are(tmp_path, dtype):
    data = ramp(dtype)
    image = load(save(tmp_path / "a.fits", data))
    assert image.dtype == np.dtype(dtype)
    assert image.dtype.isnative
    np.testing.assert_array_equal(image, data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_become_float32(tmp_path, dtype):
    data = ramp(dtype)
    data[3, 4], data[5, 6] = np.nan, np.inf
    image = load(save(tmp_path / "a.fits", data))
    assert image.dtype == np.float32
    assert image.dtype.isnative
    np.testing.assert_array_equal(image, data.astype(np.float32))


def test_huge_doubles_become_infinite_without_a_warning(tmp_path):
    image = load(save(tmp_path / "a.fits", np.full(SHAPE, 1e300)))
    assert np.isinf(image).all()


@pytest.mark.parametrize(
    ("dtype", "bitpix", "cards"),
    [
        (">i2", 16, {"BSCALE": 0.25, "BZERO": 1000.0}),
        (">i2", 16, {"BSCALE": 1.0, "BZERO": 100.0}),
        (">u1", 8, {"BSCALE": 2.0}),
        (">i4", 32, {"BSCALE": 1e-4, "BZERO": -3.0}),
        (">i2", 16, {"BSCALE": 1.0, "BZERO": 32768.0, "BLANK": -5}),
        (">i2", 16, {"BSCALE": 0.5, "BZERO": 32768.0, "BLANK": -5}),
        (">i4", 32, {"BLANK": 7}),
        (">f4", -32, {"BSCALE": 2.0, "BZERO": 1.0}),
        (">f8", -64, {"BSCALE": 2.0, "BZERO": 1.0, "BLANK": 5}),
    ],
)
def test_bscale_bzero_and_blank(tmp_path, dtype, bitpix, cards):
    raw = np.arange(-10, 14 * 20 - 10).reshape(14, 20).astype(dtype)
    texts = [f"{key:8s}= {value!r:>20}" for key, value in cards.items()]
    axes = [f"SIMPLE  = {'T':>20}", f"BITPIX  = {bitpix:20d}", "NAXIS   = 2", "NAXIS1  = 20", "NAXIS2  = 14"]
    path = raw_fits(tmp_path / "a.fits", axes + texts, raw.tobytes())
    expected = raw.astype(np.float64) * cards.get("BSCALE", 1.0) + cards.get("BZERO", 0.0)
    if "BLANK" in cards and bitpix > 0:
        expected[raw == cards["BLANK"]] = np.nan
        assert np.isnan(expected).sum() == 1
    image = load(path)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, rtol=3e-7)


@pytest.mark.parametrize(("dtype", "bitpix"), [(">i2", 16), (">i4", 32)])
def test_unsigned_integers_beside_a_blank_pixel_are_exact(tmp_path, dtype, bitpix):
    values = np.arange(900, 900 + 280, dtype=np.int64).reshape(14, 20)
    raw = (values - 2 ** (bitpix - 1)).astype(dtype)
    axes = [f"SIMPLE  = {'T':>20}", f"BITPIX  = {bitpix:20d}", "NAXIS   = 2", "NAXIS1  = 20", "NAXIS2  = 14"]
    texts = [f"BZERO   = {2 ** (bitpix - 1):20d}", f"BLANK   = {raw[5, 7]:20d}"]
    image = load(raw_fits(tmp_path / "a.fits", axes + texts, raw.tobytes()))
    assert image.dtype == np.float32
    assert np.argwhere(np.isnan(image)).tolist() == [[5, 7]]
    np.testing.assert_array_equal(image[np.isfinite(image)], values[np.isfinite(image)])


def test_blank_that_is_nowhere_leaves_integers(tmp_path):
    image = load(save(tmp_path / "a.fits", np.full(SHAPE, 900, np.int32), BLANK=-32768))
    assert image.dtype == np.int32


@pytest.mark.parametrize("shape", [(3, 24, 36), (24, 36, 3), (24, 36), (1, 24, 36), (1, 1, 24, 36)])
def test_axes(tmp_path, shape):
    data = ramp("uint16", shape)
    image = load(save(tmp_path / "a.fits", data))
    np.testing.assert_array_equal(image, data.reshape(image.shape))
    assert image.shape == tuple(length for length in shape if length > 1)


# --- containers


@pytest.mark.parametrize("name", ["a.fit", "a.fits", "a.fts", "a.FIT", "a.fits.gz", "a.fit.gz"])
def test_names_do_not_matter(tmp_path, name):
    data = ramp("uint16")
    np.testing.assert_array_equal(load(save(tmp_path / name, data)), data)


@pytest.mark.parametrize("name", ["a.fits", "a.fit"])
def test_gzip_under_a_plain_name(tmp_path, name):
    data = ramp("float32")
    save(tmp_path / "plain.fits", data)
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain.fits").read_bytes()))
    np.testing.assert_array_equal(load(tmp_path / name), data)


@pytest.mark.parametrize(
    ("dtype", "method", "options"),
    [
        ("uint16", "RICE_1", {}),
        ("int16", "GZIP_1", {}),
        ("uint8", "RICE_1", {}),
        ("int32", "GZIP_2", {}),
        ("uint16", "HCOMPRESS_1", {"tile_shape": (24, 36)}),
        ("float32", "GZIP_2", {"quantize_level": 0.0}),
        ("uint16", "RICE_1", {"tile_shape": (5, 7)}),
    ],
)
def test_tile_compression_without_loss(tmp_path, dtype, method, options):
    data = ramp(dtype)
    if method == "HCOMPRESS_1":  # lossless up to 16 bits of a modest range
        data = (data // 4).astype(dtype)
    if dtype == "float32":
        data[2, 3] = np.nan
    hdu = fits.CompImageHDU(data, compression_type=method, **options)
    hdu.header["FILTER"] = "L"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    header, number = read_header(tmp_path / "a.fits.fz")
    assert (number, header["FILTER"]) == (1, "L")
    image = load(tmp_path / "a.fits.fz")
    assert image.dtype.isnative
    np.testing.assert_array_equal(image, data)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("shape", [(5, 1), (9, 70), (4, 33, 3), (3, 6, 32)])
@pytest.mark.parametrize("noise", [0, 1, 40, 1e9])
def test_rows_that_are_compressed_by_rice(tmp_path, dtype, shape, noise):
    """Constant blocks, blocks with some bits as they are, and noise that is stored whole, as astropy reads them."""
    rng, limits = np.random.default_rng(len(shape)), np.iinfo(dtype)
    data = np.clip(rng.normal(100, noise, shape), limits.min, limits.max).astype(dtype)
    data[..., : shape[-1] // 2] = 7
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type="RICE_1")]).writeto(tmp_path / "a.fz")
    image = find_image(tmp_path / "a.fz")
    assert is_of_rice_rows(image.header)
    read = load(tmp_path / "a.fz")
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, data)


def test_bytes_of_rice_that_are_wider_than_the_pixels(tmp_path):
    """BYTEPIX may be 4 where the pixels have 16 bits."""
    data = np.random.default_rng(0).normal(1000, 30, (6, 40)).astype(np.int32)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type="RICE_1")]).writeto(tmp_path / "a.fz")
    raw = (tmp_path / "a.fz").read_bytes()
    for value in (b"ZBITPIX =                   32", b"BITPIX  =                   32"):
        raw = raw.replace(value, value.replace(b"32", b"16"))
    (tmp_path / "b.fz").write_bytes(raw)
    image = load(tmp_path / "b.fz")
    assert image.dtype == np.int16
    np.testing.assert_array_equal(image, data)


@pytest.mark.parametrize("options", [
    {"tile_shape": (2, 7)}, {"tile_shape": (1, 5)}, {"compression_type": "GZIP_1"}, {"dtype": "float32"},
])  # fmt: skip
def test_other_tiles_are_not_taken_for_rows_of_rice(tmp_path, options):
    data = ramp(options.pop("dtype", "int16"))
    hdu = fits.CompImageHDU(data, **{"compression_type": "RICE_1", **options})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fz")
    assert not is_of_rice_rows(find_image(tmp_path / "a.fz").header)


def test_rice_that_is_damaged_is_a_sub_error_or_other_pixels(tmp_path):
    rng = np.random.default_rng(4)
    data = rng.normal(1000, 300, (7, 50)).astype(np.uint16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type="RICE_1")]).writeto(tmp_path / "a.fz")
    raw, image = (tmp_path / "a.fz").read_bytes(), find_image(tmp_path / "a.fz")
    reasons = []
    for _ in range(300):
        bad = bytearray(raw)
        for place in rng.integers(image.offset, image.offset + image.nbytes, 3):
            bad[place] = rng.integers(256)
        (tmp_path / "b.fz").write_bytes(bad)
        try:
            assert load(tmp_path / "b.fz").shape == data.shape
        except SubError as error:
            reasons.append(str(error))
    assert 10 < len(reasons) < 300
    assert all("is damaged" in reason for reason in reasons)


@pytest.mark.parametrize(("first", "count"), [
    (2**63 - 6, 50), (0, 2**63 - 1), (-1, 10), (0, 1), (59, 2), (2**62, 2**62),
])  # fmt: skip
def test_rows_of_rice_outside_of_the_heap_are_not_read(first, count):
    heap, out = np.zeros(60, np.uint8), np.zeros((1, 40), np.uint16)
    assert unpack_rice(heap, np.array([first]), np.array([count]), 32, out) == 0


def test_a_table_of_rice_with_too_few_tiles_is_refused(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(ramp("int16"), compression_type="RICE_1")]).writeto(
        tmp_path / "a.fz"
    )
    image = find_image(tmp_path / "a.fz")
    cards = HeaderCards({**image.header, "NAXIS2": image.header.integer("NAXIS2") - 1})
    with pytest.raises(RiceError, match="not every row has a tile"):
        undo_rice_rows(cards, np.zeros(image.nbytes, np.uint8))


def test_tile_compressed_floats_and_cubes(tmp_path):
    data = ramp("float32", (3, *SHAPE))
    data[1, 2, 3] = np.nan
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, quantize_level=16.0)]).writeto(tmp_path / "a.fz")
    image = load(tmp_path / "a.fz")
    assert image.dtype == np.float32
    assert np.isnan(image).sum() == np.isnan(image[1, 2, 3]) == 1
    assert np.nanmax(np.abs(image - data)) < 30.0


def test_tile_compressed_blank(tmp_path):
    data = ramp("int32") // 1000
    data[4, 5] = -999
    hdu = fits.CompImageHDU(data, compression_type="RICE_1")
    hdu.header["BLANK"] = -999
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fz")
    image = load(tmp_path / "a.fz")
    assert np.isnan(image[4, 5])
    assert np.isnan(image).sum() == 1


def test_wild_cards_in_a_compressed_header_do_not_warn(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(ramp("uint16"))]).writeto(tmp_path / "a.fz")
    raw = (tmp_path / "a.fz").read_bytes()
    marker = raw.index(b"GCOUNT", 2880)
    raw = raw[: marker + 80] + b"BAD\xe9CARD= 1 2 3".ljust(80) + raw[marker + 80 :]
    end = raw.index(b"END" + b" " * 77, marker)
    raw = raw[: end + 80] + raw[end + 160 :] if raw[end + 80 : end + 160].isspace() else raw
    (tmp_path / "b.fz").write_bytes(raw)
    np.testing.assert_array_equal(load(tmp_path / "b.fz"), ramp("uint16"))


def test_first_image_in_an_extension(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"], primary.header["CRVAL1"], primary.header["BZERO"] = 10.0, 99.0, 5.0
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(1000))])
    image, other = fits.ImageHDU(ramp("uint16")), fits.ImageHDU(ramp("int16"))
    image.header["CTYPE1"], image.header["FILTER"] = "RA---TAN", "IR"
    fits.HDUList([primary, table, fits.ImageHDU(), image, other]).writeto(tmp_path / "a.fits")
    header, hdu = read_header(tmp_path / "a.fits")
    assert hdu == 3
    assert (header["EXPTIME"], header["FILTER"]) == (10.0, "IR")
    assert "CRVAL1" not in header  # two plate solutions are never mixed
    np.testing.assert_array_equal(read_image(tmp_path / "a.fits", 3), ramp("uint16"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.fits", 4), ramp("int16"))


def test_extension_inherits_a_wcs_that_it_lacks(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["CTYPE1"], primary.header["CRVAL1"] = "RA---TAN", 99.0
    fits.HDUList([primary, fits.ImageHDU(ramp("uint16"))]).writeto(tmp_path / "a.fits")
    assert read_header(tmp_path / "a.fits")[0]["CRVAL1"] == 99.0


def test_long_headers_and_missing_padding(tmp_path):
    data = ramp("uint16")
    header = fits.Header()
    for number in range(600):
        header[f"KEY{number}"] = number
    save(tmp_path / "a.fits", data, header)
    raw = (tmp_path / "a.fits").read_bytes()
    find = find_image(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_bytes(raw[: find.offset + find.nbytes])
    assert read_header(tmp_path / "b.fits")[0]["KEY599"] == 599
    np.testing.assert_array_equal(load(tmp_path / "b.fits"), data)


def test_header_is_read_without_the_pixels(tmp_path, monkeypatch):
    """Thousands of headers must cost little: no more than the first blocks are read."""
    save(tmp_path / "a.fits", np.zeros((500, 500), np.uint16))
    read = []
    opened = reader._opened

    class Counting:
        def __init__(self, file):
            self._file = file

        def read(self, size):
            read.append(size)
            return self._file.read(size)

    @reader.contextmanager
    def counting(path):
        with opened(path) as (file, state):
            yield Counting(file), state

    monkeypatch.setattr(reader, "_opened", counting)
    read_header(tmp_path / "a.fits")
    assert sum(read) <= 4 * 2880


# --- broken files


def axes(*lengths, bitpix=16):
    cards = [f"SIMPLE  = {'T':>20}", f"BITPIX  = {bitpix:20d}", f"NAXIS   = {len(lengths):20d}"]
    return cards + [f"NAXIS{n:<3}= {length:20d}" for n, length in enumerate(lengths, start=1)]


BROKEN = {
    "absent": (lambda path: path, "No such file"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "text": (lambda path: path.write_text("this is a log file\nof several lines\n" * 9), "it is a text file"),
    "other": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0"), "it is not a FITS file"),
    "folder": (lambda path: path.mkdir(), "cannot be read"),
    "no end": (lambda path: path.write_bytes(b"SIMPLE  =                    T".ljust(2880)), "no end"),
    "naxis 0": (lambda path: raw_fits(path, axes()), "it holds no image$"),
    "naxis 1": (lambda path: raw_fits(path, axes(5), bytes(10)), r"no image .*declares 5 pixels"),
    "absurd": (lambda path: raw_fits(path, axes(777777701, 0)), r"declares 777777701 x 0 pixels"),
    "huge": (lambda path: raw_fits(path, axes(777777701, 900)), "which cannot be right"),
    "large": (lambda path: raw_fits(path, axes(30000, 30000)), "it is truncated: only 0 %"),
    "negative": (lambda path: raw_fits(path, axes(-5, 10)), "no image"),
    "many axes": (lambda path: raw_fits(path, axes(*[1] * 999)), "it is truncated"),
    "bitpix": (lambda path: raw_fits(path, axes(8, 8, bitpix=17), bytes(200)), "no image .*of 17 bits"),
    "not a number": (lambda path: raw_fits(path, [*axes(8)[:2], "NAXIS   = 'two'"], bytes(200)), "no image"),
    "table": (
        lambda path: fits.HDUList(
            [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])]
        ).writeto(path),
        "no image",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_say_why(tmp_path, case):
    make, reason = BROKEN[case]
    path = tmp_path / "sub.fits"
    make(path)
    with pytest.raises(SubError, match=reason) as caught:
        load(path)
    assert caught.value.path == path
    assert "sub.fits" not in caught.value.reason


def test_unreadable(tmp_path, monkeypatch):
    path = save(tmp_path / "a.fits", ramp("uint16"))

    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SubError, match="it cannot be read: Permission denied"):
        read_header(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("kind", ["plain", "gz", "fz"])
def test_truncated(tmp_path, kind, share):
    """What is missing is found: in plain files before a pixel is read, in others when they are."""
    data = np.random.default_rng(3).integers(0, 60000, (200, 300)).astype(np.uint16)
    hdus = [fits.PrimaryHDU(data)] if kind != "fz" else [fits.PrimaryHDU(), fits.CompImageHDU(data)]
    fits.HDUList(hdus).writeto(tmp_path / "whole.fits")
    raw = (tmp_path / "whole.fits").read_bytes()
    raw = gzip.compress(raw) if kind == "gz" else raw
    path = tmp_path / "a.fits"
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(SubError, match=r"truncated|no image"):
        load(path)
    if kind == "plain" and share > 0.1:
        with pytest.raises(SubError, match=r"truncated: only (49|50|97|98) % of its 300 x 200 pixels"):
            read_header(path)


def test_absurd_size_in_a_zipped_file(tmp_path):
    raw_fits(tmp_path / "plain", axes(40000, 40000))
    (tmp_path / "a.fits").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    with pytest.raises(SubError, match="more than the file can hold"):
        read_header(tmp_path / "a.fits")


def test_damaged_gzip(tmp_path):
    save(tmp_path / "plain.fits", np.random.default_rng(2).integers(0, 9999, (300, 300)).astype(np.int16))
    raw = bytearray(gzip.compress((tmp_path / "plain.fits").read_bytes()))
    raw[len(raw) // 2 : len(raw) // 2 + 400] = bytes(400)
    (tmp_path / "a.fits").write_bytes(raw)
    with pytest.raises(SubError, match=r"damaged|truncated"):
        load(tmp_path / "a.fits")


def test_wrong_hdu(tmp_path):
    with pytest.raises(SubError, match="no image in HDU 4"):
        read_image(save(tmp_path / "a.fits", ramp("uint16")), 4)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    data = ramp("uint16")
    save(folder / "plain", data)
    (folder / "zipped").write_bytes(gzip.compress((folder / "plain").read_bytes()))
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data)]).writeto(folder / "tiled")
    return {name: (folder / name).read_bytes() for name in ("plain", "zipped", "tiled")}, folder / "broken.fits"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_survived(samples, data):
    """Whatever bytes are changed or cut off: an image or a `SubError`, no other exception and no warning."""
    files, path = samples
    raw = bytearray(files[data.draw(st.sampled_from(sorted(files)))])
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)):
        raw[place] = value
    path.write_bytes(raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))])
    with suppress(SubError):
        assert load(path).ndim >= 2


# --- files out


def test_write_fits_with_checksums(tmp_path):
    science, weight = np.full((3, 20, 30), np.nan, np.float32), np.ones((3, 20, 30), np.float32)
    science[0, 4] = np.arange(30)
    path = write_fits(tmp_path / "new" / "m.fits", [fits.PrimaryHDU(science), fits.ImageHDU(weight, name="WEIGHT")])
    assert [entry.name for entry in path.parent.iterdir()] == ["m.fits"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            for hdu in hdus:
                assert hdu.verify_checksum() == hdu.verify_datasum() == 1
            np.testing.assert_array_equal(hdus[0].data, science)
    np.testing.assert_array_equal(load(path), science)


def write_half(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error


def test_an_older_file_is_replaced_only_by_a_whole_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"):
        write_half(path, ValueError("stop"))
    assert path.read_text() == "old"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_interruption_removes_the_temporary_file(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.fits", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_disk_full(tmp_path):
    """A real refusal of the system: files may not grow beyond a limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "m.fits").write_bytes(b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(RunError, match=r"m\.fits cannot be written: .*Free some space"):
            write_fits(tmp_path / "m.fits", [fits.PrimaryHDU(np.ones((400, 400), np.float32))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "m.fits").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.fits"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_late_failures_leave_nothing(tmp_path, monkeypatch, stage):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync", full) if stage == "fsync" else (type(tmp_path), "replace", full)))
    with pytest.raises(RunError, match="No space left on device"):
        write_fits(tmp_path / "m.fits", [fits.PrimaryHDU(np.ones((4, 4), np.float32))])
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="cannot be written"):
        write_fits(tmp_path / "file" / "m.fits", [fits.PrimaryHDU(np.ones((4, 4), np.float32))])


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "m.fits").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        write_fits(tmp_path / "m.fits", [fits.PrimaryHDU(np.ones((4, 4), np.float32))])
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.fits"]


@pytest.mark.skipif(os.name == "nt", reason="Windows does it by itself")
@pytest.mark.parametrize(("number", "matters"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_file_system_without_folders_on_disk_is_none_that_fails(tmp_path, monkeypatch, number, matters):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="error") if matters else nullcontext():
        _sync_folder(tmp_path)
