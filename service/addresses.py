"""What the addresses of seeded faces mean, remembered while they are asked for again and again.

Knows nothing about requests. Reading an address takes several times as long as answering it from
the cache; what it means changes only with the model. And which addresses are certainly new.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass

from service.pipeline import Face

ADDRESSES = 4096
"""Addresses that are remembered, a few kilobytes each."""

SLOTS = 2**20
"""Of Seen: a byte each, twice. An eighth of them filled, and the older generation goes."""

LONGEST_ACCEPT = 1024
"""Characters of an Accept header that is remembered with its address: browsers send a fifth."""

RawHeaders = list[tuple[bytes, bytes]]
"""As ASGI sends them."""


@dataclass(frozen=True)
class Meaning:
    """One address, read in the terms of `face.spec`."""

    model: str | None
    """The model it names, if any."""
    face: Face
    etag: str
    headers: RawHeaders
    """Of every answer about the face that is not an error."""
    pictures: int = 1
    """What a request for it costs: among how many it was chosen."""


Addresses = MutableMapping[tuple[str, bytes, str], Meaning]
"""Path, query and Accept header → what is meant."""


class Seen:
    """Which of the last addresses may have been added: no for certain, or perhaps.

    A Bloom filter with one hash, in two generations: the last 130,000 are in it, and at worst a
    fifth of all others seem to be.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._new, self._old = bytearray(slots), bytearray(slots)
        self._filled = 0

    def add(self, address: tuple[str, bytes]) -> None:
        """`address`: path and query."""
        slot = hash(address) % self._slots
        if not self._new[slot]:
            self._new[slot] = 1
            self._filled += 1
        if self._filled > self._slots // 8:
            self._old, self._new, self._filled = self._new, bytearray(self._slots), 0

    def __contains__(self, address: tuple[str, bytes]) -> bool:
        slot = hash(address) % self._slots
        return bool(self._new[slot] or self._old[slot])


def raw_headers(headers: dict[str, str]) -> RawHeaders:
    """`headers` as ASGI sends them; ValueError where one is not Latin-1."""
    return [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()]
