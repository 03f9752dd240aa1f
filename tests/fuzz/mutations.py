"""Damage to the bytes of a file: what disks, networks, editors and malice do."""

from __future__ import annotations

import random
from collections.abc import Callable

# Values at which parsers err: limits of integers, numbers without end, names of our own files, brackets without end.
_WORDS = (
    *(b"", b"\x00", b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"\x00" * 8, b"\x01" * 16),
    *(b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"null", b"true", b"9" * 30, b"1e308", b"-0.0", b"0.1", b'"', b"\\"),
    *(b"[", b"{", b"}", b"]", b",", b":", b"[" * 3000, b"{}", b"[]", b'""', b"\n", b"\r\n", b"\t", b";", b"\x1b[2J"),
    *(b"../", b"/dev/zero", b"\xed\xa0\x80", "é".encode(), "\u202e".encode(), b"shape", b"dtype", b"F64", b"I8"),
)


def _flip(choose: random.Random, body: bytearray) -> None:
    if body:
        body[choose.randrange(len(body))] ^= 1 << choose.randrange(8)


def _set(choose: random.Random, body: bytearray) -> None:
    if body:
        body[choose.randrange(len(body))] = choose.randrange(256)


def _cut(choose: random.Random, body: bytearray) -> None:
    del body[choose.randrange(len(body) + 1) :]


def _delete(choose: random.Random, body: bytearray) -> None:
    start = choose.randrange(len(body) + 1)
    del body[start : start + choose.choice([1, 2, 8, 100])]


def _repeat(choose: random.Random, body: bytearray) -> None:
    start = choose.randrange(len(body) + 1)
    body[start:start] = body[start : start + choose.choice([1, 8, 64, 1000])]


def _swap(choose: random.Random, body: bytearray) -> None:
    """Move a piece from one place to another."""
    one, two = sorted(choose.randrange(len(body) + 1) for _ in range(2))
    piece = bytes(body[one : one + 16])
    body[two : two + len(piece)] = piece


def _insert(choose: random.Random, body: bytearray) -> None:
    start = choose.randrange(len(body) + 1)
    body[start:start] = choose.choice(_WORDS)


def _overwrite(choose: random.Random, body: bytearray) -> None:
    start, word = choose.randrange(len(body) + 1), choose.choice(_WORDS)
    body[start : start + len(word)] = word


def _digits(choose: random.Random, body: bytearray) -> None:
    """Put another number in the place of one that is written out."""
    places = [place for place, byte in enumerate(body) if 48 <= byte <= 57]
    if places:
        start = choose.choice(places)
        end = start
        while end < len(body) and 48 <= body[end] <= 57:
            end += 1
        body[start:end] = choose.choice([b"0", b"1", b"7", b"-3", b"2147483648", b"1" + b"0" * 18, b"1.5", b"1e400"])


_KINDS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    *(_flip, _set, _cut, _delete, _repeat, _swap),
    *(_insert, _overwrite, _digits, _digits, _overwrite),
)


def mutate(body: bytes, seed: int) -> bytes:
    """Return a body after one to four changes, which depend on the seed alone."""
    choose, changed = random.Random(seed), bytearray(body)
    for _ in range(choose.choice([1, 1, 1, 2, 4])):
        choose.choice(_KINDS)(choose, changed)
    return bytes(changed)
