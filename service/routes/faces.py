"""Single faces: a new one, that of a seed, and the way from the one to the other."""

from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response

from service.addresses import LONGEST_ACCEPT, Meaning, raw_headers
from service.errors import InvalidParameter, InvalidParametersError
from service.exchange import (
    FOREVER,
    RawResponse,
    admit,
    face_headers,
    is_head,
    lease,
    matches,
    state_of,
    while_connected,
    work_headers,
)
from service.fleet import Served
from service.openapi import (
    DIRECT_PARAMETER,
    FACE_RESPONSE,
    FORMAT_PARAMETER,
    MODEL_PARAMETER,
    SEED_PARAMETER,
    SEED_PATH_PARAMETER,
    SIZE_PARAMETER,
    picture_operation,
    problems,
)
from service.params import FaceParams, Seed, parse_face, split_extension
from service.pipeline import complete

router = APIRouter(tags=["faces"])

_PICTURE_PARAMETERS = [SIZE_PARAMETER, FORMAT_PARAMETER, MODEL_PARAMETER]
_PROBLEMS = problems(401, 404, 406, 414, 422, 429, 500, 503, 504)


@router.get(
    "/image",
    response_class=Response,
    responses={200: FACE_RESPONSE, **_PROBLEMS},
    openapi_extra=picture_operation(SEED_PARAMETER, *_PICTURE_PARAMETERS),
    summary="A new face at every call",
)
async def image(request: Request) -> Response:
    """Never the same twice, unless `seed` asks for it; never stored. PNG unless asked otherwise."""
    await admit(request)
    return await _new_face(request)


@router.get(
    "/v1/faces/random",
    response_class=Response,
    responses={
        200: FACE_RESPONSE,
        302: {
            "description": "The address of a face nobody has seen, with the same parameters.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **_PROBLEMS,
    },
    openapi_extra=picture_operation(DIRECT_PARAMETER, *_PICTURE_PARAMETERS),
    summary="The way to a new face",
)
async def random_face(request: Request) -> Response:
    """A redirect to a seed nobody has seen; with `direct=1` its bytes, as /image has them."""
    await admit(request)
    query = _query(request)
    direct = _direct([text for name, text in query if name.casefold() == "direct"])
    rest = [(name, text) for name, text in query if name.casefold() != "direct"]
    if direct:
        return await _new_face(request, rest)
    with lease(request, _model(rest)) as served:
        _parse(request, served, rest, seed=None)
    named = [pair for pair in rest if pair[0].casefold() != "seed"]
    chosen = [text for name, text in rest if name.casefold() == "seed"]
    seed = Seed.parse(chosen[0]) if chosen else Seed.random()
    location = quote(str(seed), safe="%~") + (f"?{urlencode(named)}" if named else "")
    # Relative: right behind a proxy that serves this under a prefix, too.
    return Response(
        status_code=302,
        headers={"Location": f"./{location}", "Cache-Control": "no-store"},
    )


@router.get(
    "/v1/faces/{seed:path}",
    response_class=Response,
    responses={
        200: FACE_RESPONSE,
        304: {"description": "The client has these very bytes."},
        **_PROBLEMS,
    },
    openapi_extra=picture_operation(SEED_PATH_PARAMETER, *_PICTURE_PARAMETERS),
    summary="The face of a seed, the same bytes each time",
)
async def seeded_face(request: Request) -> Response:
    """One seed, one face: cacheable for ever, and 304 before any work."""
    await admit(request)
    state = state_of(request)
    pipeline, addresses = state["pipeline"], state["addresses"]
    scope, headers = request.scope, request.headers
    accept = headers.get("accept", "")
    address = (scope["path"], scope["query_string"], accept)
    meaning = addresses.get(address) if len(accept) <= LONGEST_ACCEPT else None
    model = _model(_query(request)) if meaning is None else meaning.model
    with lease(request, model) as served:
        if meaning is None or meaning.face.spec is not served.spec:
            meaning = _read(request, served, model)
        known = matches(headers.get("if-none-match"), meaning.etag)
        picture = None if known or is_head(request) else pipeline.at_hand(meaning.face)
        if (known or picture is not None) and len(accept) <= LONGEST_ACCEPT:
            addresses[address] = meaning
        if known:
            return RawResponse(meaning.headers, status_code=304)
        if is_head(request):
            return RawResponse(meaning.headers)
        if picture is None:
            picture = await while_connected(request, pipeline.picture(meaning.face, served))
        return RawResponse(meaning.headers + work_headers(picture), picture.content)


def _read(request: Request, served: Served, model: str | None) -> Meaning:
    """What the address of a seeded face means, in the terms of the model it names."""
    seed, extension = split_extension(request.path_params["seed"])
    query = _query(request)
    params = _parse(request, served, query, seed=seed, extension=extension)
    face = complete(params, served)
    etag = state_of(request)["pipeline"].etag(face.key)
    headers = face_headers(face) + raw_headers({"ETag": etag, "Cache-Control": FOREVER})
    if extension is None:
        headers += raw_headers({"Vary": "Accept"})
    return Meaning(model, face, etag, headers)


async def _new_face(request: Request, query: list[tuple[str, str]] | None = None) -> Response:
    query = _query(request) if query is None else query
    pipeline = state_of(request)["pipeline"]
    with lease(request, _model(query)) as served:
        params = _parse(request, served, query, seed=None, prefer="png")
        face = complete(params, served)
        if is_head(request):
            return RawResponse(face_headers(face) + _UNSTORED)
        if params.seeded:
            picture = await while_connected(request, pipeline.picture(face, served))
        else:
            face, picture = await while_connected(request, pipeline.fresh(params, served))
        headers = face_headers(face) + work_headers(picture) + _UNSTORED
        return RawResponse(headers, picture.content)


_UNSTORED = raw_headers({"Cache-Control": "no-store", "Vary": "Accept"})


def _parse(
    request: Request,
    served: Served,
    query: list[tuple[str, str]],
    *,
    seed: str | None,
    extension: str | None = None,
    prefer: str | None = None,
) -> FaceParams:
    return parse_face(
        query,
        served.spec.space,
        seed=seed,
        extension=extension,
        accept=request.headers.get("accept"),
        prefer=prefer,
    )


def _query(request: Request) -> list[tuple[str, str]]:
    """Names and values, in order; most requests have none."""
    return request.query_params.multi_items() if request.scope["query_string"] else []


def _model(query: list[tuple[str, str]]) -> str | None:
    """Which model is asked for; the rest is read in the terms of its attributes."""
    return next((text.strip() for name, text in query if name.casefold() == "model"), None)


def _direct(texts: list[str]) -> bool:
    if texts in ([], ["0"], ["1"]):
        return texts == ["1"]
    detail = "direct is given once, as 0 or 1."
    raise InvalidParametersError([InvalidParameter("direct", detail, ("0", "1"))])
