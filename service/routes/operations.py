"""For browsers and for whoever runs the service: the page, health, readiness, metrics."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from service.answers import AliveAnswer, ReadyAnswer
from service.exchange import state_of
from service.middleware import POLICY
from service.openapi import problems

WEB = Path(__file__).parents[1] / "web"
_PAGE_POLICY = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
)
"""Scripts, styles, pictures and requests of this server and of no other; nothing inline. What the
page has fetched with a key it shows from memory (blob:), as an <img> sends none."""

router = APIRouter(tags=["operations"])


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The explorer page."""
    request.scope[POLICY] = _PAGE_POLICY
    return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})


@router.get("/healthz", summary="Is the process alive?", responses=problems(414, 503))
async def healthz(request: Request, response: Response) -> AliveAnswer:
    """503 once an engine has died at its work or hangs: restart the process when this fails."""
    state_of(request)["fleet"].check_alive()
    response.headers["Cache-Control"] = "no-store"
    return AliveAnswer()


@router.get("/readyz", summary="Can pictures be served now?", responses=problems(414, 503))
async def readyz(request: Request, response: Response) -> ReadyAnswer:
    """Send requests here only while this is 200; 503 says why not."""
    state_of(request)["fleet"].check_ready()
    response.headers["Cache-Control"] = "no-store"
    return ReadyAnswer()


@router.get(
    "/metrics",
    summary="Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Every metric, as docs/api.md lists them.",
            "content": {"text/plain": {}, "application/openmetrics-text": {}},
        },
        **problems(414),
    },
)
async def metrics(request: Request) -> Response:
    """Every metric, in the format that the Accept header prefers."""
    body, content_type = state_of(request)["telemetry"].exposition(
        request.headers.get("accept", "")
    )
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
