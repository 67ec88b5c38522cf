"""Files as streams of FITS bytes, whatever wraps them: nothing, gzip or bzip2."""

from __future__ import annotations

import bz2
import os
import zlib
from pathlib import Path
from typing import IO, Any, Literal, Self, cast

from isal import igzip, isal_zlib

from opticam_dask.errors import FrameReadError

Wrapping = Literal["plain", "gzip", "bzip2"]

_MAGIC: dict[bytes, Wrapping] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2"}
_SKIP_BYTES = 1 << 20
_GZIP_TRAILER = 4
_STREAM_ERRORS = (EOFError, OSError, ValueError, zlib.error, cast("type[Exception]", isal_zlib.error))


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
            self._raw = Path(self.path).open("rb", buffering=0)  # noqa: SIM115 - closed by close()
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
        self._inflated: IO[bytes] | None = None
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._inflated is not None:
            self._inflated.close()
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
        self._raw.seek(-_GZIP_TRAILER, os.SEEK_END)
        claimed = int.from_bytes(self._raw.read(_GZIP_TRAILER), "little")
        return low <= claimed + ((low - claimed + 2**32 - 1) // 2**32) * 2**32 <= high

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
        count = self._fill(self._stream(), target, gently=len(target) < _SKIP_BYTES)
        self._position += count
        return count

    def reach(self, offset: int) -> int:
        """Go to ``offset``, or to the end of the bytes if that comes first; return where it is."""
        if self.wrapping == "plain":
            return min(offset, self.file_size)
        if self._inflated is None or offset < self._position:
            self._rewind()
        if self._advance(offset) < offset and self.fault:
            fault = self.fault
            self._rewind()
            self._advance(offset, gently=True)
            self.fault = self.fault or fault
        return self._position

    def _advance(self, offset: int, *, gently: bool = False) -> int:
        scratch = memoryview(bytearray(min(_SKIP_BYTES, max(offset - self._position, 0))))
        while self._position < offset:
            count = self._fill(self._stream(), scratch[: offset - self._position], gently=gently)
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
        """Step over ``padding`` bytes; if the stream ends there its checksum is verified (see ``fault``)."""
        if self.wrapping != "plain" and self.reach(self._position + padding) >= 0 and not self.fault:
            self._position += self._fill(self._stream(), memoryview(bytearray(1)))

    def _stream(self) -> IO[bytes]:
        if self._inflated is None:
            self._rewind()
        return cast("IO[bytes]", self._inflated)

    def _rewind(self) -> None:
        # The wrapper reads from our file object, which stays open: one open() per file.
        self._raw.seek(0)
        self._position, self.fault = 0, ""
        opener = igzip.open if self.wrapping == "gzip" else bz2.open
        self._inflated = cast("IO[bytes]", opener(self._raw, "rb"))

    def _fill(self, stream: Any, target: memoryview, *, gently: bool = False) -> int:
        # Gently: one inflating step at a time, so that the bytes before a damaged place are not lost.
        count = 0
        try:
            read = stream.readinto1 if gently else stream.readinto
            while count < len(target) and (found := read(target[count:])):
                count += found
        except _STREAM_ERRORS as error:
            self.fault = (
                f"damaged {self.wrapping} stream: {error}" if self.wrapping != "plain" else str(error)
            )
        return count
