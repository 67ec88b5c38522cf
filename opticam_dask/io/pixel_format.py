"""How FITS stores numbers, and the straight way from its bytes to native pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_OFFSET_INTEGERS = {(8, -128.0): "int8", **{(n, 2.0 ** (n - 1)): f"uint{n}" for n in (16, 32, 64)}}


@dataclass(frozen=True)
class PixelFormat:
    """Storage of an image: FITS Standard 4.0, sections 4.4.2.4 and 5.

    Parameters
    ----------
    bitpix : {8, 16, 32, 64, -32, -64}
        Kind and size of the stored numbers.
    bscale, bzero : float
        Physical value = ``bzero + bscale * stored``.
    blank : int, optional
        Stored integer that marks an undefined pixel: delivered as NaN, so the pixels are floats then, also
        those of the unsigned convention.
    """

    bitpix: int
    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    def __post_init__(self) -> None:
        if self.bitpix not in _STORED:
            raise ValueError(f"BITPIX is {self.bitpix}, not one of {', '.join(map(str, _STORED))}")

    @cached_property
    def stored(self) -> np.dtype[Any]:
        """Type of the bytes in the file."""
        return np.dtype(_STORED[self.bitpix])

    @property
    def is_scaled(self) -> bool:
        """Whether stored numbers differ from physical values."""
        return self.bscale != 1.0 or self.bzero != 0.0

    @property
    def _offset_integer(self) -> str | None:
        return _OFFSET_INTEGERS.get((self.bitpix, self.bzero)) if self.bscale == 1.0 else None

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Native type of the decoded pixels: astropy's choice, but for unsigned integers with BLANK."""
        if self.bitpix < 0 or not (self.is_scaled or self.blank is not None):
            return self.stored.newbyteorder("=")
        if self._offset_integer and self.blank is None:
            return np.dtype(self._offset_integer)
        return np.dtype("float64" if self.bitpix > 16 else "float32")

    @cached_property
    def flip(self) -> int | None:
        """Bits to flip in a stored number to have its physical value; None if that takes arithmetic."""
        if self.dtype.itemsize != self.stored.itemsize or (self.blank is not None and self.bitpix > 0):
            return None
        if not self.is_scaled:
            return 0
        return 1 << (self.bitpix - 1) if self._offset_integer else None

    def decode(self, stored: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the physical values of ``stored`` (in either byte order) into ``out`` (of type ``dtype``)."""
        if self.is_scaled and out.dtype.kind in "iu":
            _shift(stored, out)
            return
        out[...] = stored
        if self.bscale != 1.0:
            np.multiply(out, self.bscale, out=out, casting="unsafe")
        if self.bzero != 0.0:
            np.add(out, self.bzero, out=out, casting="unsafe")
        if self.blank is not None and self.bitpix > 0:
            out[stored == self.blank] = np.nan


def _shift(stored: NDArray[Any], out: NDArray[Any]) -> None:
    """Swap bytes and flip the sign bit: adding half the range to a two's-complement number."""
    bits = np.dtype(f"u{out.dtype.itemsize}")
    swapped = out.view(bits)
    swapped[...] = stored.view(bits.newbyteorder(stored.dtype.byteorder))
    np.bitwise_xor(swapped, bits.type(1 << (8 * bits.itemsize - 1)), out=swapped)
