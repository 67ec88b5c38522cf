"""Headers read one after another give what each gives alone, whatever they hold and however they differ."""

import bz2
import gzip
import itertools
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.instrument import GENERIC, OPTICAM_MX
from opticam_dask.io import header_memo
from opticam_dask.io.containers import read_headers
from opticam_dask.io.frame_index import scan
from opticam_dask.io.head_reader import HeadReader
from opticam_dask.io.header_memo import CardMemo
from opticam_dask.io.header_view import HeaderView
from opticam_dask.io.headers import scan_headers

BLOCK = 2880
STRUCTURE = [
    "SIMPLE  =                    T",
    "BITPIX  =                   16",
    "NAXIS   =                    2",
]
STRUCTURE += ["NAXIS1  =                    7", "NAXIS2  =                    5"]
USUAL = [
    "BZERO   =              32768.0",
    "UT      = '2024-01-01 00:00:00.5 '",
    "DATE-OBS= '2024-01-01'",
    "EXPOSURE=                  1.5 / seconds",
    "FILTER  = 'g       '",
    "BINNING = '4x4     '",
    "GAIN    =                  1.0",
    "RA      = '0       '",
    "DEC     = '31      '",
    "JD      =                  0.0",
    "AIRMASS =                  1.1",
    "SATLEVEL=              32302.0",
    "INSTRUME= 'OPTICAM '",
    "SERIALN = 'VSC-05535'",
    "COMMENT plain words",
]
ODD = [
    "GPSTIME = '2024-01-01 00:00:07.25 lock'",
    "UT      = '00:00:09.125'",
    "UT      = 'never'",
    "UT      =                    5",
    "DATE-OBS= '31/12/99'",
    "MJD-OBS =            60310.125",
    "MJD-OBS =            2460310.5",
    "EXPOSURE= 'long    '",
    "EXPOSURE=                 -1.0",
    "EXPOSURE=               1.5D-1",
    "KCT     =                  2.0",
    "FILTER  = 'r''     '",
    "FILTER  = '../x    '",
    "FILTER  =",
    "IMGTYPE = 'FLAT    '",
    "IMAGETYP= 'object  '",
    "BINNING = 'big     '",
    "CCDXBIN =                    2",
    "CCDYBIN =                    2",
    "GAIN    =                 -1.0",
    "RDNOISE =                  1.3",
    "RA      = '21:02:22'",
    "RA      =            315.59167",
    "DEC     = '+38:00:00'",
    "DEC     =                 95.0",
    "SERIALN = 'VSC-05530'",
    "SERIALN = 'a long text that goes on in the next card and then some more of it&'",
    "CONTINUE  ' until here'",
    "HIERARCH ESO DET GAIN = 2.5",
    "BLANK   =               -32768",
    "BITPIX  =                  -32",
    "NAXIS1  =                    9",
    "BSCALE  =                  0.5",
    "CTYPE1  = 'RA---TAN'",
    "TAIR    =                 99.9",
    "TSTART  =               0.0000",
    "END of the night",
    "END\t",
    "HISTORY = 'not a value'",
    "caf\xe9    = 'caf\xe9'",
    "",
]
card = st.one_of(st.sampled_from(USUAL), st.sampled_from(ODD), st.text("=' /ETUR01:.&", max_size=12))
edits = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "double", "swap"]), st.integers(0, 99), card), max_size=4
)
INSTRUMENTS = {
    "opticam": OPTICAM_MX,
    "generic": GENERIC,
    "trusting": OPTICAM_MX(trust_airmass=True, fixed={"filter": "g", "exposure": 2.0}),
    "long": OPTICAM_MX(keywords={"gain": ("ESO DET GAIN", "GAIN")}),
    "serial": OPTICAM_MX(camera_from="serial"),
}


def edited(cards, steps):
    cards = list(cards)
    for what, place, new in steps:
        at = place % (len(cards) + 1)
        if what == "put":
            cards.insert(at, new)
        elif cards[at : at + 1] and what == "drop":
            del cards[at]
        elif cards[at : at + 1] and what == "double":
            cards.insert(0, cards[at][:12] + new[12:])
        elif len(cards) > at + 1:
            cards[at], cards[at + 1] = cards[at + 1], cards[at]
    return cards


def file_bytes(cards, *, end=True, data=70, padding=True, structure=STRUCTURE):
    text = [*structure, *cards, *(["END"] if end else [])]
    raw = b"".join(line[:80].ljust(80).encode("latin-1") for line in text)
    raw = raw.ljust(-(-len(raw) // BLOCK) * BLOCK) + bytes(data)
    return raw.ljust(-(-len(raw) // BLOCK) * BLOCK, b"\0") if padding else raw


WRAPPED = {"fits": bytes, "gz": lambda raw: gzip.compress(raw, 1), "bz2": bz2.compress}


def carefully(paths, instrument):
    """Each file alone, with nothing remembered, read the long way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeadReader, "only_header", lambda self, path: (Path(path).stat(), None))
        patch.setattr(CardMemo, "__call__", lambda self, view, *more: self._function(view, *more))
        return pa.concat_tables(scan_headers([path], instrument) for path in paths)


@settings(max_examples=100, deadline=None)
@given(
    files=st.lists(
        st.tuples(edits, st.booleans(), st.sampled_from([0, 69, 70, 90]), st.booleans()),
        min_size=2,
        max_size=5,
    ),
    name=st.sampled_from(sorted(INSTRUMENTS)),
    way=st.sampled_from(["fits", "fits", "gz", "bz2"]),
)
def test_one_after_another_is_as_each_alone(files, name, way):
    with TemporaryDirectory() as folder:
        cards, paths = USUAL, []
        for number, (steps, end, data, padding) in enumerate(files):
            cards = edited(cards, steps)
            paths.append(f"{folder}/{number}.fits")
            raw = file_bytes(cards, end=end or number == 0, data=data, padding=padding)
            Path(paths[-1]).write_bytes(WRAPPED[way](raw))
        # twice the same files: the second time all is known
        quick = scan_headers([*paths, *paths], INSTRUMENTS[name])
        slow = carefully(paths, INSTRUMENTS[name])
        assert_same(quick.slice(0, len(slow)), slow)
        assert_same(quick.slice(len(slow)), slow)


def assert_same(one, other):
    for name in one.column_names:
        for a, b in itertools.zip_longest(one[name].to_pylist(), other[name].to_pylist()):
            assert a == b or (a != a and b != b), (name, a, b)


def test_extensions_and_compressed_images_too(tmp_path):
    image, header = np.zeros((5, 7), "u2"), fits.Header()
    for line in USUAL[1:]:
        header.append(fits.Card.fromstring(line.ljust(80)))
    paths = []
    for number in range(4):
        header["UT"] = f"2024-01-01 00:00:0{number}.5"
        paths.append(str(tmp_path / f"{number}.fits"))
        packed = fits.CompImageHDU(image, header, compression_type="RICE_1")
        parts = [fits.ImageHDU(image, fits.Header({"FILTER": name})) for name in "gr"]
        odd = fits.PrimaryHDU(header=header) if number % 2 else fits.PrimaryHDU()
        fits.HDUList([odd, *([packed] if number < 2 else parts)]).writeto(paths[-1])
    quick = scan_headers([*paths, *paths], OPTICAM_MX)
    slow = carefully(paths, OPTICAM_MX)
    assert len(slow) == 6
    assert "" in slow["reason"].to_pylist()
    assert_same(quick.slice(0, 6), slow)
    assert_same(quick.slice(6), slow)


def test_headers_of_a_night_are_worked_out_once(tmp_path, monkeypatch):
    for number in range(6):
        cards = [*USUAL[:1], f"UT      = '2024-01-01 00:00:0{number}.5 '", *USUAL[2:]]
        (tmp_path / f"{number}.fits").write_bytes(file_bytes(cards))
    computed = []
    monkeypatch.setattr(header_memo._Path, "cards", _noting(computed, header_memo._Path.cards))
    times = scan(tmp_path)["MJD"].to_numpy()
    assert len(computed) == 4 * 6  # camera and detector, pointing, placeholders, airmass: each found or kept
    np.testing.assert_allclose(np.diff(times) * 86400, 1.0, atol=1e-5)


def _noting(computed, cards):
    def noted(path, view):
        computed.append(path)
        return cards(path, view)

    return noted


def test_a_memo_goes_by_the_cards_that_were_looked_at(tmp_path):
    calls = []

    def function(view):
        calls.append(view)
        return view.raw("GAIN") if view.raw("FILTER") == "g" else view.raw("JD")

    memo = CardMemo(function)
    asked = []
    for gain, band, jd in [
        (1, "g", 5),
        (1, "g", 6),
        (2, "g", 6),
        (2, "r", 6),
        (3, "r", 6),
        (3, "r", 7),
        (1, "g", 9),
    ]:
        cards = [f"GAIN    = {gain:20d}", f"FILTER  = '{band}'", f"JD      = {jd:20d}"]
        (tmp_path / "a.fits").write_bytes(file_bytes(cards))
        reader = asked[0] if asked else HeadReader()
        asked.append(reader)
        _, hdu = reader.only_header(str(tmp_path / "a.fits"))
        assert memo(HeaderView(hdu, hdu, OPTICAM_MX, reader.layouts)) == (gain if band == "g" else jd)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "texts",
    [
        ["HIERARCH ESO DET GAIN = 2.5", "HIERARCH ESO DET GAIN = 4.5"],
        ["END\t", "END of the night"],
        ["FILTER  = 'r       '", "FILTER  = 'i       '"],
    ],
)
def test_headers_that_differ_in_one_card(tmp_path, texts):
    paths = [str(tmp_path / f"{number}.fits") for number in range(4)]
    for number, path in enumerate(paths):
        text = texts[number % 2]
        Path(path).write_bytes(file_bytes([text, *USUAL] if number < 2 else [*USUAL, text]))
    assert_same(scan_headers(paths, INSTRUMENTS["long"]), carefully(paths, INSTRUMENTS["long"]))


def test_texts_over_several_cards(tmp_path):
    paths = [str(tmp_path / f"{number}.fits") for number in range(4)]
    start = "SERIALN = 'VSC-0&'".ljust(80)
    for number, path in enumerate(paths):
        Path(path).write_bytes(file_bytes([*USUAL[:-2], start, f"CONTINUE  '55{number % 2}5'"]))
    cameras = OPTICAM_MX(
        camera_from="serial",
        cameras=[{"name": "a", "serials": ["VSC-05505"]}, {"name": "b", "serials": ["VSC-05515"]}],
    )
    assert scan_headers(paths, cameras)["camera"].to_pylist() == ["a:g", "b:g"] * 2


@pytest.mark.parametrize("wrap", ["fits", "gz"])
@pytest.mark.parametrize("filling", [0, 60, 150, 400, 1500])
def test_long_headers_are_read_whole(tmp_path, wrap, filling):
    cards = [f"KEY{number:05d}= {number:20d}" for number in range(filling)] + USUAL
    (tmp_path / "a.fits").write_bytes(WRAPPED[wrap](file_bytes(cards)))
    status, quick = HeadReader().only_header(str(tmp_path / "a.fits"))
    (slow,) = read_headers(tmp_path / "a.fits")
    assert status.st_size == (tmp_path / "a.fits").stat().st_size
    if filling < 1000:
        assert quick == slow
    assert scan(tmp_path)["reason"].tolist() == [""]


def test_a_name_that_is_no_text_costs_only_its_file(tmp_path):
    (tmp_path / "a.fits").write_bytes(file_bytes(USUAL))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.fits")).write_bytes(file_bytes(USUAL))
    frames = scan(tmp_path)
    assert frames["status"].tolist() == ["accepted", "rejected"]
    assert "not UTF-8" in frames["reason"].iloc[1]
    assert frames["path"].iloc[1].endswith("b\\udcff.fits")
