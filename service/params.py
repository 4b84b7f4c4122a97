"""Query string and path → one validated, canonical request for a face.

Knows nothing about HTTP objects or about which attributes a model has: it asks an
`AttributeParser`. Every unknown, doubled or unusable parameter is collected, so that one
answer names them all; nothing is silently ignored.
"""

import re
import secrets
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol
from urllib.parse import quote

from service.choice_params import BEST_OF, BestOf
from service.errors import InvalidParameter, InvalidParametersError, NotAcceptableError

MAX_SEED_LENGTH = 128
MIN_SIZE, MAX_SIZE = 16, 1024
FORMATS: Mapping[str, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "json": "application/json",
}
"""Formats this server makes, best first, with their media types."""
ALIASES: Mapping[str, str] = {"jpg": "jpeg"}
"""Other names of formats."""
PICTURE_PARAMETERS = ("seed", "size", "format", "model")
"""What every picture can be asked by, beside the attributes."""
RESERVED = (*PICTURE_PARAMETERS, BEST_OF, "direct", "from", "to", "frames")
"""Parameter names of some route, which no attribute may have."""

_INTEGER = re.compile(r"0|[1-9][0-9]{0,19}")
_SIZE = re.compile(r"[0-9]{1,5}")
_VARIATION = re.compile(r"(?P<origin>.+)~[1-9][0-9]{0,3}", re.DOTALL)
_EXTENSION = re.compile(
    r"(?P<seed>.*)\.(?P<format>png|webp|jpe?g|gif|avif|bmp|tiff?|svg|json)", re.DOTALL
)


class AttributeParser(Protocol):
    """What this stage needs to know of the loaded model's attributes."""

    @property
    def names(self) -> Sequence[str]:
        """The attributes' names, in the model's order."""

    def parse(self, name: str, text: str) -> str | InvalidParameter:
        """The canonical value that `text` means, or why it means none."""


@dataclass(frozen=True)
class Seed:
    """Which face: an integer 0…2^64−1, or any other text up to 128 characters.

    `number` is None for text. `7` and `007` differ: only canonical integers are integers.
    `7~3` is the third variation of `7`, its `origin`; that one may be a variation itself.
    """

    text: str
    number: int | None
    origin: "Seed | None" = None

    @property
    def root(self) -> "Seed":
        """The seed that all the variations come from; it decides the labels."""
        return self if self.origin is None else self.origin.root

    @classmethod
    def parse(cls, text: str) -> "Seed | InvalidParameter":
        """The seed `text` means, or why it means none."""
        if not 1 <= len(text) <= MAX_SEED_LENGTH:
            return InvalidParameter(
                "seed",
                f"A seed has 1 to {MAX_SEED_LENGTH} characters; this one has {len(text)}.",
            )
        return cls._of(text)

    @classmethod
    def _of(cls, text: str) -> "Seed":
        if variation := _VARIATION.fullmatch(text):
            return cls(text, None, cls._of(variation["origin"]))
        number = int(text) if _INTEGER.fullmatch(text) else None
        return cls(text, number if number is not None and number < 2**64 else None)

    @classmethod
    def random(cls) -> "Seed":
        """A seed nobody has seen: 64 bits from the system's randomness."""
        number = secrets.randbits(64)
        return cls(str(number), number)

    def __str__(self) -> str:
        """Percent-encoded: safe in an address, a header and a PNG text chunk."""
        return quote(self.text, safe="")


@dataclass(frozen=True)
class FaceParams:
    """One validated request. `given` maps attributes to canonical values, in any subset."""

    seed: Seed
    given: Mapping[str, str]
    size: int | None
    format: str
    model: str | None
    seeded: bool
    """Whether the client chose the seed."""
    best_of: int = 1
    """Among how many faces the best is picked."""


def split_extension(name: str) -> tuple[str, str | None]:
    """Last part of an address → seed text and format: `7.png` → (`7`, `png`).

    What does not look like a picture's extension belongs to the seed: `jane.doe` is a seed.
    """
    match = _EXTENSION.fullmatch(name)
    return (match["seed"], match["format"]) if match else (name, None)


def parse_face(
    query: Sequence[tuple[str, str]],
    attributes: AttributeParser,
    *,
    seed: str | None = None,
    extension: str | None = None,
    accept: str | None = None,
    prefer: str | None = None,
    best_of: BestOf | None = None,
) -> FaceParams:
    """The canonical request, or InvalidParametersError naming everything wrong with it.

    `seed` is the one in the path, None where the route has none; then the query may give one,
    and without either it is random. The format is that of the query, the extension or the
    Accept header, in that order, the last giving way to `prefer` where it takes that at all;
    NotAcceptableError where it is none of ours. `best_of`: None where there is no such parameter.
    """
    problems: list[InvalidParameter] = []
    texts: dict[str, str] = {}
    if query:
        offered = best_of is not None and best_of.offered
        allowed = (*attributes.names, *PICTURE_PARAMETERS, *([BEST_OF] if offered else []))
        # best_of says itself why it cannot be had.
        known = () if best_of is None else (BEST_OF,)
        texts = named_once(query, allowed, problems, verbatim=("seed",), known=known)
    if seed is not None and "seed" in texts:
        problems.append(
            InvalidParameter("seed", "The address already names the seed: leave seed= out.")
        )
    seed = texts.get("seed") if seed is None else seed
    seeded = seed is not None
    parsed = Seed.parse(seed) if seed is not None else Seed.random()
    size = _size(texts["size"]) if "size" in texts else None
    given: dict[str, str] = {}
    for name in attributes.names:
        if name in texts:
            value = attributes.parse(name, texts[name])
            if isinstance(value, str):
                given[name] = value
            else:
                problems.append(value)
    count = best_of.parse(texts[BEST_OF]) if best_of and BEST_OF in texts else 1
    format_ = _canonical(texts["format"]) if "format" in texts else None
    if format_ is not None and format_ not in FORMATS:
        made = ", ".join(FORMATS)
        detail = f"format={texts['format']} is not made here; allowed: {made}."
        problems.append(InvalidParameter("format", detail, tuple(FORMATS)))
    problems += [p for p in (parsed, size, count) if isinstance(p, InvalidParameter)]
    if (
        problems
        or isinstance(parsed, InvalidParameter)
        or isinstance(size, InvalidParameter)
        or isinstance(count, InvalidParameter)
    ):
        raise InvalidParametersError(problems)
    format_ = _negotiate(format_ or extension, accept, prefer)
    return FaceParams(parsed, given, size, format_, texts.get("model"), seeded, count)


def face_key(*, source: str, encoder: str, seed: Seed, labels: str, size: int, format_: str) -> str:
    """Name of the exact bytes: 128 bits over everything they depend on, as hex.

    `source`: of the model. `labels` are the completed ones, so a face asked for by its full labels
    has the same key.
    """
    kind = "text" if seed.number is None else "integer"
    parts = (source, encoder, kind, str(seed), labels, str(size), format_)
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


def named_once(
    query: Iterable[tuple[str, str]],
    allowed: Sequence[str],
    problems: list[InvalidParameter],
    *,
    verbatim: Container[str],
    known: Sequence[str] = (),
) -> dict[str, str]:
    """Parameters by their canonical names; unknown and doubled ones become problems.

    Names are told apart as in `allowed`, the first of equals, and in `known`, which is not offered.
    Values lose the space around them, unless they are `verbatim`.
    """
    canonical = {name.casefold(): name for name in reversed((*allowed, *known))}
    texts: dict[str, str] = {}
    for raw, text in query:
        name = canonical.get(raw.casefold())
        if name is None:
            detail = f"There is no parameter {raw!r}; allowed: {', '.join(allowed)}."
            problems.append(InvalidParameter(raw, detail, tuple(allowed)))
        elif name in texts:
            detail = f"{name} is given more than once: give it once."
            problems.append(InvalidParameter(name, detail))
        else:
            texts[name] = text if name in verbatim else text.strip()
    return texts


def _size(text: str) -> int | InvalidParameter:
    if _SIZE.fullmatch(text) and MIN_SIZE <= int(text) <= MAX_SIZE:
        return int(text)
    detail = f"size={text} is not a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}."
    return InvalidParameter("size", detail, (f"{MIN_SIZE}…{MAX_SIZE}",))


def _canonical(format_: str) -> str:
    return ALIASES.get(format_.lower(), format_.lower())


def _negotiate(wanted: str | None, accept: str | None, prefer: str | None) -> str:
    """The format to make: `wanted`, or the best one that the Accept header takes."""
    made = ", ".join(FORMATS)
    if wanted is not None:
        if _canonical(wanted) in FORMATS:
            return _canonical(wanted)
        raise NotAcceptableError(f"Pictures are not made as {wanted} here; ask for one of: {made}.")
    if not accept:
        return prefer or next(iter(FORMATS))
    quality = {format_: _quality(media_type, accept) for format_, media_type in FORMATS.items()}
    best = max(quality, key=lambda format_: quality[format_])
    if quality[best] == 0:
        raise NotAcceptableError(
            f"The Accept header takes none of the formats made here; ask for one of: {made}."
        )
    return prefer if prefer is not None and quality[prefer] > 0 else best


def _quality(media_type: str, accept: str) -> float:
    """How much the Accept header wants `media_type`: its most specific range's q, 0 to 1."""
    ranges = (media_type, media_type.split("/")[0] + "/*", "*/*")
    found: dict[str, float] = {}
    for part in accept.split(","):
        name, *options = (piece.strip() for piece in part.lower().split(";"))
        q = next((o.removeprefix("q=") for o in options if o.startswith("q=")), "1")
        try:
            found[name] = min(max(float(q), 0.0), 1.0)
        except ValueError:
            found[name] = 1.0
    return next((found[name] for name in ranges if name in found), 0.0)
