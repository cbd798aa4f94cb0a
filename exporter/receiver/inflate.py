"""gzip, with the size known before anything is inflated."""

from __future__ import annotations

import zlib

import deflate

MAGIC = b"\x1f\x8b"
MEMBER = MAGIC + b"\x08"
SHORTEST = 18  # header and trailer
GZIP_WINDOW = 31  # zlib: 15 bits, gzip wrapper


class TooLargeError(ValueError):
    """More bytes than allowed."""


def is_gzip(body: bytes) -> bool:
    """Whether bytes are gzip. No OTLP request begins so: 0x1f is a wire type that protobuf does not have, and no JSON."""
    return body.startswith(MAGIC)


def claimed_bytes(body: bytes) -> int:
    """What a gzip body says it inflates to (ISIZE of RFC 1952, modulo 2^32), never less than its own length."""
    return max(len(body), int.from_bytes(body[-4:], "little")) if len(body) >= SHORTEST and is_gzip(body) else len(body)


def inflate(body: bytes, limit_bytes: int) -> bytes:
    """Inflate gzip to at most `limit_bytes`.

    libdeflate writes into a buffer of the claimed size, so a body that lies about its size fails instead of growing.
    Raises: TooLargeError past the limit; ValueError where it is no gzip or cut short.
    """
    if len(body) < SHORTEST or not is_gzip(body):
        raise ValueError("not gzip")
    claimed = int.from_bytes(body[-4:], "little")
    if claimed > limit_bytes:
        raise TooLargeError(f"inflates to {claimed} bytes, more than {limit_bytes}")
    if body.find(MEMBER, len(MEMBER)) >= 0:  # libdeflate would stop after the first of several members, and say nothing
        return inflate_members(body, limit_bytes)
    try:
        return bytes(deflate.gzip_decompress(body, max(1, claimed)))
    except (deflate.DeflateError, ValueError):
        return inflate_members(body, limit_bytes)


def inflate_members(body: bytes, limit_bytes: int) -> bytes:
    """As inflate, by zlib: several members one after another are legal gzip."""
    whole = b""
    while body:
        stream = zlib.decompressobj(GZIP_WINDOW)
        try:
            whole += stream.decompress(body, limit_bytes - len(whole) + 1)
        except zlib.error as error:
            raise ValueError(f"not gzip: {error}") from None
        if len(whole) > limit_bytes:
            raise TooLargeError(f"inflates to more than {limit_bytes} bytes")
        if not stream.eof:
            raise ValueError("gzip is cut short")
        body = stream.unused_data
    return whole
