"""One file's frames, decoded straight into native arrays."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError
from opticam_dask.io.byte_streams import ByteStream
from opticam_dask.io.containers import HduHeader, shortage_text, walk
from opticam_dask.io.indexing import ALL, AxisIndex, Key, axis_indices, drop_axes, pick
from opticam_dask.io.pixel_format import PixelFormat
from opticam_dask.types import Image

if TYPE_CHECKING:
    from astropy.io.fits import HDUList


class FrameFile:
    """Decoder of the frames of one file; keeps the file open and goes forward through compressed ones.

    Parameters
    ----------
    path : str or Path
        FITS file, plain, gzip, bzip2 or tile-compressed; the content decides, not the name.

    Raises
    ------
    FrameReadError
        If the file cannot be opened or is no FITS file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._stream = ByteStream(path)
        self._headers: list[HduHeader] = []
        self._fits: HDUList | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._fits is not None:
            self._fits.close()
        self._stream.close()

    def describe(self, hdu: int, plane: int = 0) -> HduHeader:
        """Header of the HDU that holds a frame.

        Raises
        ------
        FrameReadError
            If the file has no such HDU or plane, or it is no image.
        """
        if len(self._headers) <= hdu:
            self._headers = walk(self._stream, hdu, self._headers)
        if hdu >= len(self._headers):
            last = self._headers[-1]
            raise self._error(hdu, plane, last.problem or f"the file has {len(self._headers)} HDU(s)")
        header = self._headers[hdu]
        if len(header.shape) < 2:
            raise self._error(hdu, plane, header.problem or "the HDU holds no image")
        if not 0 <= plane < math.prod(header.shape[:-2]):
            raise self._error(hdu, plane, f"the image has {math.prod(header.shape[:-2])} plane(s)")
        return header

    def read_into(self, out: Image, hdu: int, plane: int, rows: AxisIndex, columns: AxisIndex) -> None:
        """Decode one frame, or a part of it, into ``out``.

        Parameters
        ----------
        out : ndarray, shape (rows.size, columns.size)
            Native array of the type `describe` gives, or of one that holds all its values.
        hdu, plane : int
            Place of the frame; a 2-D image has plane 0.
        rows, columns : AxisIndex
            Part wanted. Only the rows between the first and the last are read.

        Raises
        ------
        FrameReadError
            If the pixels are missing or damaged, or have another type than ``out``.
        """
        header = self.describe(hdu, plane)
        if header.pixels is None or not np.can_cast(header.dtype, out.dtype):
            raise self._error(
                hdu, plane, f"expected pixels of type {out.dtype.name}, the file has {header.dtype}"
            )
        if header.compressed:
            stored = self._tiles(header, plane, *rows.span)
        else:
            stored = self._stored(header, header.pixels, plane, *rows.span)
        same = out if header.dtype == out.dtype.name else np.empty(out.shape, header.dtype)
        header.pixels.decode(pick(stored, rows, columns), same)
        if same is not out:
            out[...] = same

    def _stored(
        self, header: HduHeader, pixels: PixelFormat, plane: int, first: int, stop: int
    ) -> NDArray[Any]:
        """Rows of one plane as they are in the file."""
        ny, nx = header.shape[-2:]
        row_bytes = nx * pixels.stored.itemsize
        start = header.data_offset + (plane * ny + first) * row_bytes
        buffer = np.empty((stop - first) * row_bytes, np.uint8)
        found = self._stream.readinto_at(start, buffer.data)
        data_stop = header.data_offset + header.data_bytes
        if start + found == data_stop:
            self._stream.check_end(header.data_end - data_stop)
        if found < buffer.size:
            held = self._stream.held(data_stop) - header.data_offset
            raise self._error(header.hdu, plane, shortage_text(header.data_bytes, held, self._stream.fault))
        if self._stream.fault:
            raise self._error(header.hdu, plane, self._stream.fault)
        return buffer.view(pixels.stored).reshape(-1, nx)

    def _tiles(self, header: HduHeader, plane: int, first: int, stop: int) -> NDArray[Any]:
        """Rows of one plane of a tile-compressed image, inflated by astropy: only the tiles they touch."""
        if header.problem:
            raise self._error(header.hdu, plane, header.problem)
        need = header.data_offset + header.data_bytes
        if (reached := self._stream.reach(need)) < need:
            held = reached - header.data_offset
            raise self._error(header.hdu, plane, shortage_text(header.data_bytes, held, self._stream.fault))
        place = np.unravel_index(plane, header.shape[:-2]) if len(header.shape) > 2 else ()
        try:
            section = self._open_fits()[header.hdu].section
            return cast("NDArray[Any]", section[(*map(int, place), slice(first, stop))])
        except Exception as error:  # astropy's codecs raise what they meet: struct, zlib, their own
            detail = f"damaged tile-compressed data: {str(error).strip() or type(error).__name__}"
            raise self._error(header.hdu, plane, " ".join(detail.split())) from error

    def _open_fits(self) -> HDUList:
        from astropy.io import fits

        if self._fits is None:
            plain = self._stream.wrapping == "plain"
            self._fits = fits.open(self.path, memmap=plain, do_not_scale_image_data=True)
        return self._fits

    def _error(self, hdu: int, plane: int, detail: str) -> FrameReadError:
        return FrameReadError(self.path, detail, hdu=hdu, plane=plane)


def read_image(
    path: str | os.PathLike[str], hdu: int = 0, plane: int = 0, rows: Key = ALL, columns: Key = ALL
) -> Image:
    """Read one frame, or a part of it, as a native-endian array.

    Integers stored with the offset of the unsigned convention come as unsigned (or signed bytes); other
    scaling gives float32 for 8- and 16-bit numbers and float64 for wider ones, as astropy does; a pixel
    equal to BLANK is NaN.

    Parameters
    ----------
    path : str or Path
        FITS file, plain, gzip, bzip2 or tile-compressed; the content decides, not the name.
    hdu, plane : int
        Place of the frame; a 2-D image has plane 0.
    rows, columns : int, slice or sequence of int
        Part wanted; each axis is indexed on its own, and an integer removes it.

    Returns
    -------
    ndarray, shape (ny, nx) or what ``rows`` and ``columns`` leave of it [adu]

    Raises
    ------
    FrameReadError
        If the pixels are missing or damaged.
    IndexError
        If the part lies outside the frame.
    """
    with FrameFile(path) as file:
        header = file.describe(hdu, plane)
        wanted = axis_indices((rows, columns), header.shape[-2:])
        out = np.empty([axis.size for axis in wanted], header.dtype)
        file.read_into(out, hdu, plane, *wanted)
    return drop_axes(out, wanted)
