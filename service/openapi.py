"""The words and shapes of /openapi.json that FastAPI cannot read off the code.

Knows nothing about requests. The document names the attributes of the models that are loaded
when it is asked for, each with its values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.answers import ProblemAnswer
from service.choice_params import BEST_OF
from service.labels import MAX_NUMBER, Attribute, ModelSpec
from service.many_params import narrowed
from service.params import ALIASES, FORMATS, MAX_SEED_LENGTH, MAX_SIZE, MIN_SIZE
from service.problems import MEDIA_TYPE

PICTURE = "x-visage-picture"
"""Marks operations that take the attributes of the loaded models as query parameters."""
_PROBLEM_REF = {"$ref": "#/components/schemas/ProblemAnswer"}

_STATUSES = {
    400: "The request cannot be read.",
    401: "The key or token is missing or wrong.",
    403: "Admin routes are off.",
    404: "The model is not loaded.",
    406: "This format is not made here.",
    413: "More pictures, pixels or bytes than one request may ask for, or more than the quota.",
    414: "The address is too long.",
    415: "This route does not read such bodies.",
    422: "Something is unknown, doubled or not valid; lists what is allowed.",
    429: "The client's quota is used up; see Retry-After.",
    500: "The engine failed on this picture; the log says why.",
    503: "Not ready, draining, or too many wait already; see Retry-After.",
    504: "The deadline passed.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses that are problem documents."""
    return {
        status: {
            "description": _STATUSES[status],
            "content": {MEDIA_TYPE: {"schema": _PROBLEM_REF}},
        }
        for status in statuses
    }


def query_parameter(name: str, about: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """An optional query parameter."""
    return {"name": name, "in": "query", "description": about, "schema": dict(schema)}


_SEED_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_SEED_LENGTH}
SIZE_PARAMETER = query_parameter(
    "size",
    "Pixels a side, resampled with Lanczos; default: the model's own.",
    {"type": "integer", "minimum": MIN_SIZE, "maximum": MAX_SIZE},
)
FORMAT_PARAMETER = query_parameter(
    "format",
    "Goes before the extension and the Accept header.",
    {"type": "string", "enum": [*FORMATS, *ALIASES]},
)
MODEL_PARAMETER = query_parameter(
    "model", "A loaded model's name; default: the server's default.", {"type": "string"}
)
SEED_PARAMETER = query_parameter(
    "seed", "An integer 0…2^64−1 or any other text; default: a random one.", _SEED_SCHEMA
)
BEST_OF_PARAMETER = query_parameter(
    BEST_OF,
    "Among how many faces with the same labels the model's critic picks the best; default: 1. "
    "Only for a model that has one.",
    {"type": "integer", "minimum": 1},
)
"""Left out where no loaded model has a critic."""
DIRECT_PARAMETER = query_parameter(
    "direct", "1: the bytes of the face instead of the way to it.", {"enum": ["0", "1"]}
)
SEED_PATH_PARAMETER = {
    "name": "seed",
    "in": "path",
    "required": True,
    "description": (
        "An integer 0…2^64−1 or any other text up to 128 characters; `7~3` is the third variation "
        "of `7`. May end in .png, .webp, .jpg or .json."
    ),
    "schema": {**_SEED_SCHEMA, "maxLength": MAX_SEED_LENGTH + 5},
    "examples": {
        "number": {"value": "7.png"},
        "text": {"value": "jane"},
        "variation": {"value": "7~3.webp"},
    },
}
API_KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "One of VISAGE_API_KEYS.",
}
_HEADERS = {
    "X-Seed": "The seed, percent-encoded.",
    "X-Model": "name@digest12 of the model.",
    "X-Labels": "The value of every attribute, as a query string.",
    "X-Cache": "hit, miss or coalesced.",
    "X-AI-Generated": "true",
    "Server-Timing": "Milliseconds in queue, inference and encode.",
}
FACE_RESPONSE: dict[str, Any] = {
    "description": "The picture.",
    "headers": {
        name: {"description": about, "schema": {"type": "string"}}
        for name, about in _HEADERS.items()
    },
    "content": {
        media_type: {"schema": {"type": "string", "format": "binary"}}
        for format_, media_type in FORMATS.items()
        if format_ != "json"
    }
    | {
        FORMATS["json"]: {
            "schema": {
                "type": "object",
                "required": ["seed", "model", "labels", "size", "latent", "image"],
                "properties": {
                    "seed": {"type": "string"},
                    "model": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "size": {"type": "integer"},
                    "ai_generated": {"const": True},
                    "latent": {"type": "array", "items": {"type": "number"}},
                    "image": {
                        "type": "object",
                        "required": ["media_type", "encoding", "data"],
                        "properties": {
                            "media_type": {"const": "image/png"},
                            "encoding": {"const": "base64"},
                            "data": {"type": "string", "contentEncoding": "base64"},
                        },
                    },
                },
            }
        }
    },
}


def picture_operation(
    *parameters: dict[str, Any], prefixes: Sequence[str] = ("",), **more: Any
) -> dict[str, Any]:
    """`openapi_extra` of a route that takes `parameters` and the attributes of the models.

    `prefixes`: what may stand before an attribute's name there.
    """
    return {"parameters": list(parameters), PICTURE: list(prefixes), **more}


def openapi_document(
    app: FastAPI,
    specs: Sequence[ModelSpec],
    *,
    max_items: int,
    max_frames: int,
    max_best_of: int = 1,
    api_keys: bool = False,
    api_key_required: bool = False,
) -> dict[str, Any]:
    """The whole document, with the attributes of the models `specs` and this server's limits.

    `api_keys`: whether it has any, which pictures then may need.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = ProblemAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemAnswer"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    attributes = {name: _values_schema(found) for name, found in _attributes(specs).items()}
    limits = {"frames": max_frames, BEST_OF: max_best_of}
    left_out = () if any(spec.critic for spec in specs) else (BEST_OF,)
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI promises a 422 of its own for every parameter; ours stand where they occur.
            if "HTTPValidationError" in str(operation["responses"].get("422", "")):
                del operation["responses"]["422"]
            prefixes = operation.pop(PICTURE, ())
            operation["parameters"] = [
                _limited(parameter, limits)
                for parameter in operation.get("parameters", [])
                if parameter["name"] not in left_out
            ] + [
                query_parameter(prefix + name, _about(schema, prefix), schema)
                for prefix in prefixes
                for name, schema in attributes.items()
            ]
    if api_keys:
        _declare_api_key(document, required=api_key_required)
    body = document["paths"]["/v1/faces"]["post"]["requestBody"]["content"]["application/json"]
    # FastAPI merges what routes say and keeps their dicts: the shared one stays as it is.
    document["paths"]["/v1/faces"]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "application/json": body
            | {
                "schema": narrowed(
                    body["schema"],
                    max_items=max_items,
                    labels=attributes,
                    latent_dims=[spec.latent_dim for spec in specs],
                )
            }
        },
    }
    return document


def _declare_api_key(document: dict[str, Any], *, required: bool) -> None:
    """On every operation that can be refused for it, and has no other credentials."""
    document["components"].setdefault("securitySchemes", {})["ApiKey"] = API_KEY
    for operations in document["paths"].values():
        for operation in operations.values():
            if "401" in operation["responses"] and "security" not in operation:
                operation["security"] = [*([] if required else [{}]), {"ApiKey": []}]


def _attributes(specs: Sequence[ModelSpec]) -> dict[str, list[Attribute]]:
    """By name: models may have attributes of the same name with other values."""
    found: dict[str, list[Attribute]] = {}
    for spec in specs:
        for attribute in spec.space.attributes:
            found.setdefault(attribute.name, []).append(attribute)
    return found


def _limited(parameter: Mapping[str, Any], limits: Mapping[str, int]) -> dict[str, Any]:
    """The parameter, with the settings' limit where they have one for it."""
    if parameter["name"] not in limits:
        return dict(parameter)
    return {**parameter, "schema": {**parameter["schema"], "maximum": limits[parameter["name"]]}}


def _values_schema(attributes: Sequence[Attribute]) -> dict[str, Any]:
    """What the attributes of one name take: their values, and numbers where those are ranges."""
    values = list(dict.fromkeys(value for a in attributes for value in a.values))
    if any(a.find("1") is not None and "1" not in a.values for a in attributes):
        # Ranges may end; the values then go first, and the answer to others lists them.
        number = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
        return {"anyOf": [{"type": "string", "enum": values}, number]}
    return {"type": "string", "enum": values}


def _about(schema: Mapping[str, Any], prefix: str) -> str:
    about = "An attribute of the loaded model; default: drawn by the seed as in training."
    if prefix:
        about = f"The same for one end only, the face `{prefix.rstrip('_')}`."
    return about + (" A number means the range that it falls in." if "anyOf" in schema else "")
