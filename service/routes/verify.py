"""Is this picture from here? What it claims, and whether this server makes it again."""

from typing import Literal
from urllib.parse import parse_qsl, unquote

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from service.bodies import read_body
from service.errors import InvalidParameter, UnknownModelError
from service.exchange import admit, identify, lease, state_of, while_connected
from service.openapi import problems
from service.params import MAX_SIZE, MIN_SIZE, FaceParams, Seed
from service.pipeline import Face, complete
from service.provenance import Claims
from service.served import Served
from service.verification import verify as verify_picture

MEDIA_TYPES = ("image/*", "application/octet-stream")

router = APIRouter(tags=["faces"])


class ClaimsAnswer(BaseModel):
    """What the picture says it was made from."""

    seed: str
    model: str = Field(description="name@digest12.")
    labels: dict[str, str]

    @classmethod
    def of(cls, claims: Claims) -> "ClaimsAnswer":
        """In plain text: what is in the picture is percent-encoded."""
        return cls(seed=unquote(claims.seed), model=claims.model, labels=_labels(claims))


class VerificationAnswer(BaseModel):
    """What was found out about a picture."""

    verdict: Literal["reproduced", "claims_only", "unknown"]
    claims: ClaimsAnswer | None
    detail: str = Field(description="One sentence.")


@router.post(
    "/v1/verify",
    responses=problems(400, 401, 413, 414, 415, 422, 429, 500, 503, 504),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The bytes of a PNG, WebP or JPEG.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary", "minLength": 1}}
                for media_type in MEDIA_TYPES
            },
        }
    },
    summary="Is this picture from here?",
)
async def verify(request: Request) -> VerificationAnswer:
    """`reproduced`: this server makes the very same pixels from what the picture claims;
    `claims_only`: it claims so, which could not be confirmed; `unknown`: it claims nothing."""
    identify(request)
    content = await read_body(request, MEDIA_TYPES, holds="the bytes of a picture")
    await admit(request)

    async def render(claims: Claims, format_: str, size: int) -> bytes | None:
        try:
            with lease(request, claims.model.partition("@")[0]) as served:
                face = _face(claims, format_, size, served)
                if face is None:
                    return None
                return (await state_of(request)["pipeline"].picture(face, served)).content
        except UnknownModelError:
            return None

    found = await while_connected(request, verify_picture(content, render))
    return VerificationAnswer(
        verdict=found.verdict,
        claims=None if found.claims is None else ClaimsAnswer.of(found.claims),
        detail=found.detail,
    )


def _face(claims: Claims, format_: str, size: int, served: Served) -> Face | None:
    """The face that the picture claims to be; None where this server has none such."""
    seed = Seed.parse(unquote(claims.seed))
    if isinstance(seed, InvalidParameter) or not MIN_SIZE <= size <= MAX_SIZE:
        return None
    labels = _labels(claims)
    for attribute in served.spec.space.attributes:
        if labels.get(attribute.name) not in attribute.values:
            return None
    params = FaceParams(seed, labels, size, format_, model=None, seeded=True)
    face = complete(params, served)
    return face if face.claims == claims else None


def _labels(claims: Claims) -> dict[str, str]:
    """{} where they are not a query string of reasonable length."""
    try:
        return dict(parse_qsl(claims.labels, keep_blank_values=True, max_num_fields=256))
    except ValueError:
        return {}
