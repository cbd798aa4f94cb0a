"""A request is encoded once; then fields of fixed width are written over, in thousands of copies, by numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
SIGNS = "~^|`"
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


class Marks:
    """Values that occur nowhere else, to be found again in the encoded request."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def raw(self, size: int) -> bytes:
        """Random bytes, none of them ASCII, so that no text holds them."""
        return self._rng.integers(128, 256, size).astype(np.uint8).tobytes()

    def number(self) -> tuple[int, bytes]:
        """A fixed64 and its bytes, positive as an int64."""
        mark = self.raw(7) + b"\x7e"
        return int.from_bytes(mark, "little"), mark

    def text(self, size: int) -> str:
        """A text of signs that no name or sentence holds."""
        return "".join(SIGNS[at] for at in self._rng.integers(0, len(SIGNS), size))


def located(raw: bytes, marks: Iterable[bytes]) -> list[int]:
    """Offset of each mark; marks come in the order of the bytes. Raises: ValueError where one is missing."""
    offsets, cursor = [], 0
    for mark in marks:
        cursor = raw.index(mark, cursor)
        offsets.append(cursor)
        cursor += len(mark)
    return offsets


class Field:
    """Where values of one width go: [n, width] byte positions."""

    def __init__(self, offsets: Sequence[int], width: int) -> None:
        self.at: I64 = np.array(offsets, np.int64)[:, None] + np.arange(width)

    def __len__(self) -> int:
        return len(self.at)

    def write(self, copy: U8, values: U8) -> None:
        """Write [n, width] bytes."""
        copy[self.at] = values


def as_bytes(values: npt.NDArray[np.generic]) -> U8:
    """Numbers [n] of 64 bits as little-endian bytes [n, 8]; a matrix [n, k] as [n, 8 k]."""
    flat = np.ascontiguousarray(values)
    return flat.view(np.uint8).reshape(len(flat), -1)


def hex_digits(values: U64, digits: int) -> U8:
    """Lower-case hexadecimal, [n, digits]."""
    shifts = np.arange(4 * (digits - 1), -1, -4, dtype=np.uint64)
    return HEX[((values[:, None] >> shifts) & np.uint64(15)).astype(np.intp)]


def decimal_digits(values: I64, digits: int) -> U8:
    """Decimal with leading zeros, [n, digits]."""
    powers = 10 ** np.arange(digits - 1, -1, -1)
    return (48 + values[:, None] // powers % 10).astype(np.uint8)


def numbered(start: int) -> Iterator[int]:
    """Numbers of requests, without end."""
    while True:
        yield start
        start += 1
