"""JSON body → a validated request for many pictures.

Knows nothing about HTTP objects or models. The body says exactly one of which seeds, how many, or
which latents; what belongs to all items may be said once.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticKnownError

from service.params import MAX_SEED_LENGTH, MAX_SIZE, MIN_SIZE

SOURCES = ("seeds", "count", "latents")
"""What a body can ask by: exactly one of them."""
MAX_LATENT = 1e6
"""Latents are normalised before anything else, so nothing lies beyond; float32 would overflow."""

MOST = 10_000
"""Items that are read at all; how many are too many is a setting, but never more."""
MOST_NAMES = 256
"""Members of an object that are read, which are a handful where they mean anything."""

_EXAMPLES: list[dict[str, Any]] = [
    {"seeds": [1, 2, "anna"], "labels": {"gender": "female"}, "size": 256},
    {"count": 16, "layout": "sheet", "format": "webp"},
    {"seeds": [7, 7], "labels": [{"age": 20}, {"age": 60}]},
]


def _whole(value: object) -> object:
    """JSON knows one kind of number: 64.0 is 64."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: object) -> str:
    """A text, or a whole number as one."""
    value = _whole(value)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ValueError("a text or a whole number is needed here")


def _seed(value: object) -> str:
    """As text; a number that is no seed is a mistake, though `"-1"` is a text like any other."""
    value = _whole(value)
    if isinstance(value, int) and not 0 <= value < 2**64:
        raise ValueError("a number that is a seed is from 0 to 2^64-1; write others as text")
    return _text(value)


def _labels(value: object) -> dict[str, str] | list[dict[str, str]]:
    if isinstance(value, list):
        if len(value) > MOST:
            raise PydanticKnownError("too_long", _too_long(len(value)))
        return [_mapping(one) for one in value]
    return _mapping(value)


def _too_long(length: int) -> dict[str, Any]:
    return {"field_type": "List", "max_length": MOST, "actual_length": length}


def _mapping(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('an object such as {"age": 34} is needed, or a list of one per item')
    if len(value) > MOST_NAMES:
        raise ValueError(f"no model has more than {MOST_NAMES} attributes, here are {len(value)}")
    return {str(name): _text(text) for name, text in value.items()}


_TEXT_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_LABELS_SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": _TEXT_SCHEMA}
_SEED_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_SEED_LENGTH},
        # 2^64 - 1 is 2^64 to whoever reads numbers as floats.
        {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**64},
    ]
}
Whole = Annotated[int, BeforeValidator(_whole)]
SeedText = Annotated[str, BeforeValidator(_seed), WithJsonSchema(_SEED_SCHEMA)]
LatentNumber = Annotated[float, Field(ge=-MAX_LATENT, le=MAX_LATENT, allow_inf_nan=False)]
Latent = Annotated[list[LatentNumber], Field(fail_fast=True)]
Labels = Annotated[
    dict[str, str] | list[dict[str, str]],
    PlainValidator(_labels),
    WithJsonSchema({"anyOf": [_LABELS_SCHEMA, {"type": "array", "items": _LABELS_SCHEMA}]}),
]


def _finish_schema(schema: dict[str, Any]) -> None:
    """Say in JSON Schema what Python says: one source, and empty defaults that nobody may send."""
    schema["oneOf"] = [{"required": [source]} for source in SOURCES]
    for field in schema["properties"].values():
        if not field.get("default", ...):
            del field["default"]


class ManyRequest(BaseModel):
    """Many pictures at once: exactly one of `seeds`, `count` and `latents`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra=_finish_schema,
    )

    seeds: list[SeedText] = Field(
        default_factory=list,
        min_length=1,
        max_length=MOST,
        fail_fast=True,
        description="Whose faces: each an integer 0…2^64−1 or any other text.",
    )
    count: Whole = Field(0, ge=1, description="How many faces nobody has seen.")
    latents: list[Latent] = Field(
        default_factory=list,
        min_length=1,
        max_length=MOST,
        fail_fast=True,
        description="Latent vectors of Z numbers each (see /v1/models: latent_dim).",
    )
    labels: Labels = Field(
        default_factory=dict,
        description="Attributes: an object for all items, or a list of one per item.",
    )
    size: Whole = Field(
        0,
        ge=MIN_SIZE,
        le=MAX_SIZE,
        description="Pixels a side of each picture; default: the model's own.",
    )
    format: Literal["png", "webp", "jpeg", "jpg"] = Field(
        "png", description="Of each picture, or of the sheet."
    )
    model: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        "",
        min_length=1,
        max_length=MAX_SEED_LENGTH,
        description="A loaded model's name; default: the server's default.",
    )
    layout: Literal["zip", "sheet"] = Field(
        "zip", description="zip: one file each, and manifest.json; sheet: one picture, a grid."
    )

    @model_validator(mode="before")
    @classmethod
    def _few_members(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) > MOST_NAMES:
            raise ValueError(
                f"there are {len(value)} members here, and none but these are read: "
                f"{', '.join(cls.model_fields)}"
            )
        return value

    @model_validator(mode="after")
    def _one_source(self) -> "ManyRequest":
        if len(self.model_fields_set.intersection(SOURCES)) != 1:
            raise ValueError(f"give exactly one of {', '.join(SOURCES)}")
        return self

    @property
    def picture_format(self) -> str:
        return "jpeg" if self.format == "jpg" else self.format

    def __len__(self) -> int:
        """How many pictures this asks for."""
        return min(self.count, sys.maxsize) or len(self.seeds or self.latents)

    @classmethod
    def openapi(cls) -> dict[str, Any]:
        """The request body in the terms of OpenAPI."""
        examples = {f"example {i}": {"value": value} for i, value in enumerate(_EXAMPLES, 1)}
        content = {"schema": cls.model_json_schema(), "examples": examples}
        return {"required": True, "content": {"application/json": content}}


class _Object(dict[str, Any]):
    """A JSON object that knows which of its members it was given more than once."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.doubled: list[str] = []
        if len(self) < len(members):
            names = Counter(name for name, _ in members)
            self.doubled = [name for name, times in names.items() if times > 1]


def doubled_members(body: bytes) -> list[str]:
    """Members given more than once, by their paths: `count`, `labels.1.age`.

    Only for a body that ManyRequest reads, so all its bounds hold: of doubled members it takes the
    last, without a word. Raises ValueError where this is no JSON.
    """
    # Numbers as they stand: they are not looked at, and long ones would be refused.
    whole = json.loads(body, object_pairs_hook=_Object, parse_int=str, parse_float=str)
    labels = whole.get("labels", _Object([]))
    objects = {"": whole}
    if isinstance(labels, list):
        objects |= {f"labels.{index}.": one for index, one in enumerate(labels)}
    else:
        objects["labels."] = labels
    return [where + name for where, one in objects.items() for name in one.doubled]


def narrowed(
    schema: Mapping[str, Any],
    *,
    max_items: int,
    labels: Mapping[str, Mapping[str, Any]],
    latent_dims: Sequence[int],
) -> dict[str, Any]:
    """The JSON Schema of the body with what only a running server knows.

    `labels`: the schema of each attribute's values; `latent_dims`: Z of each loaded model. Without
    a model nothing is said about either.
    """
    narrow = deepcopy(dict(schema))
    fields = narrow["properties"]
    fields["count"]["maximum"] = max_items
    fields["seeds"]["maxItems"] = fields["latents"]["maxItems"] = max_items
    if latent_dims:
        fields["latents"]["items"]["minItems"] = min(latent_dims)
        fields["latents"]["items"]["maxItems"] = max(latent_dims)
        one = {"type": "object", "additionalProperties": False, "properties": dict(labels)}
        fields["labels"]["anyOf"] = [one, {"type": "array", "items": one, "maxItems": max_items}]
    return narrow
