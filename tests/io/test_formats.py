"""Every container and number format gives the pixels astropy gives; damage is told in one line."""

from __future__ import annotations

import bz2
import gzip
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import FrameReadError
from opticam_dask.io.containers import read_headers
from opticam_dask.io.readers import read_image

NY, NX = 37, 53
DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def _pixels(dtype: str, shape: tuple[int, ...] = (NY, NX)) -> np.ndarray:
    rng = np.random.default_rng(7)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        image = rng.normal(100, 1000, shape).astype(kind)
        image[..., 3, 5] = np.nan
        return image
    info = np.iinfo(kind)
    image = rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
    image[..., 0, 0], image[..., 0, 1] = info.min, info.max
    return image


def _plain(image: np.ndarray, **cards: object) -> bytes:
    hdu = fits.PrimaryHDU(image)
    for name, value in cards.items():
        hdu.header[name] = value
    return _bytes(fits.HDUList([hdu]))


def _bytes(hdus: fits.HDUList) -> bytes:
    import io

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus.writeto(buffer)
    return buffer.getvalue()


def _scaled(stored: np.ndarray, **cards: object) -> bytes:
    """File whose stored integers are ``stored``, with scaling cards put in afterwards."""
    raw = _plain(stored)
    end = raw.index(b"END" + b" " * 77)
    text = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()).encode()
    return raw[:end] + text + b"END".ljust(80) + raw[end + len(text) + 80 :]


def _tiles(image: np.ndarray, kind: str) -> bytes:
    hdu = fits.CompImageHDU(image, compression_type=kind)
    return _bytes(fits.HDUList([fits.PrimaryHDU(), hdu]))


def _mef(image: np.ndarray) -> bytes:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2, 3])])
    return _bytes(
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image[::-1].copy()), table, fits.ImageHDU(image)])
    )


INT16 = _pixels("int16")
FORMATS: dict[str, tuple[bytes, int, int]] = {
    "plain": (_plain(_pixels("uint16")), 0, 0),
    "gz": (gzip.compress(_plain(_pixels("uint16"))), 0, 0),
    "gz of two members": (
        gzip.compress(_plain(_pixels("uint16"))[:3000]) + gzip.compress(_plain(_pixels("uint16"))[3000:]),
        0,
        0,
    ),
    "bz2": (bz2.compress(_plain(_pixels("uint16"))), 0, 0),
    "fz Rice": (_tiles(_pixels("uint16"), "RICE_1"), 1, 0),
    "fz GZIP_1": (_tiles(_pixels("uint16"), "GZIP_1"), 1, 0),
    "fz GZIP_2": (_tiles(_pixels("int32"), "GZIP_2"), 1, 0),
    "fz inside gz": (gzip.compress(_tiles(_pixels("int16"), "RICE_1")), 1, 0),
    "MEF": (_mef(_pixels("uint16")), 3, 0),
    "MEF gz": (gzip.compress(_mef(_pixels("float32"))), 3, 0),
    "cube plane": (_plain(_pixels("uint16", (4, NY, NX))), 0, 2),
    "cube plane gz": (gzip.compress(_plain(_pixels("uint16", (4, NY, NX)))), 0, 3),
    "cube plane fz": (_tiles(_pixels("uint16", (4, NY, NX)), "RICE_1"), 1, 2),
    "uint16": (_plain(_pixels("uint16")), 0, 0),
    "uint32": (_plain(_pixels("uint32")), 0, 0),
    "uint64": (_plain(_pixels("uint64")), 0, 0),
    "int8": (_plain(_pixels("int8")), 0, 0),
    "uint8": (_plain(_pixels("uint8")), 0, 0),
    "int16": (_plain(INT16), 0, 0),
    "int32": (_plain(_pixels("int32")), 0, 0),
    "int64": (_plain(_pixels("int64")), 0, 0),
    "float32 with NaN": (_plain(_pixels("float32")), 0, 0),
    "float64 with NaN": (_plain(_pixels("float64")), 0, 0),
    "int16 with BLANK": (_scaled(INT16, BLANK=int(INT16[4, 4])), 0, 0),
    "int32 with BLANK": (_scaled(_pixels("int32"), BLANK=int(_pixels("int32")[4, 4])), 0, 0),
    "fractional BSCALE": (_scaled(INT16, BSCALE=0.25, BZERO=-12.5), 0, 0),
    "fractional BSCALE and BLANK": (_scaled(INT16, BSCALE=1.5e-3, BZERO=7.0, BLANK=int(INT16[9, 1])), 0, 0),
    "uint8 with BSCALE": (_scaled(_pixels("uint8"), BSCALE=0.1), 0, 0),
    "int32 with BSCALE": (_scaled(_pixels("int32"), BSCALE=0.1, BZERO=1.0), 0, 0),
    "float32 with BSCALE": (_scaled(_pixels("float32"), BSCALE=2.0, BZERO=3.0), 0, 0),
}


@pytest.fixture(params=FORMATS, ids=lambda name: name.replace(" ", "-"))
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int, int]:
    content, hdu, plane = FORMATS[request.param]
    path = tmp_path / "night.fits"  # one name for all: the content decides
    path.write_bytes(content)
    return path, hdu, plane


def _by_astropy(path: Path, hdu: int, plane: int) -> np.ndarray:
    with fits.open(path) as hdus:
        data = hdus[hdu].data
        return np.array(data[plane] if data.ndim == 3 else data)


def test_pixels_equal_astropys(stored: tuple[Path, int, int]) -> None:
    image, expected = read_image(*stored), _by_astropy(*stored)
    assert image.dtype == expected.dtype.newbyteorder("=")
    assert image.dtype.isnative
    np.testing.assert_array_equal(image, expected)


def test_headers_foretell_shape_and_type(stored: tuple[Path, int, int]) -> None:
    path, hdu, plane = stored
    header, image = read_headers(path)[hdu], read_image(path, hdu, plane)
    assert header.shape[-2:] == image.shape == (NY, NX)
    assert header.dtype == image.dtype.name
    assert header.problem == ""
    assert header.header["NAXIS1"] == NX


def test_a_part_equals_the_part_of_the_whole(stored: tuple[Path, int, int]) -> None:
    whole = read_image(*stored)
    for rows, columns in [
        (slice(3, 9), slice(None)),
        (slice(30, 2, -5), slice(1, None, 4)),
        (5, slice(2, 4)),
        (-1, -2),
    ]:
        np.testing.assert_array_equal(read_image(*stored, rows, columns), whole[rows, columns])
    np.testing.assert_array_equal(read_image(*stored, [9, 2, 2], [50, 0]), whole[np.ix_([9, 2, 2], [50, 0])])


def test_truncation_is_told_by_the_reader(stored: tuple[Path, int, int]) -> None:
    path, hdu, plane = stored
    content = path.read_bytes()
    end = len(content) - (2880 if content.startswith(b"SIMPLE") else 20)
    if content.startswith(b"SIMPLE"):  # cut into the data, not only into their padding
        header = read_headers(path)[hdu]
        end = (
            header.data_offset
            + (header.data_bytes * (plane + 1)) // (header.shape[0] if len(header.shape) > 2 else 1)
            - 7
        )
        end = header.data_offset + 7 if header.compressed else end
    path.write_bytes(content[:end])
    with pytest.raises(FrameReadError, match=r"truncated|ended|damaged") as caught:
        read_image(path, hdu, plane)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pack", ["members", "extensions", "fz"])
def test_a_long_compressed_file_is_walked_to_its_end(tmp_path: Path, pack: str) -> None:
    """The end of the stream is looked at for its size while the stream is being read."""
    image, path = _pixels("uint16", (203, 211)), tmp_path / "a.fits.gz"
    plain = _plain(image)
    content = {
        "members": gzip.compress(plain[:7000])
        + gzip.compress(plain[7000:30000])
        + gzip.compress(plain[30000:]),
        "extensions": gzip.compress(_mef(image)),
        "fz": gzip.compress(_tiles(image, "RICE_1")),
    }[pack]
    path.write_bytes(content)
    headers = read_headers(path)
    assert [header.problem for header in headers] == [""] * len(headers)
    np.testing.assert_array_equal(read_image(path, len(headers) - 1), image)


def test_truncated_data_are_a_problem_in_the_headers(tmp_path: Path) -> None:
    for name, content in {"a": _plain(INT16)[:-3000], "b": gzip.compress(_plain(INT16))[:-900]}.items():
        path = tmp_path / name
        path.write_bytes(content)
        (header,) = read_headers(path)
        assert header.problem.startswith(f"truncated: the data need {INT16.nbytes} bytes, the file has ")
        assert header.shape == (NY, NX)


def test_a_part_that_is_there_can_be_read_from_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(_plain(INT16)[:-3000])
    np.testing.assert_array_equal(read_image(path, rows=slice(0, 4)), INT16[:4])


def test_zero_is_a_blank_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(_scaled(np.array([[0, 1, 2]], np.int16), BLANK=0))
    np.testing.assert_array_equal(read_image(path), np.array([[np.nan, 1, 2]], np.float32))


def test_blank_of_unsigned_integers_is_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(_scaled(np.array([[-32768, 1, 2]], np.int16), BZERO=32768, BLANK=-32768))
    np.testing.assert_array_equal(read_image(path), np.array([[np.nan, 32769, 32770]], np.float32))
    assert read_headers(path)[0].dtype == "float32"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"garbage " * 1000, "not a FITS file"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 9000, "not a FITS file"),
        (gzip.compress(b"garbage " * 1000, mtime=0), "not a FITS file"),
        (b"\x1f\x8b" + b"0" * 100, "not a FITS file"),
        (b"BZh9" + b"0" * 100, "not a FITS file"),
        (_plain(INT16)[:200], "the header has no END"),
        (
            _plain(INT16).replace(b"BITPIX  =                   16", b"BITPIX  =                   17"),
            "BITPIX is 17",
        ),
        (
            _plain(INT16).replace(b"NAXIS1  =                   53", b"NAXIS1  =                  abc"),
            "NAXIS1 is 'abc'",
        ),
        (_plain(INT16).replace(b"NAXIS1  =", b"NAXISX  ="), "NAXIS1 is missing"),
        (
            _plain(INT16).replace(b"NAXIS1  =                   53", b"NAXIS1  =                  -53"),
            "negative",
        ),
    ],
)
def test_what_is_no_fits_file_is_told_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "odd.fits"
    path.write_bytes(content)
    for read in (read_headers, read_image):
        with pytest.raises(FrameReadError, match=told) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FrameReadError, match="No such file"):
        read_headers(tmp_path / "none.fits")


@pytest.mark.parametrize(
    ("hdu", "plane", "told"),
    [(5, 0, "4 HDU"), (0, 0, "holds no image"), (2, 0, "holds no image"), (1, 1, "1 plane")],
)
def test_a_frame_that_is_not_there_is_told(tmp_path: Path, hdu: int, plane: int, told: str) -> None:
    path = tmp_path / "mef.fits"
    path.write_bytes(_mef(INT16))
    with pytest.raises(FrameReadError, match=told) as caught:
        read_image(path, hdu, plane)
    assert f"[hdu {hdu}, plane {plane}]" in str(caught.value)


@pytest.mark.parametrize("wrap", [gzip.compress, bz2.compress])
def test_a_flipped_byte_in_a_compressed_file_never_passes(tmp_path: Path, wrap: object) -> None:
    content = bytearray(wrap(_plain(INT16)))
    path = tmp_path / "a"
    for place in range(len(content) // 2, len(content) - 1, len(content) // 19):
        damaged = content.copy()
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(FrameReadError):
            read_image(path)


def test_a_damaged_later_header_costs_only_that_hdu(tmp_path: Path) -> None:
    content = _mef(INT16)
    place = content.index(b"XTENSION= 'BINTABLE'") + 80
    path = tmp_path / "mef.fits"
    path.write_bytes(content[:place] + b"BITPIX  =                  odd".ljust(80) + content[place + 80 :])
    headers = read_headers(path)
    assert [bool(header.problem) for header in headers] == [False, False, True]
    np.testing.assert_array_equal(read_image(path, 1), INT16[::-1])
    with pytest.raises(FrameReadError, match="BITPIX is 'odd'"):
        read_image(path, 3)


def test_bad_cards_neither_warn_nor_raise(tmp_path: Path) -> None:
    cards = [
        b"FILTER  =  g\xe9 bad / \x01odd",
        b"OBSERVER= 'never closed",
        b"lower   = 3",
        b"NOSPACE =3",
        b"CONTINUE  'orphan'",
        b"LONG    = 'first &'",
        b"CONTINUE  'second'",
        b"NUMBER  = 1.5D3",
        b"NOTHING =",
        b"HIERARCH ESO TEL NAME = 'x'",
        b"HIERARCH broken",
        b"TWICE   = 1",
        b"TWICE   = 2",
    ]
    end = b"END".ljust(80)
    raw = _plain(INT16)
    place = raw.index(end)
    text = b"".join(card.ljust(80) for card in cards)
    path = tmp_path / "odd.fits"
    path.write_bytes(raw[:place] + text + end + raw[place + len(text) + 80 :])
    header = read_headers(path)[0].header
    values = {
        card.keyword: header[card.keyword] for card in header.cards if card.keyword not in ("COMMENT", "")
    }
    assert values["FILTER"] == "g? bad"
    assert values["OBSERVER"] == "never closed"
    assert values["LONG"] == "first second"
    assert values["NUMBER"] == 1500.0
    assert values["TWICE"] == 1
    assert values["ESO TEL NAME"] == "x"
    assert len(header.tostring()) > 0


def test_headers_of_gzip_files_are_read_without_inflating_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opticam_dask.io.byte_streams import ByteStream

    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(_plain(np.zeros((700, 900), np.uint16))))
    reached = []
    close = ByteStream.close

    def recording(self: ByteStream) -> None:
        reached.append(self._position)
        close(self)

    monkeypatch.setattr(ByteStream, "close", recording)
    assert read_headers(path)[0].problem == ""
    assert max(reached) <= 2 * 2880


def test_headers_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(_plain(INT16, FILTER="g"))
    headers = pickle.loads(pickle.dumps(read_headers(path)))
    assert headers[0].header["FILTER"] == "g"


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 20_000), position=st.integers(0, 20_000), value=st.integers(0, 255))
def test_damage_anywhere_is_a_frame_read_error_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, cut: int, position: int, value: int
) -> None:
    content = bytearray(_mef(INT16))
    content[position % len(content)] = value
    path = tmp_path_factory.mktemp("damaged") / "a.fits"
    path.write_bytes(content[: len(content) - cut])
    try:
        for header in read_headers(path):
            _ = [header.header[card.keyword] for card in header.header.cards]
            if header.shape and not header.problem and np.prod(header.shape) < 1e6:
                read_image(path, header.hdu)
    except FrameReadError:
        return


@pytest.mark.skipif(not DATA.is_dir(), reason="the real frames are not on this machine")
def test_real_frames_equal_astropys() -> None:
    paths = [DATA / "opticam_g_20231122.fit", *sorted((DATA / "stargate").glob("*.f*t*"))[:2]]
    for path in paths:
        image, expected = read_image(path), _by_astropy(path, 0, 0)
        assert image.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(image, expected)
