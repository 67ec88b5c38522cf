"""Files as streams of FITS bytes, whatever wraps them: nothing, gzip or bzip2."""

from __future__ import annotations

import bz2
import os
import zlib
from io import FileIO
from typing import Any, Literal, Self, cast

from isal import igzip_lib, isal_zlib

from opticam_dask.errors import FrameReadError

Wrapping = Literal["plain", "gzip", "bzip2"]

_MAGIC: dict[bytes, Wrapping] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2"}
_SKIP_BYTES = 1 << 20
_FIRST_CHUNK_BYTES = 1 << 13  # enough for a header
_CHUNK_BYTES = 1 << 18
_GZIP_TRAILER = 4
_EXTENSION = b"XTENSION"
STREAM_ERRORS = (EOFError, OSError, ValueError, zlib.error, cast("type[Exception]", isal_zlib.error))


class ByteStream:
    """Bytes of a file after unwrapping, addressed by offset.

    A plain file is read at random. A compressed one is inflated forwards and only as far as asked;
    going back starts again from the top. Reading never raises: a short answer means that the bytes
    end there, and ``fault`` says why if the wrapping is to blame.

    Parameters
    ----------
    path : str or Path
        File to open. Its first bytes tell how it is wrapped; its name does not matter.

    Raises
    ------
    FrameReadError
        If the file cannot be opened or is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.fault = ""
        try:
            self._raw = FileIO(self.path)
            self.file_size = os.fstat(self._raw.fileno()).st_size
            magic = self._raw.read(3)
        except OSError as error:
            raise FrameReadError(self.path, f"cannot open the file: {error.strerror or error}") from error
        if not self.file_size:
            self._raw.close()
            raise FrameReadError(self.path, "the file is empty")
        self.wrapping: Wrapping = next(
            (kind for start, kind in _MAGIC.items() if magic.startswith(start)), "plain"
        )
        self._inflated: _Inflater | None = None
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    @property
    def size(self) -> int | None:
        """Number of bytes when that costs nothing to know: a plain file's; else None."""
        return self.file_size if self.wrapping == "plain" else None

    def claims_size(self, low: int, high: int) -> bool:
        """Whether the gzip trailer says that the stream holds between ``low`` and ``high`` bytes.

        The trailer holds the size modulo 2**32 (RFC 1952). A truncated file ends in other bytes, and
        a file of several members in a smaller number: both fail the comparison.
        """
        if self.wrapping != "gzip":
            return False
        here = self._raw.tell()  # where inflating goes on
        self._raw.seek(-_GZIP_TRAILER, os.SEEK_END)
        trailer = self._raw.read(_GZIP_TRAILER)
        self._raw.seek(here)
        return trailer_fits(trailer, low, high)

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset`` on; fewer if the bytes end before."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto_at(offset, memoryview(buffer))])

    def readinto_at(self, offset: int, target: memoryview) -> int:
        """Fill ``target`` (of bytes) from ``offset`` on and return the number of bytes found."""
        if self.wrapping == "plain":
            self._raw.seek(offset)
            return self._fill(self._raw, target)
        if self.reach(offset) < offset:
            return 0
        count = self._fill(self._stream(), target)
        self._position += count
        return count

    def reach(self, offset: int) -> int:
        """Go to ``offset``, or to the end of the bytes if that comes first; return where it is."""
        if self.wrapping == "plain":
            return min(offset, self.file_size)
        if self._inflated is None or offset < self._position:
            self._rewind()
        scratch = memoryview(bytearray(min(_SKIP_BYTES, max(offset - self._position, 0))))
        while self._position < offset:
            count = self._fill(self._stream(), scratch[: offset - self._position])
            self._position += count
            if not count:
                break
        return self._position

    def held(self, offset: int) -> int:
        """Bytes that can be had, counted up to ``offset``."""
        if self.wrapping != "plain":
            self._rewind()
        return self.reach(offset)

    def check_end(self, padding: int) -> None:
        """Step over ``padding`` bytes, and say in ``fault`` if what follows shows that the stream is damaged.

        At the end of the stream its checksum is verified. Where it goes on, the next extension must begin: a
        damaged stream may well inflate, to something else and longer.
        """
        if self.wrapping == "plain" or self.fault:
            return
        self.reach(self._position + padding)
        following = bytearray(len(_EXTENSION))
        count = self._fill(self._stream(), memoryview(following))
        self._position += count
        if count and not self.fault and bytes(following) != _EXTENSION:
            self.fault = f"damaged {self.wrapping} stream: it goes on where the header says that it ends"

    def _stream(self) -> _Inflater:
        if self._inflated is None:
            self._rewind()
        return cast("_Inflater", self._inflated)

    def _rewind(self) -> None:
        # The wrapper reads from our file object, which stays open: one open() per file.
        self._raw.seek(0)
        self._position, self.fault = 0, ""
        self._inflated = _Inflater(self._raw, self.wrapping)

    def _fill(self, stream: Any, target: memoryview) -> int:
        count = 0
        try:
            while count < len(target) and (found := stream.readinto(target[count:])):
                count += found
        except STREAM_ERRORS as error:
            self.fault = (
                f"damaged {self.wrapping} stream: {error}" if self.wrapping != "plain" else str(error)
            )
        return count


class _Inflater:
    """Members of a compressed file, one after another, without reading ahead of damage.

    (Python's buffered file objects may serve stale bytes after an error in the stream.)
    """

    def __init__(self, raw: Any, wrapping: Wrapping) -> None:
        self._raw = raw
        self._new = _gzip_member if wrapping == "gzip" else bz2.BZ2Decompressor
        self._member: Any = self._new()
        self._ready = memoryview(b"")
        self._chunk_bytes = _FIRST_CHUNK_BYTES

    def readinto(self, target: memoryview) -> int:
        """Fill the start of ``target``; 0 at the end of the last member."""
        while not self._ready:
            chunk = self._member.unused_data.lstrip(b"\0") if self._member.eof else b""
            chunk = chunk or self._compressed()
            if self._member.eof and not chunk.strip(b"\0"):
                return 0
            if not chunk:
                raise EOFError("it ends early")
            self._member = self._new() if self._member.eof else self._member
            self._ready = memoryview(self._member.decompress(chunk))
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _compressed(self) -> bytes:
        chunk: bytes = self._raw.read(self._chunk_bytes)
        self._chunk_bytes = min(2 * self._chunk_bytes, _CHUNK_BYTES)
        return chunk


def trailer_fits(trailer: bytes, low: int, high: int) -> bool:
    """Whether the last four bytes of a gzip file can stand for a size between ``low`` and ``high`` [byte]."""
    claimed = int.from_bytes(trailer, "little")
    return low <= claimed + ((low - claimed + 2**32 - 1) // 2**32) * 2**32 <= high


def _gzip_member() -> Any:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
