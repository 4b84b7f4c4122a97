"""What the addresses of seeded faces mean, remembered while they are asked for again and again.

Knows nothing about requests. Reading an address takes several times as long as answering it from
the cache; what it means changes only with the model.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass

from service.pipeline import Face

ADDRESSES = 4096
"""Addresses that are remembered, a few kilobytes each."""

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


def raw_headers(headers: dict[str, str]) -> RawHeaders:
    """`headers` as ASGI sends them; ValueError where one is not Latin-1."""
    return [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()]
