"""What the service reads: pictures to verify, addresses, bodies, headers, Redis."""

import asyncio
import io
import struct
import zlib
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from random import Random
from urllib.parse import parse_qsl

import numpy as np
from fakes import ATTRIBUTES
from fastapi.exceptions import RequestValidationError
from fuzz.mutation import edit_bytes, edit_json, edit_png
from fuzz.parsers import Parser
from PIL import Image

from service.animation import animate
from service.choice_params import BestOf
from service.clients import Clients
from service.encoder import encode
from service.errors import InvalidParametersError, VisageError
from service.exchange import disposition, matches
from service.labels import AttributeSpace
from service.many_items import items_of
from service.morph_params import parse_morph
from service.params import parse_face, split_extension
from service.problems import _as_invalid
from service.provenance import Claims, read_claims
from service.redis_store import _opened, _sealed
from service.routes.many import _parse
from service.routes.verify import ClaimsAnswer
from service.verification import verify

SPACE = AttributeSpace(ATTRIBUTES)
CLAIMS = Claims("7", "faces@0123456789ab", "gender=female&age=60%2B")
PIXELS = np.random.RandomState(7).randint(0, 256, (16, 16, 3)).astype(np.uint8)
_LOOP = asyncio.new_event_loop()


async def _render(claims: Claims, format_: str, size: int) -> bytes | None:
    return _face(format_)


@cache
def _face(format_: str) -> bytes:
    return encode(PIXELS, format_, claims=CLAIMS)


def _pictures() -> list[bytes]:
    progressive = io.BytesIO()
    smooth = Image.fromarray(PIXELS).resize((64, 64))
    smooth.save(progressive, "JPEG", progressive=True, xmp=_xmp(), exif=_exif(smooth))
    chunk = b"iCCPa\0\0" + zlib.compress(bytes(2**16))
    profile = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    png = _face("png")
    return [
        *(_face(format_) for format_ in ("png", "webp", "jpeg")),
        *(animate([PIXELS, 255 - PIXELS], format_, claims=CLAIMS) for format_ in ("webp", "apng")),
        progressive.getvalue(),
        png[:33] + profile * 3 + png[33:],
    ]


def _xmp() -> bytes:
    content = _face("jpeg")
    start = content.index(b"<?xpacket")
    return content[start : content.index(b'end="r"?>') + 9]


def _exif(image: Image.Image) -> Image.Exif:
    exif = image.getexif()
    exif[0x0112] = 6
    return exif


def _edit_rebuilt(data: bytes, random: Random) -> bytes:
    return edit_png(data, random) if data.startswith(b"\x89PNG") else edit_bytes(data, random)


def read_container(content: bytes) -> object:
    """Metadata, and the answer made of it."""
    claims = read_claims(content)
    return None if claims is None else ClaimsAnswer.of(claims).model_dump_json()


def read_picture(content: bytes) -> object:
    return _LOOP.run_until_complete(verify(content, _render))


def _query(data: bytes) -> list[tuple[str, str]]:
    return parse_qsl(data.decode("latin-1"), keep_blank_values=True)


def read_address(data: bytes) -> object:
    """A path's last part, a query and an Accept header, one a line."""
    path, query, accept = [*data.split(b"\n", 2), b"", b""][:3]
    seed, extension = split_extension(path.decode("utf-8", "replace"))
    try:
        params = parse_face(
            _query(query),
            SPACE,
            seed=seed,
            extension=extension,
            accept=accept.decode("latin-1"),
            best_of=BestOf(8, critic=True),
        )
    except InvalidParametersError as error:
        return error.problem()
    assert 1 <= params.best_of <= 8
    labels = SPACE.complete(params.given, params.seed.root.text)
    header = disposition(f"face-{params.seed}", params.format)
    assert header.isascii()
    assert header.isprintable()
    return str(params.seed), labels


def read_morph(data: bytes) -> object:
    try:
        return parse_morph(_query(data), SPACE, native_size=16, max_frames=120)
    except InvalidParametersError as error:
        return error.problem()


def read_body(data: bytes) -> object:
    """The body of POST /v1/faces, to its items or the answer that refuses it."""
    try:
        return items_of(_parse(data), SPACE, latent_dim=4, max_items=64)
    except RequestValidationError as error:
        return _as_invalid(error).problem()
    except InvalidParametersError as error:
        return error.problem()


_EVERYBODY = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_CLIENTS = Clients(api_keys=(), api_key_required=False, trusted_proxies=_EVERYBODY)


def read_headers(data: bytes) -> object:
    """X-Forwarded-For and If-None-Match, one a line."""
    forwarded, _, tags = data.partition(b"\n")
    scope = {"client": ("192.0.2.1", 1), "headers": [(b"x-forwarded-for", forwarded)]}
    return _CLIENTS.identify(scope), matches(tags.decode("latin-1"), '"a"')


def read_stored(data: bytes) -> object:
    """A value of Redis: only what was sealed under the key comes out."""
    opened = _opened("key", data)
    assert opened is None or _sealed("key", opened) == data
    return opened


PARSERS = [
    Parser("containers", read_container, _pictures, edits=(edit_bytes, _edit_rebuilt), share=6),
    Parser("pictures", read_picture, _pictures, edits=(edit_bytes, _edit_rebuilt)),
    Parser(
        "addresses",
        read_address,
        lambda: [
            b"7.png\ngender=female&age=34&size=32\nimage/webp;q=0.5,*/*",
            b"7~3~5\nage=60%2B&model=a&format=json\n",
            "Größe%20a.jpeg\nseed=1\ntext/html".encode(),
        ],
        refusals=(VisageError,),
        share=6,
    ),
    Parser(
        "morphs",
        read_morph,
        lambda: [b"from=1&to=2&frames=24", b"from=a&to=b~2&from_age=20&to_age=60%2B&format=apng"],
        refusals=(VisageError,),
        share=5,
    ),
    Parser(
        "bodies",
        read_body,
        lambda: [
            b'{"seeds": [1, 2, "anna"], "labels": {"gender": "female"}, "size": 256}',
            b'{"count": 16, "layout": "sheet", "format": "webp", "model": "a"}',
            b'{"seeds": [7, 7], "labels": [{"age": 20}, {"age": 60}]}',
            b'{"latents": [[0, 1.5, -2e3, 4], [1, 2, 3, 4]]}',
        ],
        refusals=(VisageError,),
        edits=(edit_bytes, edit_json),
        share=5,
    ),
    Parser(
        "headers",
        read_headers,
        lambda: [b'10.0.0.1, [2001:db8::1]:443, ::ffff:1.2.3.4\nW/"a", "b"', b"unknown\n*"],
        share=5,
    ),
    Parser("redis", read_stored, lambda: [_sealed("key", b"picture"), b"", bytes(16)], share=5),
]
