"""PNG, WebP and JPEG from the outside: size and metadata, read without decoding a pixel.

Knows nothing about what the metadata means. The bytes come from strangers: no length in them is
believed beyond the end of the file, what is collected is bounded, and nothing raises. Formats:
PNG (W3C, third edition), the WebP container (RFC 9649), JPEG (ITU-T T.81) with XMP part 3.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
"""Keyword of the iTXt chunk that holds an XMP packet in PNG."""
MAX_METADATA = 65_536
"""Bytes of one metadata field that are looked at; longer ones are passed over."""
MAX_FIELDS = 4096
"""Chunks or segments that are looked at in one file."""

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
"""JPEG markers without a length: TEM and the restart markers."""
_SOF = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that start a frame, and so name its size."""
_VP8X_ANIMATION = 0x02


@dataclass(frozen=True)
class Container:
    """What a file says of itself."""

    format: str
    """"png", "webp" or "jpeg"."""
    width: int
    height: int
    animated: bool
    bit_depth: int = 8
    xmp: bytes | None = None
    """The first XMP packet, unparsed."""
    text: Mapping[str, str] = field(default_factory=dict)
    """PNG's tEXt fields, the first of each keyword."""


def inspect(content: bytes) -> Container | None:
    """What `content` is, or None where it is none of the three or has no size."""
    if content.startswith(PNG_SIGNATURE):
        return _inspect_png(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _inspect_webp(content)
    if content.startswith(bytes((0xFF, _SOI))):
        return _inspect_jpeg(content)
    return None


def _inspect_png(content: bytes) -> Container | None:
    width = height = bit_depth = 0
    animated = False
    xmp: bytes | None = None
    text: dict[str, str] = {}
    for kind, payload in _png_chunks(content):
        if kind == b"IHDR" and len(payload) == 13 and not width:
            width, height = _big(payload[:4]), _big(payload[4:8])
            bit_depth = payload[8]
        elif kind == b"acTL":
            animated = True
        elif kind == b"tEXt" and b"\0" in payload:
            keyword, value = payload.split(b"\0", 1)
            text.setdefault(keyword.decode("latin-1"), value.decode("latin-1"))
        elif kind == b"iTXt" and xmp is None and payload.startswith(XMP_KEYWORD + b"\0\0"):
            # Uncompressed; its method, language and translated keyword come before the text.
            fields = payload[len(XMP_KEYWORD) + 3 :].split(b"\0", 2)
            xmp = fields[2] if len(fields) == 3 else None
    if not width or not height:
        return None
    return Container("png", width, height, animated, bit_depth, xmp, text)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and payload of each whole chunk; long ones without their payload."""
    at = len(PNG_SIGNATURE)
    for _ in range(MAX_FIELDS):
        start = at + 8
        end = start + _big(content[at : at + 4])
        if len(content) < start or end > len(content):
            return
        yield content[at + 4 : start], content[start:end] if end - start <= MAX_METADATA else b""
        at = end + 4


def bare_png(content: bytes) -> bytes | None:
    """A PNG with nothing in it but its pixels: its critical chunks, and transparency.

    Decoders unpack texts and colour profiles before anybody asks for them, each time they come.
    None where there are more than `MAX_FIELDS` chunks, or where one is damaged or cut short.
    """
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    for _ in range(MAX_FIELDS):
        end = at + 12 + _big(content[at : at + 4])
        kind = content[at + 4 : at + 8]
        if end > len(content) or not kind.isalpha():
            return None
        if zlib.crc32(content[at + 4 : end - 4]) != _big(content[end - 4 : end]):
            return None
        if kind[:1].isupper() or kind == b"tRNS":
            kept.append(content[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    return None


def _inspect_webp(content: bytes) -> Container | None:
    size: tuple[int, int] | None = None
    animated = False
    xmp: bytes | None = None
    at = 12
    for _ in range(MAX_FIELDS):
        kind, start = content[at : at + 4], at + 8
        end = start + int.from_bytes(content[at + 4 : start], "little")
        if len(content) < start or end > len(content):
            break
        head = content[start : min(end, start + 10)]
        size = size or _webp_size(kind, head)
        if kind in (b"ANIM", b"ANMF") or (kind == b"VP8X" and head and head[0] & _VP8X_ANIMATION):
            animated = True
        elif kind == b"XMP " and xmp is None and end - start <= MAX_METADATA:
            xmp = content[start:end]
        at = end + (end - start) % 2
    if size is None or 0 in size:
        return None
    return Container("webp", *size, animated, xmp=xmp)


def _webp_size(kind: bytes, head: bytes) -> tuple[int, int] | None:
    """Width and height by the first ten bytes of a chunk, where that is one that names them."""
    if len(head) < (5 if kind == b"VP8L" else 10):
        return None
    if kind == b"VP8X":
        return _little(head[4:7]) + 1, _little(head[7:10]) + 1
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        return _little(head[6:8]) & 0x3FFF, _little(head[8:10]) & 0x3FFF
    if kind == b"VP8L" and head[0] == 0x2F:
        bits = _little(head[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _inspect_jpeg(content: bytes) -> Container | None:
    width = height = bit_depth = 0
    xmp: bytes | None = None
    for marker, payload in _jpeg_segments(content):
        if marker in _SOF and len(payload) >= 5 and not width:
            bit_depth, height, width = payload[0], _big(payload[1:3]), _big(payload[3:5])
        elif marker == _APP1 and xmp is None and payload.startswith(_JPEG_XMP):
            xmp = payload[len(_JPEG_XMP) :]
    if not width or not height:
        return None
    return Container("jpeg", width, height, False, bit_depth, xmp)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each whole segment before the first scan."""
    at = 2
    for _ in range(MAX_FIELDS):
        if content[at : at + 1] != b"\xff" or len(content) < at + 4:
            return
        marker = content[at + 1]
        if marker in (_SOS, _EOI):
            return
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        end = at + 2 + _big(content[at + 2 : at + 4])
        if end < at + 4 or end > len(content):
            return
        yield marker, content[at + 4 : end]
        at = end


def _big(digits: bytes) -> int:
    return int.from_bytes(digits, "big")


def _little(digits: bytes) -> int:
    return int.from_bytes(digits, "little")
