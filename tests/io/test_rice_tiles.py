"""Rice-coded tiles as our kernel decodes them equal astropy's; damage never reads beyond the bytes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opticam_dask.errors import FrameReadError
from opticam_dask.io import tiles
from opticam_dask.io.containers import read_headers
from opticam_dask.io.readers import FrameFile, read_image
from opticam_dask.kernels.rice import CODES, RiceCode, decode_tiles

KINDS = ("uint8", "int16", "uint16", "int32", "uint32")


def packed(image: np.ndarray, tile: tuple[int, ...] | None = None) -> bytes:
    hdu = fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=tile)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """Images that meet every way to code a block: flat, quiet, noisy, incompressible, with outliers."""
    shape = draw(st.tuples(st.integers(1, 41), st.integers(1, 83)))
    info = np.iinfo(draw(st.sampled_from(KINDS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    level = draw(st.sampled_from([info.min, info.max, (info.min + info.max) // 2 + 100]))
    spread = draw(st.sampled_from([0.0, 0.3, 1.0, 5.0, 40.0, 1e3, 1e5, 1e9]))
    image = np.clip(rng.normal(level, spread, shape), info.min, info.max)
    rows = rng.random(shape[0]) < draw(st.sampled_from([0.0, 0.5]))
    image[rows] = level
    odd = rng.random(shape) < draw(st.sampled_from([0.0, 0.01, 0.3]))
    image[odd] = rng.choice([info.min, info.max], int(odd.sum()))
    return image.astype(info.dtype)


@pytest.fixture
def no_astropy(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("left to astropy")

    monkeypatch.setattr(FrameFile, "_fill_by_astropy", fail)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    image=images(),
    tile=st.none() | st.tuples(st.integers(1, 50), st.integers(1, 90)),
    rows=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_pixels_are_astropys(
    tmp_path: Path, no_astropy: None, image: np.ndarray, tile: tuple[int, int] | None, rows: tuple[int, int]
) -> None:
    path = tmp_path / "a.fits.fz"
    path.write_bytes(packed(image, tile and (min(tile[0], image.shape[0]), min(tile[1], image.shape[1]))))
    with fits.open(path) as hdus:
        expected = hdus[1].data
    found = read_image(path, 1)
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, image)
    some = slice(*sorted(min(row, image.shape[0]) for row in rows))
    np.testing.assert_array_equal(read_image(path, 1, rows=some), image[some])


@pytest.mark.parametrize("kind", KINDS)
def test_long_runs_of_zeros_and_full_blocks(tmp_path: Path, no_astropy: None, kind: str) -> None:
    info = np.iinfo(kind)
    image = np.full((5, 320), info.min, info.dtype)
    image[0, 40], image[1, 31::64] = info.max, info.max  # far outliers of quiet blocks
    image[2] = np.random.default_rng(1).integers(info.min, info.max, 320, info.dtype, endpoint=True)
    image[3, ::2] = info.max
    path = tmp_path / "a.fits"
    path.write_bytes(packed(image))
    np.testing.assert_array_equal(read_image(path, 1), image)


def test_scaling_and_blank_pixels_come_after(tmp_path: Path, no_astropy: None) -> None:
    image = np.arange(-300, 300, dtype=np.int16).reshape(20, 30)
    hdu = fits.CompImageHDU(image, compression_type="RICE_1")
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    with fits.open(io.BytesIO(buffer.getvalue()), disable_image_compression=True) as hdus:
        hdus[1].header["BSCALE"], hdus[1].header["BZERO"], hdus[1].header["BLANK"] = 0.5, 3.0, 7
        hdus.writeto(tmp_path / "a.fits")
    expected = (image * np.float32(0.5) + np.float32(3.0)).astype(np.float32)
    expected[image == 7] = np.nan
    np.testing.assert_array_equal(read_image(tmp_path / "a.fits", 1), expected)


def test_planes_of_a_cube(tmp_path: Path, no_astropy: None) -> None:
    cube = np.random.default_rng(2).integers(0, 60000, (2, 3, 17, 23)).astype(np.uint16)
    path = tmp_path / "a.fits"
    path.write_bytes(packed(cube, (1, 1, 5, 23)))
    for plane in range(6):
        np.testing.assert_array_equal(read_image(path, 1, plane), cube[plane // 3, plane % 3])
        np.testing.assert_array_equal(
            read_image(path, 1, plane, rows=[9, 4]), cube[plane // 3, plane % 3][[9, 4]]
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda image: packed(image.reshape(2, 20, 30), (2, 5, 30)),
        lambda image: _compressed(image, "GZIP_2"),
        lambda image: _compressed(image, "HCOMPRESS_1"),
        lambda image: _compressed((image % 100).astype(np.int16), "PLIO_1"),
        lambda image: _compressed(image.astype(np.float32), "RICE_1", quantize_level=4.0),
    ],
    ids=["tiles of several planes", "gzip", "hcompress", "plio", "quantised floats"],
)
def test_what_else_there_is_goes_to_astropy(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(make(np.arange(1200, dtype=np.int16).reshape(40, 30)))
    assert tiles.rice_tiles(read_headers(path)[1]) is None
    with fits.open(path) as hdus:
        expected = hdus[1].data
    np.testing.assert_array_equal(read_image(path, 1), expected if expected.ndim == 2 else expected[0])


def _compressed(image: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    hdu = fits.CompImageHDU(image, compression_type=kind, tile_shape=(10, 30), **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()


NOISE = np.random.default_rng(3).normal(30000, 12, (64, 61)).astype(np.uint16)


@pytest.fixture(scope="module")
def sound() -> tuple[bytes, int, int]:
    """A file, and where its table of tiles and its compressed bytes begin."""
    content = packed(NOISE, (8, 61))
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        start = hdus[1]._data_offset
        return content, start, start + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), spot=st.sampled_from(["table", "heap", "cut"]))
def test_damage_is_told_or_does_no_harm(
    tmp_path: Path, sound: tuple[bytes, int, int], seed: int, spot: str
) -> None:
    content, table, heap = sound
    rng, raw = np.random.default_rng(seed), bytearray(content)
    low, high = (table, heap) if spot == "table" else (heap, len(raw))
    if spot == "cut":
        raw = raw[: rng.integers(table, high - 2880)]
    else:
        for place in rng.integers(low, high, 4):
            raw[place] = rng.integers(0, 256)
    path = tmp_path / "a.fits"
    path.write_bytes(raw)
    try:
        told = f"pixels of shape {read_image(path, 1).shape}"
    except FrameReadError as error:
        told = str(error)
    assert told == "pixels of shape (64, 61)" or (str(path) in told and "[hdu 1" in told)
    assert "\n" not in told
    assert spot != "cut" or "truncated" in told


def test_a_damaged_tile_is_named(tmp_path: Path, sound: tuple[bytes, int, int]) -> None:
    content, _, heap = sound
    raw = bytearray(content)
    raw[heap + 2000 : heap + 2300] = bytes(300)
    path = tmp_path / "a.fits"
    path.write_bytes(raw)
    with pytest.raises(FrameReadError, match=r"damaged tile-compressed data: tile \d does not hold"):
        read_image(path, 1)


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=80), pixels=st.integers(1, 200), bits=st.sampled_from([8, 16, 32]),
    block=st.sampled_from([1, 16, 32]), start=st.integers(0, 9),
)  # fmt: skip
def test_any_bytes_are_decoded_or_refused(
    data: bytes, pixels: int, bits: int, block: int, start: int
) -> None:
    """What follows the bytes of a tile has no influence."""
    found = []
    for beyond in (0, 255):
        out = np.zeros((1, pixels), f"u{bits // 8}")
        padded = np.frombuffer(data + bytes([beyond] * 16), np.uint8).copy()
        places = np.array([[min(start, len(data)), len(data)]])
        code = RiceCode(*CODES[bits], bits, block)
        status = decode_tiles(padded, places, (1, pixels), 1, 0, out, out.dtype.type(0), code)
        assert status in (-1, 0)
        found.append((status, out.copy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def coded(values: list[int], levels: list[int], block: int, bits: int) -> bytes:
    """Code values by the letter of the standard, with any level for each block; -1 where none differ."""
    level_bits, full = CODES[bits]
    differences = np.diff(np.array(values[:1] + values, object)).tolist()
    wrapped = [(d + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for d in differences]
    mapped = [2 * d if d >= 0 else -2 * d - 1 for d in wrapped]
    text = f"{values[0]:0{bits}b}"
    for start, level in zip(range(0, len(values), block), levels, strict=False):
        some = mapped[start : start + block]
        if level < 0 and any(some):
            level = full
        text += f"{level + 1:0{level_bits}b}"
        for number in some if level >= 0 else ():
            low = f"{number % 2**level:0{level}b}" if level else ""
            text += f"{number:0{bits}b}" if level == full else "0" * (number >> level) + "1" + low
    return int(text + "0" * (-len(text) % 8), 2).to_bytes(-(-len(text) // 8), "big")


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(), bits=st.sampled_from([8, 16, 32]), block=st.sampled_from([1, 7, 16, 32]),
    spread=st.sampled_from([0, 3, 300]),
)  # fmt: skip
def test_every_level_and_size_of_blocks(data: st.DataObject, bits: int, block: int, spread: int) -> None:
    start = data.draw(st.integers(0, 2**bits - 1))
    values = [
        (start + step) % 2**bits
        for step in data.draw(st.lists(st.integers(0, spread), min_size=1, max_size=90))
    ]
    levels = data.draw(st.lists(st.integers(-1, CODES[bits][1]), min_size=90, max_size=90))
    stream = np.frombuffer(coded(values, levels, block, bits), np.uint8).copy()
    out = np.zeros((1, len(values)), f"u{bits // 8}")
    code = RiceCode(*CODES[bits], bits, block)
    places = np.array([[0, stream.size]])
    assert decode_tiles(stream, places, (1, len(values)), 1, 0, out, out.dtype.type(0), code) == -1
    assert out[0].tolist() == values
    short = np.array([[0, stream.size - 1]])
    assert decode_tiles(stream, short, (1, len(values)), 1, 0, out, out.dtype.type(0), code) == 0


def test_the_smallest_streams() -> None:
    out = np.zeros((1, 3), np.uint16)
    code = RiceCode(*CODES[16], 16, 32)
    # first value 0x1234; level 1 (no low bits): differences +1 (mapped 2: 001), 0 (1), -1 (mapped 1: 01)
    bits = "0001" + "1" + "001" + "01"
    stream = bytes([0x12, 0x34, *int(bits.ljust(16, "0"), 2).to_bytes(2, "big")])
    data = np.frombuffer(stream, np.uint8).copy()
    assert decode_tiles(data, np.array([[0, 4]]), (1, 3), 1, 0, out, np.uint16(0x8000), code) == -1
    assert out.tolist() == [[0x9234, 0x9235, 0x9234]]
    assert decode_tiles(data, np.array([[0, 3]]), (1, 3), 1, 0, out, np.uint16(0), code) == 0
    assert decode_tiles(data, np.array([[0, 1]]), (1, 3), 1, 0, out, np.uint16(0), code) == 0
