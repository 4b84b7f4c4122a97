"""Query string → one validated request for a morph.

Knows nothing about HTTP objects or about which attributes a model has: it asks an
`AttributeParser`. As for single faces, every unknown, doubled or unusable parameter is collected
and nothing is silently ignored.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.animation import ANIMATION_FORMATS
from service.errors import InvalidParameter, InvalidParametersError
from service.params import MAX_SIZE, MIN_SIZE, AttributeParser, Seed, named_once

ENDS = ("from", "to")
DEFAULT_FRAMES = 24
MIN_FRAMES = 2
MAX_PIXELS = 2**25
"""Pixels of all frames together: what one request may hold in memory is three bytes of each."""

_WHOLE = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class MorphEnd:
    """A face at one end. `given` maps attributes to canonical values, in any subset."""

    seed: Seed
    given: Mapping[str, str]


@dataclass(frozen=True)
class MorphParams:
    """One validated request."""

    start: MorphEnd
    end: MorphEnd
    frames: int
    size: int
    format: str


def parse_morph(
    query: Iterable[tuple[str, str]],
    attributes: AttributeParser,
    *,
    native_size: int,
    max_frames: int,
) -> MorphParams:
    """The canonical request, or InvalidParametersError naming everything wrong with it.

    An attribute counts for both ends, `from_` or `to_` and its name for one of them, before that.
    """
    problems: list[InvalidParameter] = []
    of_ends = [f"{end}_{name}" for end in ENDS for name in attributes.names]
    others = ("frames", "size", "format", "model")
    texts = named_once(
        query, (*ENDS, *others, *attributes.names, *of_ends), problems, verbatim=ENDS
    )
    ends = [_end(end, texts, attributes, problems) for end in ENDS]
    allowed = tuple(ANIMATION_FORMATS)
    format_ = texts.get("format", allowed[0]).lower()
    if format_ not in ANIMATION_FORMATS:
        detail = f"format={texts['format']} is no animation made here; allowed: webp, apng."
        problems.append(InvalidParameter("format", detail, allowed))
    size = _whole("size", texts, native_size, MIN_SIZE, MAX_SIZE, problems)
    frames = _whole("frames", texts, DEFAULT_FRAMES, MIN_FRAMES, max_frames, problems)
    if not problems and frames * size**2 > MAX_PIXELS:
        detail = (
            f"{frames} frames of {size} × {size} pixels are too much for one answer: ask for up to "
            f"{MAX_PIXELS // size**2} frames of that size, or for a smaller size."
        )
        problems.append(InvalidParameter("frames", detail))
    start, end = ends
    if problems or start is None or end is None:
        raise InvalidParametersError(problems)
    return MorphParams(start, end, frames, size, format_)


def _end(
    end: str,
    texts: Mapping[str, str],
    attributes: AttributeParser,
    problems: list[InvalidParameter],
) -> MorphEnd | None:
    given: dict[str, str] = {}
    for name in attributes.names:
        own = f"{end}_{name}"
        parameter = own if own in texts else name
        if parameter not in texts:
            continue
        value = attributes.parse(name, texts[parameter])
        if isinstance(value, str):
            given[name] = value
        elif parameter == own or end == ENDS[0] or f"{ENDS[0]}_{name}" in texts:
            detail = value.detail if parameter == name else f"{end}_{value.detail}"
            problems.append(InvalidParameter(parameter, detail, value.allowed))
    if end not in texts:
        detail = f"{end} is missing: a morph goes from one seed to another."
        problems.append(InvalidParameter(end, detail))
        return None
    seed = Seed.parse(texts[end])
    if isinstance(seed, InvalidParameter):
        problems.append(InvalidParameter(end, seed.detail))
        return None
    return MorphEnd(seed, given)


def _whole(
    name: str,
    texts: Mapping[str, str],
    default: int,
    least: int,
    most: int,
    problems: list[InvalidParameter],
) -> int:
    text = texts.get(name)
    if text is None:
        return min(default, most)
    if _WHOLE.fullmatch(text) and least <= int(text) <= most:
        return int(text)
    detail = f"{name}={text} is not a whole number from {least} to {most}."
    problems.append(InvalidParameter(name, detail, (f"{least}…{most}",)))
    return default
