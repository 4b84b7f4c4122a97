"""Who is asking: an API key, or else an address behind the proxies that are believed.

Knows nothing about quotas or routes. What comes out names a client and tells nobody its key.

Only X-Forwarded-For is read, and only as far as trusted proxies vouch for it: each appends the
address that spoke to it, so the list is walked from its end. `Forwarded` (RFC 7239) is not
read: a proxy that sets the one hands on the other as the client invented it.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

from pydantic import SecretStr
from starlette.types import Scope

from service.errors import SettingsError, UnauthorizedError

NOBODY = "address-unknown"
"""All who come without an address (a Unix socket) are one client."""

Address = IPv4Address | IPv6Address


class Clients:
    """Tells clients apart. SettingsError where keys are required but there are none."""

    def __init__(
        self,
        *,
        api_keys: Sequence[SecretStr],
        api_key_required: bool,
        trusted_proxies: Sequence[IPv4Network | IPv6Network],
    ) -> None:
        if api_key_required and not api_keys:
            raise SettingsError(
                "VISAGE_API_KEY_REQUIRED is true, but VISAGE_API_KEYS is empty, so nobody could "
                "ask for anything: set some keys (see docs/settings.md)"
            )
        self._digests = tuple(sha256(k.get_secret_value().encode()).digest() for k in api_keys)
        self._required = api_key_required
        self._trusted = tuple(trusted_proxies)

    @property
    def keyed(self) -> bool:
        """Whether it matters who asks even where nobody is counted."""
        return bool(self._digests)

    def identify(self, scope: Scope) -> str:
        """A name for the client behind an ASGI request: the same each time, and no secret.

        UnauthorizedError where its key is none of ours, or missing while one is required. Where
        no keys are set, none is looked at.
        """
        if self._digests:
            given = _values(scope, b"x-api-key")
            if given:
                return self._by_key(given)
            if self._required:
                raise UnauthorizedError("Pictures need an API key here: send it as X-API-Key.")
        address = self._address(scope)
        return NOBODY if address is None else f"address-{_subscriber(address)}"

    def _by_key(self, given: Sequence[bytes]) -> str:
        digest = sha256(given[0]).digest()
        # Every key is compared, in constant time: how long it takes says nothing about any.
        known = [hmac.compare_digest(digest, ours) for ours in self._digests]
        if len(given) > 1 or not any(known):
            raise UnauthorizedError("This X-API-Key is none of those that count here.")
        return f"key-{digest.hex()[:32]}"

    def _address(self, scope: Scope) -> Address | None:
        peer = _parsed(scope["client"][0]) if scope.get("client") else None
        if peer is None or not self._trusts(peer):
            return peer
        hops = b",".join(_values(scope, b"x-forwarded-for")).decode("latin-1").split(",")
        nearest = peer
        for hop in reversed(hops):
            address = _parsed(hop)
            if address is None:
                break  # unreadable: the client is at least as far as the last one known
            nearest = address
            if not self._trusts(address):
                break
        return nearest

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _parsed(text: str) -> Address | None:
    """An address as proxies write it, with or without brackets and port; None where it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _subscriber(address: Address) -> Address:
    """Who has one IPv6 address has 2^64 of them: their network is the client."""
    if isinstance(address, IPv6Address):
        return IPv6Address(int(address) >> 64 << 64)
    return address
