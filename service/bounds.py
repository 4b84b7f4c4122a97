"""Refuses addresses and bodies that are too long, before anybody reads them. Pure ASGI.

Knows nothing about routes: the answer is rendered by whoever renders all others.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLargeError, UriTooLongError, VisageError


class BoundsMiddleware:
    """`max_url_bytes` counts path and query; a body is measured as announced and as received."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_url_bytes: int,
        max_body_bytes: int,
        problem_response: Callable[[VisageError], ASGIApp],
    ) -> None:
        self._app = app
        self._max_url_bytes = max_url_bytes
        self._max_body_bytes = max_body_bytes
        self._problem_response = problem_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await self._problem_response(refusal)(scope, receive, send)
            return
        if scope.get("method") == "GET" and _bodiless(scope):
            await self._app(scope, receive, send)
            return
        received = 0
        excess: TooLargeError | None = None
        started = False

        async def measured_receive() -> Message:
            nonlocal received, excess
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                excess = self._too_large()
                raise excess
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            # Whatever the app makes of half a body, the answer is that the body is too large.
            if excess is None or started:
                started = True
                await send(message)

        try:
            await self._app(scope, measured_receive, guarded_send)
        except Exception:
            if excess is None or started:
                raise
        if excess is not None and not started:
            await self._problem_response(excess)(scope, receive, send)

    def _refusal(self, scope: Scope) -> VisageError | None:
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        length = len(path) + (1 + len(query) if query else 0)
        if length > self._max_url_bytes:
            return UriTooLongError(
                f"This address has {length} bytes; up to {self._max_url_bytes} are read: "
                "use POST for more."
            )
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"")
        # More digits than any length has are no length, and int() would refuse them too.
        if announced.isdigit() and (len(announced) > 20 or int(announced) > self._max_body_bytes):
            return self._too_large()
        return None

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"A body may have up to {self._max_body_bytes} bytes here: ask for less at a time."
        )


def _bodiless(scope: Scope) -> bool:
    """Whether the headers announce no body, as those of nearly every GET: nothing to measure."""
    announce = (b"content-length", b"transfer-encoding")
    return not any(name in announce for name, _ in scope["headers"])
