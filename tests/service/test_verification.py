"""Verdicts over a renderer that is a plain function."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from service.animation import animate
from service.encoder import encode
from service.png import encode_png
from service.provenance import Claims, png_text, xmp_packet
from service.verification import Verification, verify

CLAIMS = Claims("7", "faces@0123", "age=60%2B")
FACE = np.random.RandomState(7).randint(0, 256, (24, 24, 3)).astype(np.uint8)
FORMATS = ("png", "webp", "jpeg")


async def render(claims: Claims, format_: str, size: int) -> bytes | None:
    """A server that knows one face."""
    return encode(FACE, format_, claims=claims, size=size) if claims == CLAIMS else None


async def never(claims: Claims, format_: str, size: int) -> bytes | None:
    raise AssertionError("there is nothing to render")


def resaved(content: bytes, change=lambda pixels: pixels, **options) -> bytes:
    """The picture after another program: the same metadata around `change`d pixels."""
    picture = Image.open(io.BytesIO(content))
    info = PngImagePlugin.PngInfo()
    for key, value in getattr(picture, "text", {}).items():
        info.add_itxt(key, value) if key.startswith("XML") else info.add_text(key, value)
    buffer = io.BytesIO()
    saved = Image.fromarray(change(np.array(picture)))
    saved.save(buffer, picture.format, pnginfo=info, xmp=picture.info.get("xmp"), **options)
    return buffer.getvalue()


def one_pixel(pixels: np.ndarray) -> np.ndarray:
    pixels[5, 6, 1] ^= 1
    return pixels


async def assert_claims_only(content: bytes, detail: str, render=never) -> Verification:
    found = await verify(content, render)
    assert (found.verdict, found.claims) == ("claims_only", CLAIMS)
    assert detail in found.detail
    return found


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [24, 16, 100])
async def test_our_picture_is_reproduced_in_every_format_and_size(format_, size):
    found = await verify(encode(FACE, format_, claims=CLAIMS, size=size), render)
    assert (found.verdict, found.claims) == ("reproduced", CLAIMS)


async def test_pixels_count_not_bytes():
    other = resaved(encode(FACE, "png", claims=CLAIMS), compress_level=9)
    assert other != encode(FACE, "png", claims=CLAIMS)
    found = await verify(other, render)
    assert (found.verdict, found.detail) == (
        "reproduced",
        "This server makes the very same pixels.",
    )


async def test_one_changed_pixel_is_only_a_claim():
    forged = resaved(encode(FACE, "png", claims=CLAIMS), one_pixel)
    await assert_claims_only(forged, "pixels are not those", render)


@pytest.mark.parametrize("format_", ["webp", "jpeg"])
async def test_saving_it_again_lossily_is_only_a_claim(format_):
    again = resaved(encode(FACE, format_, claims=CLAIMS), quality=70)
    await assert_claims_only(again, "pixels are not those", render)


async def test_what_this_server_cannot_render_is_only_a_claim():
    async def other_model(*_):
        return None

    picture = encode(FACE, "png", claims=CLAIMS)
    await assert_claims_only(picture, "cannot make the picture", other_model)


async def test_a_latent_is_not_kept_in_the_picture():
    claims = Claims("latent-0123456789abcdef", "faces@0123", "")

    async def render(*_):
        return encode(FACE[::-1], "png", claims=claims)

    found = await verify(encode(FACE, "png", claims=claims), render)
    assert (found.verdict, found.claims) == ("claims_only", claims)
    assert "latent vector" in found.detail


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "JPEG"])
async def test_a_strangers_picture_is_unknown(format_):
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, format_)
    found = await verify(buffer.getvalue(), never)
    says_nothing = "The picture says nothing about where it is from."
    assert found == Verification("unknown", None, says_nothing)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\xff\xd8"]
)
async def test_what_is_no_picture_is_unknown(content):
    found = await verify(content, never)
    assert (found.verdict, found.claims) == ("unknown", None)


def header_only(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG that promises much and holds nothing."""
    plain = encode_png(FACE, text=png_text(CLAIMS), xmp=xmp_packet(CLAIMS))
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return plain[:12] + header + struct.pack(">I", zlib.crc32(header)) + plain[33:]


@pytest.mark.parametrize("side", [1025, 30_000, 2**31 - 1])
async def test_large_pictures_are_refused_by_their_header(side):
    await assert_claims_only(header_only(side, side), "more than any single face")


async def test_a_webp_that_promises_gigabytes_is_refused_by_its_header():
    content = encode(FACE, "webp", claims=CLAIMS)
    assert content[12:16] == b"VP8X"
    side = (16_000).to_bytes(3, "little")
    await assert_claims_only(content[:24] + side + side + content[30:], "more than any single face")


async def test_a_jpeg_that_promises_much_is_refused_by_its_header():
    content = encode(FACE, "jpeg", claims=CLAIMS)
    at = content.index(b"\xff\xc0")
    grown = content[: at + 5] + struct.pack(">HH", 60_000, 60_000) + content[at + 9 :]
    await assert_claims_only(grown, "more than any single face")


async def test_no_face_is_oblong_or_has_sixteen_bits():
    oblong = encode(FACE[:12], "png", claims=CLAIMS)
    await assert_claims_only(oblong, "square")
    await assert_claims_only(header_only(24, 24, depth=16), "16 bits")


@pytest.mark.parametrize("format_", ["webp", "apng"])
async def test_an_animation_is_not_judged_by_its_first_frame(format_):
    await assert_claims_only(animate([FACE, 255 - FACE], format_, claims=CLAIMS), "animation")


async def test_transparent_pixels_are_other_pixels():
    alpha = np.full((24, 24, 1), 255, np.uint8)
    alpha[3, 3] = 0
    content = encode_png(
        np.concatenate([FACE, alpha], axis=2), text=png_text(CLAIMS), xmp=xmp_packet(CLAIMS)
    )
    await assert_claims_only(content, "cannot be read", render)


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_truncated_picture_is_damaged(format_):
    content = encode(FACE, format_, claims=CLAIMS)
    cut = content[: len(content) * 4 // 5] if format_ != "webp" else content
    if format_ == "webp":  # whole as a container, hollow inside
        at = content.index(b"VP8 ") + 40
        cut = content[:at] + bytes(100) + content[at + 100 :]
    found = await verify(cut, render)
    assert found.verdict in ("claims_only", "unknown")


async def test_a_jpeg_of_ten_thousand_scans_is_not_decoded():
    content = encode(FACE, "jpeg", claims=CLAIMS)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(4)
    await assert_claims_only(content[:-2] + scan * 10_000 + b"\xff\xd9", "damaged", render)


def chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + checksum


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26))),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**20 - 1))) * 1000,
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2**20 - 1))) * 1000,
        chunk(b"iCCP", b"Profile\0\0" + zlib.compress(bytes(2**20 - 1))) * 1000,
    ],
    ids=["one text", "texts", "international texts", "profiles"],
)
async def test_what_unpacks_to_gigabytes_is_not_unpacked(bomb, monkeypatch):
    seen = []
    opened = Image.open
    monkeypatch.setattr(
        Image,
        "open",
        lambda file, **more: seen.append(len(file.getvalue())) or opened(file, **more),
    )
    content = encode(FACE, "png", claims=CLAIMS)
    found = await verify(content[:-12] + bomb + content[-12:], render)
    assert (found.verdict, found.claims) == ("reproduced", CLAIMS)
    assert max(seen) < len(content)


async def test_a_png_of_very_many_chunks_is_not_decoded():
    content = encode(FACE, "png", claims=CLAIMS)
    many = content[:-12] + chunk(b"iCCP", b"Profile\0\0") * 5000 + content[-12:]
    await assert_claims_only(many, "damaged", render)


async def test_what_a_second_header_promises_is_not_decoded():
    content = encode(FACE, "png", claims=CLAIMS)
    promise = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    await assert_claims_only(content[:33] + promise + content[33:], "damaged", render)


@given(st.sampled_from(FORMATS), st.data())
@settings(max_examples=80)
async def test_no_damage_raises_or_is_reproduced_wrongly(format_, data):
    content = bytearray(encode(FACE, format_, claims=CLAIMS))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = await verify(bytes(content), render)
    if found.verdict == "reproduced":
        shown = np.asarray(Image.open(io.BytesIO(bytes(content))))
        expected = Image.open(io.BytesIO(encode(FACE, format_, claims=CLAIMS)))
        assert np.array_equal(shown, np.asarray(expected))
