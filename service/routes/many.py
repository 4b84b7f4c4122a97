"""Many pictures at once, as a zip that is sent while it is made, or as one contact sheet."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from hashlib import sha256
from typing import TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from service.archive import member_name, zip_stream
from service.bodies import read_body
from service.budget import BUDGET, Reservation
from service.encoder import encode, resample
from service.errors import (
    InvalidParameter,
    InvalidParametersError,
    TooLargeError,
)
from service.exchange import admit, disposition, identify, lease, state_of, while_connected
from service.labels import label_text
from service.many_items import Item, items_of
from service.many_params import MOST, ManyRequest, doubled_members
from service.openapi import problems
from service.pacing import Work, paced
from service.params import FORMATS, FaceParams
from service.pipeline import Face, complete
from service.provenance import MAX_CLAIM, Claims
from service.served import Served
from service.sheet import Sheet, sheet_pixels

MAX_SHEET_PIXELS = 2**25
"""A sheet is held in memory as a whole, three bytes a pixel."""
_EXTENSIONS = {"jpeg": "jpg"}

router = APIRouter(tags=["faces"])
T = TypeVar("T")


@router.post(
    "/v1/faces",
    response_class=Response,
    responses={
        200: {
            "description": "A zip of the pictures and manifest.json, or one contact sheet.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in ("application/zip", "image/png", "image/webp", "image/jpeg")
            },
        },
        **problems(400, 401, 404, 413, 414, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra={"requestBody": ManyRequest.openapi()},
    summary="Many faces at once",
)
async def many_faces(request: Request) -> Response:
    """By seeds, by number, or by latent vectors. A zip whose transfer ended well is complete."""
    identify(request)
    many = _parse(await read_body(request, ["application/json"], holds="a JSON object"))
    state = state_of(request)
    async with AsyncExitStack() as stack:
        served = stack.enter_context(lease(request, many.model or None))
        items = items_of(
            many,
            served.spec.space,
            latent_dim=served.spec.latent_dim,
            max_items=state["settings"].max_items,
        )
        faces = [_face(item, many, served) for item in items]
        if many.layout == "sheet":
            _check_sheet(len(faces), faces[0].size)
            await admit(request, len(faces))
            pixels = sheet_pixels(len(faces), faces[0].size)
            with BUDGET.spend(pixels) as reservation:
                sheet = _sheet(request, served, faces, items, reservation)
                return await while_connected(request, sheet)
        await admit(request, len(faces))
        works = [
            _picture(request, served, face, item, stored=bool(many.seeds))
            for face, item in zip(faces, items, strict=True)
        ]
        pictures = _paced(request, served, works)
        await stack.enter_async_context(aclosing(pictures))
        # Whatever refuses the first one is still the answer's status.
        first = await while_connected(request, _first(pictures))
        members = _members(faces, first, pictures)
        await stack.enter_async_context(aclosing(members))
        content = zip_stream(members)
        await stack.enter_async_context(aclosing(content))
        headers = {
            "X-Model": served.spec.identity,
            "X-AI-Generated": "true",
            "Content-Disposition": 'attachment; filename="faces.zip"',
            "Cache-Control": "no-store",
        }
        return _HoldingResponse(content, stack.pop_all(), headers)
    raise AssertionError("the stack swallows nothing")


class _HoldingResponse(StreamingResponse):
    """A zip being sent; when it is or when the client has left, `held` is let go."""

    media_type = "application/zip"

    def __init__(
        self, content: AsyncIterator[bytes], held: AsyncExitStack, headers: dict[str, str]
    ) -> None:
        super().__init__(content, headers=headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


def _parse(body: bytes) -> ManyRequest:
    try:
        many = ManyRequest.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        if any(e["type"] == "too_long" for e in found):
            raise TooLargeError(
                f"A body may ask for up to {MOST} pictures, and how many of them are made at once "
                "is less: ask for less at a time."
            ) from None
        raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in found]) from None
    if doubled := doubled_members(body):
        raise InvalidParametersError(
            [
                InvalidParameter(name, f"{name} is given more than once: give it once.")
                for name in doubled
            ]
        )
    return many


def _face(item: Item, many: ManyRequest, served: Served) -> Face:
    params = FaceParams(
        seed=item.seed,
        given=item.given,
        size=many.size or None,
        format=many.picture_format,
        model=many.model or None,
        seeded=bool(many.seeds),
    )
    return complete(params, served)


def _check_sheet(count: int, side: int) -> None:
    if (pixels := sheet_pixels(count, side)) > MAX_SHEET_PIXELS:
        raise TooLargeError(
            f"This sheet would have {pixels} pixels, and {MAX_SHEET_PIXELS} are the most: "
            "ask for fewer or smaller pictures, or for a zip."
        )


def _paced(request: Request, served: Served, works: Sequence[Work[T]]) -> AsyncGenerator[T, None]:
    patience = state_of(request)["settings"].deadline
    return paced(works, tile=served.tile, seconds=patience)


async def _image(request: Request, served: Served, face: Face, item: Item) -> NDArray[np.uint8]:
    z_Z = face.latent() if item.z_Z is None else item.z_Z
    return (await state_of(request)["pipeline"].image(served, z_Z, face.label_vector())).image


def _picture(
    request: Request, served: Served, face: Face, item: Item, *, stored: bool
) -> Work[bytes]:
    """Faces of given seeds may be stored; what nobody can ask for again is not."""
    pipeline = state_of(request)["pipeline"]

    async def picture() -> bytes:
        if stored:
            return (await pipeline.picture(face, served)).content
        return await pipeline.made(face, served, {}, item.z_Z)

    return picture


async def _sheet(
    request: Request,
    served: Served,
    faces: Sequence[Face],
    items: Sequence[Item],
    reservation: Reservation,
) -> Response:
    side, format_ = faces[0].size, faces[0].format
    sheet = Sheet(len(faces), side)

    def resampled(face: Face, item: Item) -> Work[NDArray[np.uint8]]:
        async def work() -> NDArray[np.uint8]:
            image_HWC = await _image(request, served, face, item)
            return await asyncio.to_thread(resample, image_HWC, side)

        return work

    works = [resampled(face, item) for face, item in zip(faces, items, strict=True)]
    images = _paced(request, served, works)
    index = 0
    async with aclosing(images):
        async for image_HWC in images:
            sheet.place(index, image_HWC)
            index += 1
    claims = _sheet_claims(faces)
    content = await state_of(request)["pipeline"].assembled(
        lambda: encode(sheet.image_HWC, format_, claims=claims), FORMATS[format_], reservation
    )
    headers = {
        "X-Seed": claims.seed,
        "X-Model": claims.model,
        "X-AI-Generated": "true",
        "Content-Type": FORMATS[format_],
        "Content-Disposition": disposition("faces", format_),
        "Cache-Control": "no-store",
    }
    return Response(
        content, headers=headers | ({"X-Labels": claims.labels} if claims.labels else {})
    )


def _sheet_claims(faces: Sequence[Face]) -> Claims:
    """All seeds in order, where there is room for them, and the labels that all have in common."""
    seeds = ",".join(str(face.seed) for face in faces)
    if len(seeds) > MAX_CLAIM:
        seeds = f"sheet-{sha256(seeds.encode()).hexdigest()[:16]}"
    common = dict(
        faces[0].labels.items() & set.intersection(*(set(f.labels.items()) for f in faces))
    )
    ordered = {name: common[name] for name in faces[0].labels if name in common}
    return Claims(seeds, faces[0].spec.identity, label_text(ordered))


async def _members(
    faces: Sequence[Face], first: bytes, others: AsyncGenerator[bytes, None]
) -> AsyncGenerator[tuple[str, bytes], None]:
    """Every picture, then what they are."""
    names = [
        member_name(index, face.seed.text, _EXTENSIONS.get(face.format, face.format))
        for index, face in enumerate(faces)
    ]
    yield names[0], first
    index = 1
    async for content in others:
        yield names[index], content
        index += 1
    manifest = {
        "model": faces[0].spec.identity,
        "format": faces[0].format,
        "size": faces[0].size,
        "ai_generated": True,
        "items": [
            {"index": i, "name": names[i], "seed": face.seed.text, "labels": dict(face.labels)}
            for i, face in enumerate(faces)
        ],
    }
    yield "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode()


async def _first(pictures: AsyncGenerator[T, None]) -> T:
    return await anext(pictures)
