"""Bytes → other bytes, nearly the same. Each edit is a function of its input and the generator.

Knows formats only as far as their checksums: what a reader refuses at its first look finds nothing
behind it.
"""

import io
import json
import struct
import zipfile
import zlib
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 63, 64, 127, 128, 255, 256, 1024, 4096, 65535, 65536, 2**24)
NUMBERS += (2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1)
TOKENS = (b"\0", b"\xff", b"\xff\xfe", b"%00", b"%", b"..", b"/", b"\r\n", b"\n", b",", b"~1", b'"')
TOKENS += (b"{", b"}", b"[", b"]", b":", b"&", b"=", b"+", b"-", b"1e999", b"NaN", b"\\ud800")
TOKENS += (b"\xed\xa0\x80", b"\xc3\xa9", b"null", b"true", b"<", b"&lt;", b"]]>", b"<!DOCTYPE a>")
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    0.5,
    -0.0,
    1e308,
    10**30,
    "",
    "a",
    "é",
    [],
    {},
    [[]],
)
VALUES += (2**31, 2**63, "0", "\ud800", "../..", "\0", [None], {"": 0}, "x" * 300, 10**400)


def edit_bytes(data: bytes, random: Random) -> bytes:
    """A few bytes changed, taken out, doubled, or replaced by something of another kind."""
    at = random.randint(0, len(data))
    end = min(len(data), at + int(random.expovariate(1 / 16)) + 1)
    match random.randrange(8):
        case 0:
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        case 1:
            flipped = bytes([data[at] ^ 1 << random.randrange(8)]) if at < len(data) else b""
            return data[:at] + flipped + data[at + 1 :]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:end] + data[at:end] * random.choice((1, 2, 20)) + data[end:]
        case 4:
            return data[:at] + random.choice(TOKENS) * random.choice((1, 1, 1, 50)) + data[at:]
        case 5:
            width = random.choice((1, 2, 4, 8))
            number = random.choice(NUMBERS) % 256**width
            return (
                data[:at]
                + number.to_bytes(width, random.choice(("big", "little")))
                + data[at + width :]
            )
        case 6:
            return data[:at] + random.randbytes(end - at) + data[end:]
        case _:
            return data[:at] if random.random() < 0.5 else data[at:]


def edit_json(data: bytes, random: Random) -> bytes:
    """One value of a JSON document is another, gone, or there twice."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return edit_bytes(data, random)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any, depth: int = 0) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            places.append((value, key))
            if isinstance(item, (dict, list)) and depth < 40:
                walk(item, depth + 1)

    if isinstance(document, (dict, list)):
        walk(document)
    if not places:
        return json.dumps(random.choice(VALUES)).encode()
    where, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del where[key]
        case 1 if isinstance(where, dict):
            where[random.choice(("", "x", "seeds", "labels", "\ud800", "name"))] = where.pop(key)
        case 2 if isinstance(where, list):
            where.extend([where[key]] * random.choice((1, 3, 300)))
        case 3:
            other, name = random.choice(places)
            try:
                where[key] = json.loads(json.dumps(other[name]))
            except (KeyError, IndexError, ValueError):
                where[key] = None
        case 4 if isinstance(where[key], (int, float)):
            where[key] = random.choice(NUMBERS) * random.choice((1, 1, -1, 0.5))
        case _:
            where[key] = random.choice(VALUES)
    return json.dumps(document).encode()


def edit_png(data: bytes, random: Random) -> bytes:
    """One chunk of a PNG is changed, doubled, moved or packed text, with its checksum right."""
    chunks, at = [], 8
    while at + 12 <= len(data) and len(chunks) < 500:
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return edit_bytes(data, random)
    i = random.randrange(len(chunks))
    kind, payload = chunks[i]
    match random.randrange(5):
        case 0:
            chunks.insert(random.randrange(len(chunks) + 1), chunks[i])
        case 1:
            kinds = (
                b"zTXt",
                b"iTXt",
                b"iCCP",
                b"tRNS",
                b"PLTE",
                b"acTL",
                b"fcTL",
                b"eXIf",
                b"IHDR",
            )
            packed = (
                b"a\0"
                + bytes(random.randrange(3))
                + zlib.compress(bytes(random.choice(NUMBERS) % 2**20))
            )
            chunks.insert(i, (random.choice(kinds), random.choice((packed, payload))))
        case 2 if kind == b"IDAT":
            try:
                rows = zlib.decompressobj().decompress(payload, 2**16)
            except zlib.error:
                rows = b""
            chunks[i] = (kind, zlib.compress(edit_bytes(rows, random)))
        case _:
            chunks[i] = (kind, edit_bytes(payload, random))
    packed_chunks = [
        struct.pack(">I", len(p)) + k + p + struct.pack(">I", zlib.crc32(k + p)) for k, p in chunks
    ]
    return data[:8] + b"".join(packed_chunks)


def edit_zip(data: bytes, random: Random) -> bytes:
    """One member of a zip is changed by its kind, renamed, doubled or packed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [
                (i.filename, archive.read(i)) for i in archive.infolist() if i.file_size < 2**18
            ]
    except Exception:
        return edit_bytes(data, random)
    if not members:
        return edit_bytes(data, random)
    i = random.randrange(len(members))
    if random.random() < 0.5:  # what says what the others are
        i = next((n for n, m in enumerate(members) if m[0].endswith((".json", ".pkl", ".csv"))), i)
    name, content = members[i]
    match random.randrange(10):
        case 0:
            members[i] = (edit_bytes(name.encode(), random).decode("utf-8", "replace"), content)
        case 1:
            del members[i]
        case 2:
            members.append((name, content))
        case _ if name.endswith(".json"):
            members[i] = (name, random.choice((edit_json, edit_json, edit_bytes))(content, random))
        case _ if name.endswith(".png"):
            members[i] = (name, random.choice((edit_png, edit_bytes))(content, random))
        case _:
            members[i] = (name, edit_bytes(content, random))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, inside in members:
            try:
                kind = zipfile.ZIP_DEFLATED if random.random() < 0.02 else zipfile.ZIP_STORED
                archive.writestr(zipfile.ZipInfo(member), inside, compress_type=kind)
            except (ValueError, UnicodeError):
                continue
    return buffer.getvalue()


def edit_safetensors(data: bytes, random: Random) -> bytes:
    """The JSON header of a safetensors file is another, with its length right."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= len(data) - 8:
        return edit_bytes(data, random)
    header = edit_json(data[8 : 8 + length], random)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
