"""Images to the bytes of FITS files, the same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from opticam_dask.errors import OpticamError
from opticam_dask.simulate.headers import Cards, Value

BLOCK = 2880
GZ_LEVEL = 1
"""Noise hardly compresses: higher levels take longer and save nothing."""

TILE_ROWS = 32
"""Rows of a tile of 'fz' files: single rows take three times as long to compress, for no gain."""

_BITPIX = {"uint16": 16, "float32": -32, "float64": -64}


def fits_bytes(image: NDArray[np.generic], cards: Cards, compression: str) -> bytes:
    """One FITS file holding an image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels, uint16 (written with BZERO 32768), float32 or float64.
    cards : list of (keyword, value)
        Header, without the cards that describe the array.
    compression : {'none', 'gz', 'fz'}
        Compression of the file; 'fz' loses nothing.
    """
    if compression == "fz":
        return _tiled(image, cards)
    raw = _header(image, cards) + _data(image)
    return bytes(igzip.compress(raw, GZ_LEVEL, mtime=0)) if compression == "gz" else raw


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it, so that a half-written one never has its name.

    Raises
    ------
    OpticamError
        If the disk does not take it.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise OpticamError(
            f"{path}: cannot write ({error.strerror}); free space or choose another folder"
        ) from error


def card(keyword: str, value: Value) -> str:
    """One header card of 80 characters, without a comment.

    Raises
    ------
    ValueError
        If the value is too long for a card.
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        quoted = value.replace("'", "''")
        text = f"'{quoted:<8}'"
    else:
        text = f"{str(value).upper():>20}"
    line = f"{keyword:<8}= {text}"
    if len(line) > 80:
        raise ValueError(f"value of {keyword} too long for a FITS card: {value!r}")
    return f"{line:<80}"


def _header(image: NDArray[np.generic], cards: Cards) -> bytes:
    ny, nx = image.shape
    unsigned: Cards = [("BZERO", 32768), ("BSCALE", 1)] if image.dtype == np.uint16 else []
    structure: Cards = [("SIMPLE", True), ("BITPIX", _BITPIX[image.dtype.name]), ("NAXIS", 2)]
    structure += [("NAXIS1", nx), ("NAXIS2", ny), ("EXTEND", True), *unsigned]
    text = "".join(card(*item) for item in (*structure, *cards)) + f"{'END':<80}"
    return text.encode("ascii") + b" " * (-len(text) % BLOCK)


def _data(image: NDArray[Any]) -> bytes:
    if image.dtype == np.uint16:
        image = image ^ np.uint16(0x8000)
    raw = image.astype(image.dtype.newbyteorder(">")).tobytes()
    return raw + b"\0" * (-len(raw) % BLOCK)


def _tiled(image: NDArray[np.generic], cards: Cards) -> bytes:
    from astropy.io import fits

    header = fits.Header([fits.Card.fromstring(card(*item)) for item in cards])
    unsigned = image.dtype == np.uint16
    hdu = fits.CompImageHDU(
        image,
        header,
        compression_type="RICE_1" if unsigned else "GZIP_2",
        tile_shape=(min(TILE_ROWS, image.shape[0]), image.shape[1]),
        quantize_level=0.0,
    )
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()
