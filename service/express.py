"""Pictures past FastAPI's routing, which takes longer than answering one from the cache.

Knows addresses and nothing else: the handlers are the routes' own, so that an answer is the same
either way; tests/service/test_express.py compares them.
"""

from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import VisageError
from service.problems import problem_response
from service.routes import faces

FACES = "/v1/faces/"


class _Route:
    """What telemetry reads of a route."""

    def __init__(self, path: str) -> None:
        self.path = path


IMAGE, SEEDED = _Route("/image"), _Route(FACES + "{seed}")


class ExpressMiddleware:
    """Answers GET of new and of seeded faces by itself, and hands everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            path = scope["path"]
            if path == "/image":
                await _answer(faces.image, IMAGE, scope, receive, send)
                return
            if path.startswith(FACES) and path != FACES + "random":
                scope["path_params"] = {"seed": path[len(FACES) :]}
                await _answer(faces.seeded_face, SEEDED, scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _answer(handler: Any, route: _Route, scope: Scope, receive: Receive, send: Send) -> None:
    scope["route"] = route
    try:
        response = await handler(Request(scope, receive, send))
    except VisageError as error:
        response = problem_response(error)
    await response(scope, receive, send)
