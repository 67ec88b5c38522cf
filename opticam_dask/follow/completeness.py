"""Whether a file is all there, by what it says of itself; that it does not grow is no proof."""

from __future__ import annotations

import re

import numpy as np

from opticam_dask.errors import FrameReadError
from opticam_dask.io.byte_streams import ByteStream
from opticam_dask.io.cards import structure
from opticam_dask.io.containers import HduHeader, read_headers
from opticam_dask.io.head_reader import HeadReader

_CARD = re.compile(rb"(NEXTEND|TFORM\d+|TTYPE\d+|THEAP) *= *(?:'([^']*)'|([^ /]+))")
_POINTER = re.compile(r"\d*([PQ])")
_COLUMN = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_BYTES = dict(zip("LXBIJKAEDCMPQ", (1, 1, 1, 2, 4, 8, 1, 4, 8, 8, 16, 8, 16), strict=True))
_ANYTHING = 2**62
_NO_IMAGE = "the file has no image yet"


def shortfall(path: str, reader: HeadReader) -> str:
    """Why a file is not complete; empty if it is.

    A plain file must have all the bytes its headers announce, and all the extensions; a gzip or bzip2 file
    must in addition end as its format says; a tile-compressed one must have every tile. Whether the pixels
    are sound is seen when they are decoded.

    Parameters
    ----------
    path : str
        The file.
    reader : HeadReader
        Remembers what headers share.
    """
    try:
        _, only = reader.only_header(path)
        if only is not None and only.shape:
            return ""
        return _shortfall_of(path, read_headers(path))
    except FrameReadError as error:
        return error.detail
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _shortfall_of(path: str, hdus: list[HduHeader]) -> str:
    """Look at every header of a file that is less simple."""
    if problem := next((hdu.problem for hdu in hdus if hdu.problem), ""):
        return problem
    announced = _cards(hdus[0].raw).get("NEXTEND", "")
    if announced.isdecimal() and len(hdus) <= int(announced):
        return f"truncated: {announced} extensions are announced, the file has {len(hdus) - 1}"
    if not any(hdu.shape for hdu in hdus):
        return _NO_IMAGE
    if torn := _torn(path):
        return torn
    return next((text for hdu in hdus if hdu.compressed and (text := _lacking_tiles(path, hdu))), "")


def _torn(path: str) -> str:
    """Say if a gzip or bzip2 stream does not end as it should, though the pixels may be there."""
    with ByteStream(path) as stream:
        if stream.wrapping != "plain":
            stream.reach(_ANYTHING)
        return stream.fault


def _cards(raw: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(raw), 80):
        match = _CARD.match(raw, start)
        if match is not None:
            value = match[2] if match[2] is not None else match[3]
            found.setdefault(match[1].decode(), value.decode("ascii", "replace").strip())
    return found


def _lacking_tiles(path: str, hdu: HduHeader) -> str:
    """Say if a tile of a compressed image is not there: its table is written first, and empty."""
    layout = structure(hdu.raw)
    row_bytes, rows = layout.axes("NAXIS")[:2]
    places = _pointers(_cards(hdu.raw))
    with ByteStream(path) as stream:
        table = np.frombuffer(stream.read_at(hdu.data_offset, row_bytes * rows), np.uint8)
    if table.size < row_bytes * rows or not places:
        return f"truncated: the table of tiles needs {row_bytes * rows} bytes"
    table, length = table.reshape(rows, row_bytes), np.zeros(rows, np.int64)
    for start, dtype in places:
        length += np.ascontiguousarray(table[:, start : start + dtype.itemsize]).view(dtype).ravel()
    missing = int((length == 0).sum())
    return f"truncated: {missing} of {rows} tiles are not there" if missing else ""


def _pointers(cards: dict[str, str]) -> list[tuple[int, np.dtype[np.signedinteger]]]:
    """Place in a row [byte] and type of the lengths of tiles, in each column that may hold them."""
    found: list[tuple[int, np.dtype[np.signedinteger]]] = []
    start, number = 0, 1
    while (form := cards.get(f"TFORM{number}")) is not None:
        match = _COLUMN.match(form)
        if match is None:
            break
        if _POINTER.match(form) and cards.get(f"TTYPE{number}", "").endswith("DATA"):
            found.append((start, np.dtype(">i4" if match[2] == "P" else ">i8")))
        start += int(match[1] or 1) * _BYTES[match[2]]
        number += 1
    return found
