"""Everything the service refuses or fails to do, as one tree; each error carries its HTTP face.

Knows nothing about HTTP libraries, queues or models: it turns a reason into the fields of
a problem document (RFC 9457).

VisageError                        500  internal
├── SettingsError                  —    (console only: exit code 2)
├── BadRequestError                400  bad-request
├── UnauthorizedError              401  unauthorized
├── AdminDisabledError             403  admin-disabled
├── NotFoundError                  404  not-found
│   └── UnknownModelError          404  unknown-model
├── MethodNotAllowedError          405  method-not-allowed
├── NotAcceptableError             406  not-acceptable
├── TooLargeError                  413  too-large
├── UriTooLongError                414  uri-too-long
├── UnsupportedMediaTypeError      415  unsupported-media-type
├── InvalidParametersError         422  invalid-parameters
├── CheckpointRejectedError        422  checkpoint-rejected
├── RateLimitedError               429  rate-limited         (with Retry-After)
├── HeadersTooLargeError           431  headers-too-large
├── ClientGoneError                499  client-gone          (counted; nobody reads it)
├── InferenceError                 500  inference-failed
│   ├── EngineOutOfMemoryError     500  out-of-memory
│   └── NotFiniteError             500  not-finite
├── PartlyLoadedError              500  partly-loaded
├── UnavailableError               503  unavailable          (all with Retry-After)
│   ├── NotReadyError              503  not-ready
│   ├── DrainingError              503  draining
│   └── QueueFullError             503  queue-full
└── DeadlineError                  504  deadline-passed
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

PROBLEM_TYPE_PREFIX = "urn:visage:problem:"
"""Problem types are names, not addresses; docs/api.md explains each."""
MAX_PROBLEMS = 64
"""Things wrong with one request that are named: an answer stays in proportion to what was asked."""
MAX_PARAMETER, MAX_DETAIL = 256, 4096
"""Characters of each name, which the client wrote, and of each sentence, which quotes it."""


class VisageError(Exception):
    """Root of the tree. The message is one sentence for whoever asked."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The server failed"

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that belong to this answer beside those of every answer."""
        return {}

    def problem(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": PROBLEM_TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": str(self),
        }


class SettingsError(VisageError):
    """A setting is unknown or its value is no good; the console prints it, HTTP never does."""

    slug = "settings"
    title = "The settings are not usable"


class BadRequestError(VisageError):
    """The request cannot be read: its body is not what its type says."""

    status = 400
    slug = "bad-request"
    title = "The request cannot be read"


class UnauthorizedError(VisageError):
    """A key or token is missing, or is none of those that count here."""

    status = 401
    slug = "unauthorized"
    title = "A valid key is needed"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="visage"'}


class AdminDisabledError(VisageError):
    """Admin routes are off unless a token is configured."""

    status = 403
    slug = "admin-disabled"
    title = "Admin routes are off"


class NotFoundError(VisageError):
    """No such route."""

    status = 404
    slug = "not-found"
    title = "There is nothing here"


class UnknownModelError(NotFoundError):
    """A model was named that this server has not loaded."""

    slug = "unknown-model"
    title = "This model is not loaded"


class MethodNotAllowedError(VisageError):
    """The route exists, but not with this method. `allowed` becomes the Allow header."""

    status = 405
    slug = "method-not-allowed"
    title = "This method is not for this route"

    def __init__(self, detail: str, *, allowed: str) -> None:
        super().__init__(detail)
        self._allowed = allowed

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Allow": self._allowed}


class NotAcceptableError(VisageError):
    """The picture was asked for in a format that this server does not make."""

    status = 406
    slug = "not-acceptable"
    title = "This format is not made here"


class TooLargeError(VisageError):
    """Too many items or too large a body."""

    status = 413
    slug = "too-large"
    title = "This is more than one request may hold"


class UriTooLongError(VisageError):
    """The address is longer than addresses may be."""

    status = 414
    slug = "uri-too-long"
    title = "The address is too long"


class UnsupportedMediaTypeError(VisageError):
    """The body's Content-Type is not one that this route reads."""

    status = 415
    slug = "unsupported-media-type"
    title = "This route does not read such bodies"


@dataclass(frozen=True)
class InvalidParameter:
    """One parameter that is wrong, why, and what would be right."""

    parameter: str
    detail: str
    allowed: Sequence[str] = ()


def _shortened(problem: InvalidParameter) -> InvalidParameter:
    """With no more of what was sent in it than helps to find it again."""
    return replace(
        problem,
        parameter=_cut(problem.parameter, MAX_PARAMETER),
        detail=_cut(problem.detail, MAX_DETAIL),
    )


def _cut(text: str, length: int) -> str:
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


class HeadersTooLargeError(VisageError):
    """Request line and headers together are longer than anybody needs."""

    status = 431
    slug = "headers-too-large"
    title = "The request's headers are too long"


class InvalidParametersError(VisageError):
    """The request reads well but asks for something that does not exist."""

    status = 422
    slug = "invalid-parameters"
    title = "Some parameters are not valid"

    def __init__(self, problems: Sequence[InvalidParameter]) -> None:
        self.problems = tuple(_shortened(problem) for problem in problems[:MAX_PROBLEMS])
        more = len(problems) - len(self.problems)
        rest = [f"And {more} more."] if more else []
        super().__init__(" ".join([*(problem.detail for problem in self.problems), *rest]))

    def problem(self) -> dict[str, Any]:
        return super().problem() | {
            "errors": [
                {"parameter": p.parameter, "detail": p.detail}
                | ({"allowed": list(p.allowed)} if p.allowed else {})
                for p in self.problems
            ]
        }


class CheckpointRejectedError(VisageError):
    """A checkpoint that should be loaded is no good; what was served before still is."""

    status = 422
    slug = "checkpoint-rejected"
    title = "The checkpoint was not loaded"


class RateLimitedError(VisageError):
    """The client's quota is used up. `headers`: the RateLimit fields; `retry_after`: seconds."""

    status = 429
    slug = "rate-limited"
    title = "Too many requests from this client"

    def __init__(
        self, detail: str, *, retry_after: int, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self._headers = {**(headers or {}), "Retry-After": str(retry_after)}

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers


class ClientGoneError(VisageError):
    """The client left before its picture was there. 499 is what proxies log for that."""

    status = 499
    slug = "client-gone"
    title = "The client left"


class InferenceError(VisageError):
    """The engine failed on the batch this picture was in."""

    slug = "inference-failed"
    title = "The picture could not be computed"


class EngineOutOfMemoryError(InferenceError):
    """Even the smallest batch does not fit into the memory of the device."""

    slug = "out-of-memory"
    title = "The server ran out of memory"


class NotFiniteError(InferenceError):
    """What was computed is no picture: it holds NaN or infinity."""

    slug = "not-finite"
    title = "The picture came out as no picture"

    @classmethod
    def of(cls, bad: int, count: int) -> "NotFiniteError":
        """For `bad` of the `count` pictures of a batch."""
        return cls(
            "What was computed is not finite, and so no picture"
            + (f": {bad} of {count} in this batch." if count > 1 else ".")
        )


class PartlyLoadedError(VisageError):
    """Of several processes, some have loaded a checkpoint and others have not."""

    slug = "partly-loaded"
    title = "Not every process has loaded the checkpoint"


class UnavailableError(VisageError):
    """The server cannot do this now, but may soon. `retry_after`: whole seconds."""

    status = 503
    slug = "unavailable"
    title = "Not available now"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}


class NotReadyError(UnavailableError):
    """No engine yet, or none any more."""

    slug = "not-ready"
    title = "The server is not ready"


class DrainingError(UnavailableError):
    """The server is about to stop: it finishes what it accepted and accepts no more."""

    slug = "draining"
    title = "The server is shutting down"
    reason = "draining"

    def __init__(
        self, detail: str = "The server is shutting down; ask another one, or try again."
    ) -> None:
        super().__init__(detail)


class QueueFullError(UnavailableError):
    """As many requests wait as may, or for as long as any may; `reason` says which, for metrics."""

    slug = "queue-full"
    title = "Too many requests are waiting"

    def __init__(self, detail: str, *, retry_after: int = 1, reason: str = "queue_full") -> None:
        super().__init__(detail, retry_after=retry_after)
        self.reason = reason


class DeadlineError(VisageError):
    """The picture was not there when its deadline passed."""

    status = 504
    slug = "deadline-passed"
    title = "The deadline passed"
    reason = "deadline"
