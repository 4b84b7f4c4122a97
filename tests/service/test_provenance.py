"""What is written is read back from every format; what strangers send never does harm."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from service.animation import animate
from service.containers import MAX_METADATA, inspect
from service.encoder import encode
from service.provenance import MAX_CLAIM, NAMESPACE, Claims, png_text, read_claims, xmp_packet

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200)
CLAIMS = Claims("7", "faces-64@0123456789ab", "gender=female&age=60%2B")
FACE = np.random.RandomState(7).randint(0, 256, (24, 24, 3)).astype(np.uint8)
OURS = {
    "png": encode(FACE, "png", claims=CLAIMS),
    "webp": encode(FACE, "webp", claims=CLAIMS),
    "jpeg": encode(FACE, "jpeg", claims=CLAIMS),
    "animated webp": animate([FACE, FACE[::-1]], "webp", claims=CLAIMS),
    "apng": animate([FACE, FACE[::-1]], "apng", claims=CLAIMS),
}


def png_with(xmp: bytes) -> bytes:
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode("latin-1"))
    Image.fromarray(FACE).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def saved(format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", ["png", "webp", "jpeg"])
@given(seed=PRINTABLE, model=PRINTABLE, labels=PRINTABLE | st.just(""))
@settings(max_examples=25)
def test_claims_are_read_back_as_written(format_, seed, model, labels):
    claims = Claims(seed, model, labels)
    assert read_claims(encode(FACE[:1, :1], format_, claims=claims)) == claims


@pytest.mark.parametrize("kind", OURS)
def test_every_kind_of_picture_carries_them(kind):
    assert read_claims(OURS[kind]) == CLAIMS


@pytest.mark.parametrize("kind", OURS)
def test_size_and_animation_stand_in_the_header(kind):
    container = inspect(OURS[kind])
    assert (container.width, container.height) == (24, 24)
    assert container.animated == (kind in ("animated webp", "apng"))


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@given(width=st.integers(1, 300), height=st.integers(1, 300), lossless=st.booleans())
@settings(max_examples=15)
def test_sizes_are_those_that_pillow_writes(format_, width, height, lossless):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format_, lossless=lossless)
    container = inspect(buffer.getvalue())
    assert (container.width, container.height) == (width, height)
    assert container.format == format_.lower()
    assert read_claims(buffer.getvalue()) is None


def test_sixteen_bits_are_told():
    buffer = io.BytesIO()
    Image.new("I;16", (4, 4)).save(buffer, "PNG")
    assert inspect(buffer.getvalue()).bit_depth == 16


def test_a_packet_rewritten_with_attributes_is_read():
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:v="{NAMESPACE}" v:Seed="7" v:Model="m@0"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    assert read_claims(png_with(packet.encode())) == Claims("7", "m@0", "")


def test_text_fields_alone_are_enough():
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    for key, value in png_text(CLAIMS):
        info.add_text(key, value)
    Image.fromarray(FACE).save(buffer, "PNG", pnginfo=info)
    assert read_claims(buffer.getvalue()) == CLAIMS


def test_a_model_without_attributes_writes_no_labels():
    claims = Claims("7", "m@0", "")
    assert b"Labels" not in encode(FACE, "png", claims=claims)
    assert read_claims(encode(FACE, "png", claims=claims)) == claims


@pytest.mark.parametrize("stranger", ["PNG", "WEBP", "JPEG", "GIF", "BMP"])
def test_strangers_claim_nothing(stranger):
    assert read_claims(saved(stranger)) is None


@pytest.mark.parametrize(
    "claims", [("", "m", ""), ("7", "", ""), ("é", "m", ""), ("7", "m", "x" * (MAX_CLAIM + 1))]
)
def test_what_no_picture_can_say_is_no_claim(claims):
    with pytest.raises(ValueError, match=r"ASCII|nothing"):
        Claims(*claims)


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
    f'<x xmlns:v="{NAMESPACE}"><v:Seed>&c;</v:Seed><v:Model>m</v:Model></x>'
)
FETCH = (
    '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    f'<x xmlns:v="{NAMESPACE}"><v:Seed>&f;</v:Seed><v:Model>m</v:Model></x>'
)
NESTED = "<x>" * 5000 + f'<v:Seed xmlns:v="{NAMESPACE}">7</v:Seed>' + "</x>" * 5000
HUGE = f'<x xmlns:v="{NAMESPACE}"><v:Seed>7</v:Seed><v:Model>{"m" * MAX_METADATA}</v:Model></x>'
UNDEFINED = f'<x xmlns:v="{NAMESPACE}"><v:Seed>&f;</v:Seed><v:Model>m</v:Model></x>'
OTHER_ENCODING = f'<?xml version="1.0" encoding="utf-7"?><x xmlns:v="{NAMESPACE}" v:Seed="7"/>'


@pytest.mark.parametrize("packet", [LAUGHS, FETCH, NESTED, HUGE, UNDEFINED, OTHER_ENCODING, "<x"])
def test_hostile_packets_claim_nothing(packet):
    assert read_claims(png_with(packet.encode())) is None


def test_a_compressed_packet_is_not_blown_up():
    bomb = zlib.compress(b" " * 2**24)
    payload = b"XML:com.adobe.xmp\0\1\0\0\0" + bomb
    chunk = struct.pack(">I", len(payload)) + b"iTXt" + payload + b"\0\0\0\0"
    plain = saved("PNG")
    assert read_claims(plain[:33] + chunk + plain[33:]) is None


def test_lengths_beyond_the_end_are_not_believed():
    for content in OURS.values():
        for cut in range(0, len(content), 7):
            found = read_claims(content[:cut])
            assert found is None or (found.seed, found.model) == (CLAIMS.seed, CLAIMS.model)


@given(st.sampled_from(sorted(OURS)), st.data())
@settings(max_examples=150)
def test_no_damage_raises(kind, data):
    content = bytearray(OURS[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read_claims(bytes(content))


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\xff\0\0WEBP", b"\xff\xd8"]), st.binary()
)
@example(b"\xff\xd8", b"\xff" * 5000)
@example(b"\xff\xd8", b"\xff\xd0" * 5000)
@example(b"\xff\xd8", b"\xff\xe1\0\0" * 5000)
@example(b"\x89PNG\r\n\x1a\n", bytes(100_000))
@example(b"RIFF\xff\xff\0\0WEBP", bytes(100_000))
@settings(max_examples=150)
def test_no_bytes_at_all_raise(start, rest):
    assert read_claims(start + rest) is None


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_no_packet_raises(packet):
    read_claims(png_with(xmp_packet(CLAIMS)[:40] + packet))
