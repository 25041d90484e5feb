"""TIFF, XISF and camera raws give the pixels that another program wrote, and tell of the exposure."""

import os
import struct
import sys
import xml.sax.saxutils
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from zemosaic_engine.errors import SubError
from zemosaic_engine.kernels.unpacking import unpack_bits, unpack_lz4, unpack_lzw
from zemosaic_engine.machine import decoders
from zemosaic_engine.subs import camera_raw, image_files, tiff_files
from zemosaic_engine.subs.folder import scan_folder
from zemosaic_engine.subs.frames import UnsolvedSub, read_sub
from zemosaic_engine.subs.roles import Role

RNG = np.random.default_rng(4)
GREY = RNG.integers(900, 1100, (61, 83)).astype(np.uint16)
COLOUR = RNG.integers(900, 1100, (61, 83, 3)).astype(np.uint16)


# --- TIFF

_CODES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "S": 10}


def tags_of(order, tags, start):
    """A directory and what does not fit into it, for a file in which it begins at `start`."""
    entries, behind = [], b""
    after = start + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        if kind == "s":
            data, count = values.encode() + b"\0", len(values) + 1
        elif kind in "RS":
            flat = [part for pair in values for part in pair]
            data, count = struct.pack(order + ("i" if kind == "S" else "I") * len(flat), *flat), len(values)
        else:
            data, count = struct.pack(order + kind * len(values), *values), len(values)
        entry = struct.pack(order + "HHI", tag, _CODES[kind], count)
        if len(data) > 4:
            entries.append(entry + struct.pack(order + "I", after + len(behind)))
            behind += data + b"\0" * (len(data) % 2)
        else:
            entries.append(entry + data.ljust(4, b"\0"))
    return struct.pack(order + "H", len(tags)) + b"".join(entries) + b"\0\0\0\0" + behind


def write_tiff(path, pieces, tags, order="<", exif=None):
    """A TIFF of these pieces of pixels (strips, or tiles if `tags` has their width)."""
    names = (324, 325) if 322 in tags else (273, 279)
    place, data = [], b""
    for piece in pieces:
        place.append(8 + len(data))
        data += piece + b"\0" * (len(piece) % 2)
    first = 8 + len(data)
    tags = {**tags, names[0]: ("I", place), names[1]: ("I", [len(piece) for piece in pieces])}
    if exif is not None:
        tags[34665] = ("I", [0])
        length = len(tags_of(order, tags, first))
        tags[34665] = ("I", [first + length])
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
    behind = tags_of(order, exif, first + length) if exif is not None else b""
    path.write_bytes(head + data + tags_of(order, tags, first) + behind)
    return path


def basics(pixels, **more):
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    form = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    return {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [8 * pixels.dtype.itemsize] * samples), 259: ("H", [1]),
        262: ("H", [2 if samples >= 3 else 1]), 277: ("H", [samples]), 278: ("I", [height]),
        339: ("H", [form] * samples),
    } | more  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4", "f8"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_tiff_of_every_type(tmp_path, order, dtype, pixels):
    stored = (pixels % 200).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", [stored.astype(order + dtype).tobytes()], basics(stored), order)
    read = image_files.read_image(path, 0)
    np.testing.assert_array_equal(read, stored)
    assert read.dtype == (np.float32 if dtype[0] == "f" else np.dtype(dtype))
    found = image_files.find_image(path)
    assert found.shape == stored.shape
    assert found.bitpix == (-1 if dtype[0] == "f" else 1) * 8 * np.dtype(dtype).itemsize


def test_a_tiff_that_tells_only_what_it_must(tmp_path):
    """Where tags are missing, the standard says: not compressed, one sample a pixel, unsigned, one strip."""
    stored = (GREY % 60000).astype(np.uint16)
    tags = {number: tag for number, tag in basics(stored).items() if number in (256, 257, 258, 262)}
    path = write_tiff(tmp_path / "a.tif", [stored.astype("<u2").tobytes()], tags)
    np.testing.assert_array_equal(image_files.read_image(path, 0), stored)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("pixels", [GREY, GREY.astype(np.float32), (COLOUR % 200).astype(np.uint8)], ids=str)
def test_tiff_by_another_program(tmp_path, compression, predictor, pixels):
    if predictor == 2 and (compression in ("raw", "packbits") or pixels.dtype == np.float32):
        pytest.skip("there is no such predictor")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[317] = predictor
    Image.fromarray(pixels).save(tmp_path / "a.tiff", compression=compression, tiffinfo=tags)
    np.testing.assert_array_equal(image_files.read_image(tmp_path / "a.tiff", 0), pixels)


def test_tiff_in_tiles_planes_and_strips(tmp_path):
    tiles = []
    for y in range(0, 64, 16):
        for x in range(0, 96, 32):
            tile = np.zeros((16, 32, 3), np.uint16)
            part = COLOUR[y : y + 16, x : x + 32]
            tile[: part.shape[0], : part.shape[1]] = part
            tiles.append(zlib.compress(tile.tobytes()))
    tags = basics(COLOUR) | {259: ("H", [8]), 322: ("I", [32]), 323: ("I", [16])}
    path = write_tiff(tmp_path / "tiles.tif", tiles, tags)
    np.testing.assert_array_equal(image_files.read_image(path, 0), COLOUR)
    strips = [COLOUR[y : y + 10, :, c].tobytes() for c in range(3) for y in range(0, 61, 10)]
    path = write_tiff(tmp_path / "planes.tif", strips, basics(COLOUR) | {278: ("I", [10]), 284: ("H", [2])})
    np.testing.assert_array_equal(image_files.read_image(path, 0), COLOUR)


def test_tiff_with_the_differences_of_floats(tmp_path):
    pixels = (COLOUR / 7.0).astype(np.float32)
    rows = pixels.astype(">f4").reshape(61, 83 * 3).view(np.uint8).reshape(61, 249, 4).transpose(0, 2, 1)
    apart = np.ascontiguousarray(rows).reshape(61, 4 * 83, 3)
    packed = np.diff(apart, axis=1, prepend=np.zeros((61, 1, 3), np.uint8)).astype(np.uint8)
    tags = basics(pixels) | {259: ("H", [8]), 317: ("H", [3])}
    path = write_tiff(tmp_path / "a.tif", [zlib.compress(packed.tobytes())], tags)
    np.testing.assert_array_equal(image_files.read_image(path, 0), pixels)


def test_transparency_is_no_colour(tmp_path):
    pixels = np.dstack([COLOUR, np.full((61, 83), 65535, np.uint16)])
    path = write_tiff(tmp_path / "a.tif", [pixels.tobytes()], basics(pixels))
    np.testing.assert_array_equal(image_files.read_image(path, 0), COLOUR)


def test_what_a_tiff_tells_of_its_exposure(tmp_path):
    exif = {33434: ("R", [(30, 1)]), 36867: ("s", "2025:03:01 21:02:03"), 37386: ("R", [(400, 1)])}
    tags = basics(GREY) | {271: ("s", "Canon"), 272: ("s", "EOS 6D")}
    sub = read_sub(write_tiff(tmp_path / "a.tif", [GREY.tobytes()], tags, exif=exif))
    assert isinstance(sub, UnsolvedSub)
    assert (sub.exposure_s, sub.date_obs, sub.camera) == (30.0, "2025-03-01T21:02:03", "Canon EOS 6D")
    assert sub.header.number("FOCALLEN") == 400.0
    assert 65400 < sub.saturation_adu < 65535


def test_a_fits_header_in_a_tiff(tmp_path):
    lines = ("SIMPLE  =                    T", "EXPTIME =                 12.5", "BAYERPAT= 'RGGB    '",
             "CTYPE1  = 'RA---TAN'", "RA      =                 10.5", "END")  # fmt: skip
    tags = basics(GREY) | {270: ("s", "\n".join(lines))}
    sub = read_sub(write_tiff(tmp_path / "a.tif", [GREY.tobytes()], tags))
    assert isinstance(sub, UnsolvedSub)  # a TIFF has its rows in another order than the FITS file that was solved
    assert (sub.exposure_s, sub.bayer, sub.header.number("RA")) == (12.5, "RGGB", 10.5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({259: ("H", [7])}, r"its compression \(JPEG\) is not read"),
        ({262: ("H", [3])}, "no intensities"),
        ({258: ("H", [12])}, "16 or 32 bits"),
        ({256: ("I", [0])}, "no image"),
        ({256: ("I", [2**31])}, "cannot be right"),
        ({257: ("I", [62])}, "pixels are missing"),
        ({278: ("I", [10])}, "strips of pixels are missing"),
        ({259: ("H", [5])}, "damaged|missing"),
        ({259: ("H", [8])}, "damaged"),
    ],
)
def test_tiff_that_cannot_be_read(tmp_path, change, reason):
    path = write_tiff(tmp_path / "a.tif", [GREY.tobytes()], basics(GREY) | change)
    with pytest.raises(SubError, match=reason):
        image_files.read_image(path, 0)


@pytest.mark.parametrize("name", ["a.tif", "a.xisf"])
def test_what_is_called_like_an_image_and_is_none(tmp_path, name):
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(SubError, match="whatever its name says"):
        read_sub(tmp_path / name)


def test_eight_bits_are_a_picture(tmp_path):
    Image.fromarray((COLOUR % 200).astype(np.uint8)).save(tmp_path / "a.tif")
    write_tiff(tmp_path / "b.tif", [GREY.tobytes()], basics(GREY))
    found = scan_folder(tmp_path)
    assert [sub.path.name for sub in found.unsolved] == ["b.tif"]
    assert [(file.path.name, file.role) for file in found.others] == [("a.tif", Role.PICTURE)]


# --- XISF


def write_xisf(path, pixels, block=None, **attributes):
    """An XISF of planes, packed as the attributes say."""
    names = {"u1": "UInt8", "u2": "UInt16", "u4": "UInt32", "f4": "Float32", "f8": "Float64"}
    stored = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    block = stored.tobytes() if block is None else block
    channels = 3 if pixels.ndim == 3 else 1
    inside = attributes.pop("inside", "")
    told = {
        "geometry": f"{pixels.shape[1]}:{pixels.shape[0]}:{channels}", "sampleFormat": names[pixels.dtype.str[1:]],
        "location": f"attachment:4096:{len(block)}",
    } | attributes  # fmt: skip
    written = " ".join(f"{key}={xml.sax.saxutils.quoteattr(value)}" for key, value in told.items())
    header = (
        '<?xml version="1.0"?><xisf version="1.0" xmlns="http://www.pixinsight.com/xisf">'
        f"<Image {written}>{inside}</Image></xisf>"
    ).encode()
    path.write_bytes((b"XISF0100" + struct.pack("<II", len(header), 0) + header).ljust(4096, b"\0") + block)
    return path


def shuffled(data, item):
    return np.frombuffer(data, np.uint8).reshape(-1, item).T.tobytes()


def lz4_literals(data):
    """A block of LZ4 that repeats nothing."""
    count = len(data) - 15
    return b"\xf0" + b"\xff" * (count // 255) + bytes([count % 255]) + data


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4", "f8"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_xisf_of_every_type(tmp_path, dtype, pixels):
    stored = (pixels % 200).astype(dtype)
    read = image_files.read_image(write_xisf(tmp_path / "a.xisf", stored), 0)
    np.testing.assert_array_equal(read.transpose(1, 2, 0) if read.ndim == 3 else read, stored)


@pytest.mark.parametrize("codec", ["zlib", "zlib+sh", "lz4", "lz4hc+sh"])
def test_packed_xisf(tmp_path, codec):
    data = GREY.tobytes()
    plain = shuffled(data, 2) if codec.endswith("+sh") else data
    block = zlib.compress(plain) if codec.startswith("zlib") else lz4_literals(plain)
    told = f"{codec}:{len(data)}" + (":2" if codec.endswith("+sh") else "")
    np.testing.assert_array_equal(
        image_files.read_image(write_xisf(tmp_path / "a.xisf", GREY, block, compression=told), 0), GREY
    )


def test_xisf_in_blocks_and_pixel_by_pixel(tmp_path):
    data = GREY.tobytes()
    parts = [zlib.compress(data[:5000]), zlib.compress(data[5000:])]
    sizes = f"{len(parts[0])},5000:{len(parts[1])},{len(data) - 5000}"
    path = write_xisf(
        tmp_path / "a.xisf", GREY, b"".join(parts), compression=f"zlib:{len(data)}", subblocks=sizes
    )  # fmt: skip
    np.testing.assert_array_equal(image_files.read_image(path, 0), GREY)
    path = write_xisf(tmp_path / "b.xisf", COLOUR, COLOUR.tobytes(), pixelStorage="Normal")
    np.testing.assert_array_equal(image_files.read_image(path, 0), COLOUR)


def test_what_an_xisf_tells_of_its_exposure(tmp_path):
    inside = (
        '<FITSKeyword name="EXPTIME" value="300." comment=""/><FITSKeyword name="IMAGETYP" value="\'LIGHT\'"/>'
        '<FITSKeyword name="CTYPE1" value="\'RA---TAN\'"/><FITSKeyword name="NAXIS1" value="9"/>'
        '<Property id="Instrument:Filter:Name" type="String">Ha</Property>'
        '<Property id="Instrument:ExposureTime" type="Float32" value="5"/>'
        '<ColorFilterArray pattern="GBRG" width="2" height="2"/>'
    )
    sub = read_sub(write_xisf(tmp_path / "a.xisf", GREY, inside=inside))
    assert isinstance(sub, UnsolvedSub)
    assert (sub.exposure_s, sub.filter, sub.bayer, sub.shape) == (300.0, "Ha", "GBRG", GREY.shape)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"compression": "zstd:10126"}, r"its compression \(zstd\) is not read"),
        ({"compression": "zlib:999999999999"}, "more room"),
        ({"compression": "zlib:10126"}, "damaged"),
        ({"geometry": "9999999:9999999:3"}, "cannot be right"),
        ({"geometry": "83:62:1"}, "missing"),
        ({"location": "inline:base64"}, "not read"),
        ({"sampleFormat": "Complex32"}, "not read"),
        ({"location": "attachment:999999:10126"}, "missing"),
    ],
)
def test_xisf_that_cannot_be_read(tmp_path, change, reason):
    with pytest.raises(SubError, match=reason):
        image_files.read_image(write_xisf(tmp_path / "a.xisf", GREY, **change), 0)


def test_an_xisf_header_defines_nothing(tmp_path):
    header = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><xisf>&a;</xisf>'
    (tmp_path / "a.xisf").write_bytes(b"XISF0100" + struct.pack("<II", len(header), 0) + header)
    with pytest.raises(SubError, match="defines entities"):
        read_sub(tmp_path / "a.xisf")


# --- kernels against plain Python


def lzw_slowly(packed, wanted):
    """LZW of TIFF as its specification describes it."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    table, out, width, place, before = {}, b"", 9, 0, None
    while place + width <= len(bits) and len(out) < wanted:
        code = int(bits[place : place + width], 2)
        place += width
        if code == 257:
            break
        if code == 256:
            table, width, before = {n: bytes([n]) for n in range(256)}, 9, None
            known = 258
            continue
        if not table:
            table, known = {n: bytes([n]) for n in range(256)}, 258
        if before is None:
            if code not in table:
                return None
            text = table[code]
        else:
            if code not in table and code != known:
                return None
            text = table[code] if code in table else before + before[:1]
            if known < 4096:
                table[known] = before + text[:1]
                known += 1
                if known >= (1 << width) - 1 and width < 12:
                    width += 1
        out += text
        before = text
    return out[:wanted]


@given(st.binary(max_size=300), st.integers(0, 400))
def test_lzw_of_any_bytes(packed, wanted):
    out = np.zeros(wanted, np.uint8)
    done = unpack_lzw(np.frombuffer(packed, np.uint8), out)
    slowly = lzw_slowly(packed, wanted)
    if done < 0:
        assert slowly is None
    else:
        assert out[:done].tobytes() == slowly


def bits_slowly(packed, wanted):
    out, place = b"", 0
    while place < len(packed) and len(out) < wanted:
        count = packed[place]
        place += 1
        if count < 128:
            out += packed[place : place + count + 1]
            place += count + 1
        elif count > 128:
            out += packed[place : place + 1] * (257 - count)
            place += 1
    return out[:wanted]


@given(st.binary(max_size=300), st.integers(0, 400))
def test_packbits_of_any_bytes(packed, wanted):
    out = np.zeros(wanted, np.uint8)
    done = unpack_bits(np.frombuffer(packed, np.uint8), out)
    assert out[:done].tobytes() == bits_slowly(packed, wanted)


def lz4_slowly(packed, wanted):
    out, place = b"", 0

    def length(start, place):
        if start == 15:
            while True:
                if place >= len(packed):
                    raise IndexError
                start += packed[place]
                place += 1
                if packed[place - 1] != 255:
                    break
        return start, place

    try:
        while place < len(packed):
            token = packed[place]
            count, place = length(token >> 4, place + 1)
            if place + count > len(packed) or len(out) + count > wanted:
                return None
            out += packed[place : place + count]
            place += count
            if place >= len(packed):
                break
            offset = packed[place] | packed[place + 1] << 8
            count, place = length(token & 15, place + 2)
            if not 0 < offset <= len(out) or len(out) + count + 4 > wanted:
                return None
            for _ in range(count + 4):
                out += out[-offset : len(out) - offset + 1]
    except IndexError:
        return None
    return out


@given(st.binary(max_size=120), st.integers(0, 400))
def test_lz4_of_any_bytes(packed, wanted):
    out = np.zeros(wanted, np.uint8)
    done = unpack_lz4(np.frombuffer(packed, np.uint8), out)
    slowly = lz4_slowly(packed, wanted)
    assert (done < 0) == (slowly is None)
    if slowly is not None:
        assert out[:done].tobytes() == slowly


def test_lz4_that_repeats():
    packed = bytes([0x44]) + b"abcd" + bytes([4, 0]) + bytes([0x10]) + b"z"
    out = np.zeros(13, np.uint8)
    assert unpack_lz4(np.frombuffer(packed, np.uint8), out) == 13
    assert out.tobytes() == b"abcdabcdabcdz"


# --- camera raws


def write_dng(path, pixels, black=(512,), white=16383):
    exif = {33434: ("R", [(30, 1)]), 36867: ("s", "2025:03:01 21:02:03"), 34855: ("H", [1600])}
    identity = [(int(i == j), 1) for i in range(3) for j in range(3)]
    tags = basics(pixels) | {
        254: ("I", [0]), 262: ("H", [32803]), 271: ("s", "Maker"), 272: ("s", "Maker One"), 274: ("H", [1]),
        33421: ("H", [2, 2]), 33422: ("B", [1, 0, 2, 1]), 50706: ("B", [1, 4, 0, 0]), 50707: ("B", [1, 1, 0, 0]),
        50708: ("s", "Maker One"), 50714: ("H", list(black)), 50717: ("I", [white]), 50721: ("S", identity),
        50728: ("R", [(1, 1)] * 3), 50778: ("H", [21]),
    }  # fmt: skip
    if len(black) == 4:
        tags[50713] = ("H", [2, 2])
    del tags[339]
    return write_tiff(path, [pixels.tobytes()], tags, exif=exif)


def test_a_raw_of_a_camera(tmp_path):
    pytest.importorskip("rawpy")
    pixels = np.random.default_rng(1).integers(600, 3000, (64, 96)).astype(np.uint16)
    sub = read_sub(write_dng(tmp_path / "IMG_0001.DNG", pixels))
    assert isinstance(sub, UnsolvedSub)
    assert (sub.shape, sub.bayer, sub.channels) == ((64, 96), "GRBG", 3)
    assert (sub.exposure_s, sub.saturation_adu) == (30.0, 16383 - 512)
    assert sub.date_obs.startswith("2025-03-01T")
    np.testing.assert_array_equal(image_files.read_image(sub.path, 0), pixels.astype(np.int32) - 512)
    assert sub.setup.black_level_adu == 0.0  # flats are divided without darks


def test_each_site_of_a_raw_has_a_black_level_of_its_own(tmp_path):
    pytest.importorskip("rawpy")
    pixels = np.random.default_rng(1).integers(600, 3000, (64, 96)).astype(np.uint16)
    path = write_dng(tmp_path / "a.dng", pixels, black=(512, 516, 520, 524))
    expected = pixels.astype(np.int32) - np.tile([[512, 516], [520, 524]], (32, 48))
    np.testing.assert_array_equal(image_files.read_image(path, 0), expected)


def test_a_raw_that_is_damaged(tmp_path):
    pytest.importorskip("rawpy")
    (tmp_path / "a.cr2").write_bytes(b"II*\0" + bytes(1000))
    with pytest.raises(SubError, match="cannot be read"):
        read_sub(tmp_path / "a.cr2")


def test_a_raw_that_makes_the_decoder_crash_costs_itself_alone(tmp_path, monkeypatch):
    pytest.importorskip("rawpy")
    path = write_dng(tmp_path / "a.dng", GREY)
    image_files.find_image(path)  # a process is idle: it is asked again
    monkeypatch.setattr(camera_raw, "describe", abort)
    decoders.end_all()
    with pytest.raises(SubError, match=r"a\.dng: it is damaged: it made the decoder crash \(SIGABRT\)"):
        image_files.find_image(path)
    monkeypatch.undo()
    assert image_files.find_image(path).shape == GREY.shape


def abort(request):
    """What LibRaw would do to the process that calls it."""
    os.abort()


def test_a_packed_program_reads_raws_by_itself(tmp_path, monkeypatch):
    pytest.importorskip("rawpy")
    path = write_dng(tmp_path / "a.dng", GREY)
    wanted = image_files.read_image(path, 0)
    decoders.end_all()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    np.testing.assert_array_equal(image_files.read_image(path, 0), wanted)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(camera_raw, "NEEDED", "a_package_that_nobody_has")
    for name in ("lights/IMG_0001.CR2", "darks/IMG_0002.CR2", "darks/IMG_0003.JPG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = scan_folder(tmp_path)
    (error,) = found.rejected
    assert error.path.name == "IMG_0001.CR2"
    assert "rawpy, which reads them, is not installed" in error.reason
    assert found.count_by_role() == {Role.DARK: 1, Role.PICTURE: 1}


def test_a_tiff_file_is_read_to_its_last_byte_and_no_farther(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        source = tiff_files._Source(path, file)
        assert (source.read(9, 4), source.read(10, 1), source.read(12, 1)) == (b"9", b"", b"")
        assert source.read(2, 3) == b"234"
        assert source.reach == 10
