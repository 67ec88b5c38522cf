"""One file's frames, decoded straight into native arrays."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError
from opticam_dask.io.byte_streams import ByteStream
from opticam_dask.io.containers import HduHeader, shortage_text, walk
from opticam_dask.io.indexing import ALL, AxisIndex, Key, axis_indices, drop_axes, merged, pick
from opticam_dask.types import Image

if TYPE_CHECKING:
    from astropy.io.fits import HDUList


_PIECE_BYTES = 2**19  # stays in the second-level cache between reading and decoding
_BRIDGED_BYTES = 2**13  # a gap that takes no longer to read than to skip


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
        pixels = header.pixels
        if pixels is None or not np.can_cast(pixels.dtype, out.dtype):
            detail = f"expected pixels of type {out.dtype.name}, the file has {header.dtype}"
            raise self._error(hdu, plane, detail)
        if not out.size:
            return
        nx, (first, stop) = header.shape[-1], rows.span
        whole = rows.is_run and columns.is_run and columns.size == nx and out.flags.c_contiguous
        if whole and pixels.flip is not None and pixels.dtype == out.dtype:
            self._fill(header, plane, first, out.view(f"u{out.dtype.itemsize}"), pixels.flip)
            return
        words = np.empty((stop - first, nx), f"u{pixels.stored.itemsize}")
        self._fill(header, plane, first, words, 0)
        stored = pick(words.view(pixels.stored.newbyteorder("=")), rows, columns)
        same = out if pixels.dtype == out.dtype else np.empty(out.shape, pixels.dtype)
        pixels.decode(stored, same)
        if same is not out:
            out[...] = same

    def windows(self, hdu: int, plane: int, boxes: NDArray[np.int64]) -> list[tuple[AxisIndex, AxisIndex]]:
        """Parts of a frame to read in order to have some boxes of it: rows of a plain file, all of another.

        Parameters
        ----------
        hdu, plane : int
            Place of the frame.
        boxes : ndarray, shape (n, 4)
            First row, row after the last, first column and column after the last of each; within the frame.

        Raises
        ------
        FrameReadError
            If the file has no such frame, or its size shows that pixels of it are missing: those that no box
            wants count as well, so that a damaged frame is one however much of it is read.
        """
        header = self.describe(hdu, plane)
        ny, nx = header.shape[-2:]
        columns = AxisIndex(slice(0, nx, 1), nx)
        size = self._stream.size
        if size is None or header.compressed:  # checksums and codes are verified only where all is read
            return [(AxisIndex(slice(0, ny, 1), ny), columns)]
        row_bytes = nx * (header.pixels.stored.itemsize if header.pixels else 0)
        if header.data_offset + (plane + 1) * ny * row_bytes > size:
            raise self._error(hdu, plane, shortage_text(header.data_bytes, size - header.data_offset))
        gap = _BRIDGED_BYTES // max(row_bytes, 1)
        return [
            (AxisIndex(slice(first, stop, 1), stop - first), columns)
            for first, stop in merged(boxes[:, :2], gap)
        ]

    def _fill(self, header: HduHeader, plane: int, first: int, words: NDArray[Any], flip: int) -> None:
        """Put stored bits of rows into ``words``, shape (n_rows, nx), as native numbers with bits flipped."""
        if header.compressed:
            self._fill_from_tiles(header, plane, first, words, flip)
        else:
            self._fill_from_rows(header, plane, first, words, flip)

    def _fill_from_rows(
        self, header: HduHeader, plane: int, first: int, words: NDArray[Any], flip: int
    ) -> None:
        from opticam_dask.kernels.decode import to_native  # compiled: takes long to import

        start = header.data_offset + (plane * header.shape[-2] + first) * words.shape[1] * words.itemsize
        flat, found = words.reshape(-1), 0
        while found < flat.nbytes:
            piece = flat[found // words.itemsize :][: _PIECE_BYTES // words.itemsize]
            count = self._stream.readinto_at(start + found, piece.view(np.uint8).data)
            found += count
            if count < piece.nbytes:
                break
            to_native(piece, flip)  # while they are in the processor's cache
        data_stop = header.data_offset + header.data_bytes
        if start + found == data_stop:
            self._stream.check_end(header.data_end - data_stop)
        if found < flat.nbytes:
            held = self._stream.held(data_stop) - header.data_offset
            raise self._error(header.hdu, plane, shortage_text(header.data_bytes, held, self._stream.fault))
        if self._stream.fault:
            raise self._error(header.hdu, plane, self._stream.fault)

    def _fill_from_tiles(
        self, header: HduHeader, plane: int, first: int, words: NDArray[Any], flip: int
    ) -> None:
        """Rows of one plane of a tile-compressed image: only the tiles they touch."""
        from opticam_dask.io.tiles import rice_tiles  # compiled: takes long to import

        if header.problem:
            raise self._error(header.hdu, plane, header.problem)
        need = header.data_offset + header.data_bytes
        if (reached := self._stream.reach(need)) < need:
            held = reached - header.data_offset
            raise self._error(header.hdu, plane, shortage_text(header.data_bytes, held, self._stream.fault))
        tiles = rice_tiles(header) if self._stream.size is not None else None
        try:
            if tiles and tiles.read_into(words, self._stream, plane, header.shape[-2], first, flip):
                return
            self._fill_by_astropy(header, plane, first, words, flip)
        except Exception as error:  # astropy's codecs raise what they meet: struct, zlib, their own
            detail = f"damaged tile-compressed data: {str(error).strip() or type(error).__name__}"
            raise self._error(header.hdu, plane, " ".join(detail.split())) from error

    def _fill_by_astropy(
        self, header: HduHeader, plane: int, first: int, words: NDArray[Any], flip: int
    ) -> None:
        place = np.unravel_index(plane, header.shape[:-2]) if len(header.shape) > 2 else ()
        section = self._open_fits()[header.hdu].section
        stored = section[(*map(int, place), slice(first, first + len(words)))]
        kind = f"{stored.dtype.kind}{words.itemsize}"
        native = np.ascontiguousarray(stored, kind).view(words.dtype)
        np.bitwise_xor(native, words.dtype.type(flip), out=words)

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
