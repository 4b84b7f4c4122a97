from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.clients import NOBODY, Clients
from service.errors import SettingsError, UnauthorizedError

PROXIES = tuple(ip_network(n) for n in ("10.0.0.0/8", "127.0.0.1/32", "2001:db8:ff::/48"))


def clients(*, keys=(), required=False, proxies=PROXIES):
    return Clients(
        api_keys=[SecretStr(key) for key in keys],
        api_key_required=required,
        trusted_proxies=proxies,
    )


def scope(peer="203.0.113.9", **headers):
    pairs = []
    for name, values in headers.items():
        for value in [values] if isinstance(values, str | bytes) else values:
            raw = value if isinstance(value, bytes) else value.encode()
            pairs.append((name.replace("_", "-").encode(), raw))
    return {"client": peer and (peer, 1234), "headers": pairs}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        # Whoever is not trusted may claim what it likes.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.1.2.3", (), "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        # Only the hop that a trusted proxy saw counts, not what the client wrote before it.
        ("10.1.2.3", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["192.0.2.66, 198.51.100.1, 10.9.9.9, 127.0.0.1"], "198.51.100.1"),
        ("10.1.2.3", ["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        # Several header lines are one list.
        ("10.1.2.3", ["192.0.2.66", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        # What cannot be read ends the walk at the last hop that is vouched for.
        ("10.1.2.3", ["unknown"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1, unknown, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1,, 10.9.9.9"], "10.9.9.9"),
        # Ports and brackets.
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::"),
        ("10.1.2.3", ["[2001:db8:1:2:3::4]"], "2001:db8:1:2::"),
        # IPv6: a whole /64 is one subscriber; an IPv4 address in IPv6 clothes is that address.
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", (), "2001:db8:1:2::"),
        ("2001:db8:ff::1", ["2001:db8:5:6::7"], "2001:db8:5:6::"),
        ("::ffff:203.0.113.9", (), "203.0.113.9"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", (), "fe80::"),
    ],
)
def test_the_address_is_the_nearest_one_that_is_not_a_trusted_proxy(peer, forwarded, expected):
    found = clients().identify(scope(peer, x_forwarded_for=list(forwarded)))
    assert found == f"address-{expected}"


def test_nothing_is_believed_where_no_proxy_is_trusted():
    found = clients(proxies=()).identify(scope("127.0.0.1", x_forwarded_for="198.51.100.1"))
    assert found == "address-127.0.0.1"


def test_the_forwarded_header_is_not_believed():
    found = clients().identify(scope("10.1.2.3", forwarded="for=192.0.2.66"))
    assert found == "address-10.1.2.3"


@pytest.mark.parametrize("peer", [None, "", "testclient"])
def test_those_without_an_address_are_one_client(peer):
    assert clients().identify(scope(peer, x_forwarded_for="198.51.100.1")) == NOBODY


def test_a_key_names_the_client_wherever_it_is():
    known = clients(keys=["first-key", "second-key"])
    here = known.identify(scope("203.0.113.9", x_api_key="second-key"))
    there = known.identify(scope("198.51.100.1", x_api_key="second-key"))
    other = known.identify(scope("198.51.100.1", x_api_key="first-key"))
    assert here == there != other
    assert "second" not in here


@pytest.mark.parametrize(
    "key", ["wrong", "", "first-key ", b"\xff\xfe", ["first-key", "first-key"]]
)
def test_a_key_that_is_none_of_ours_is_refused_and_not_repeated(key):
    with pytest.raises(UnauthorizedError, match="none of those") as caught:
        clients(keys=["first-key"]).identify(scope(x_api_key=key))
    assert "wrong" not in str(caught.value)


def test_a_key_is_needed_only_where_it_is_required():
    assert clients(keys=["k"]).identify(scope()) == "address-203.0.113.9"
    with pytest.raises(UnauthorizedError, match="X-API-Key"):
        clients(keys=["k"], required=True).identify(scope())
    assert clients(keys=["k"], required=True).identify(scope(x_api_key="k")).startswith("key-")


def test_where_no_keys_are_set_none_is_looked_at():
    assert clients().identify(scope(x_api_key="anything")) == "address-203.0.113.9"


def test_required_without_keys_would_lock_everybody_out():
    with pytest.raises(SettingsError, match="VISAGE_API_KEYS is empty"):
        clients(required=True)


HOPS = st.one_of(
    st.ip_addresses().map(lambda a: str(a).encode()),
    st.ip_addresses(v=6).map(lambda a: f"[{a}]:80".encode()),
    st.binary(max_size=20),
    st.sampled_from([b"10.0.0.1", b"[", b"]", b"[::1", b"::ffff:1.2.3.4", b":", b"1.2.3.4:"]),
)


@given(st.lists(HOPS, max_size=6).map(b", ".join), st.ip_addresses().map(str))
def test_no_header_breaks_it_and_strangers_are_who_they_are(header, peer):
    found = clients().identify(scope("10.0.0.1", x_forwarded_for=header))
    assert found.startswith("address-")
    bare = clients(proxies=()).identify(scope(peer, x_forwarded_for=header))
    assert bare == clients(proxies=()).identify(scope(peer))
