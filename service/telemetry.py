"""Every metric of the service.

Knows nothing about what it counts. No label ever carries a seed or a client; routes appear as
their templates, unknown methods as OTHER, so the number of series is bounded.
"""

import platform
from collections.abc import Callable
from importlib import metadata
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from service.log_stream import lines_lost

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
SHORT_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
disable_created_metrics()  # type: ignore[no-untyped-call]  # a timestamp beside every series doubles each scrape for nothing


def version() -> str:
    """The installed version, or "source" where the package runs without being installed."""
    try:
        return metadata.version("visage")
    except metadata.PackageNotFoundError:
        return "source"


Across = Literal["livesum", "livemax"]
"""How several processes' gauges become one (metrics_shared.py): those of the living, that is."""


class Telemetry:
    """The metrics, in a registry of their own: two apps in one process do not meet."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(name, about, labels, namespace="visage", registry=registry)

        def gauge(name: str, about: str, *labels: str, across: Across = "livesum") -> Gauge:
            return Gauge(
                name,
                about,
                labels,
                namespace="visage",
                registry=registry,
                multiprocess_mode=across,
            )

        def histogram(
            name: str, about: str, *labels: str, buckets: tuple[float, ...] = SECONDS
        ) -> Histogram:
            return Histogram(
                name, about, labels, namespace="visage", registry=registry, buckets=buckets
            )

        self.http_requests = counter(
            "http_requests_total", "Answers sent.", "route", "method", "code"
        )
        self.http_request_duration = histogram(
            "http_request_duration_seconds",
            "From request until the answer was handed to the system.",
            "route",
        )
        self.requests_in_flight = gauge("requests_in_flight", "Requests being answered.")
        self.connections = gauge("connections", "Open connections of clients.")
        self.connections_closed = counter(
            "connections_closed_total", "Connections that were closed on a client.", "reason"
        )
        self.queue_depth = gauge("queue_depth", "Requests waiting for the engine.", "model")
        self.queue_capacity = gauge("queue_capacity", "Requests that may wait.", "model")
        self.queue_wait = histogram("queue_wait_seconds", "From queued to taken by the engine.")
        self.batch_size = histogram(
            "batch_size", "Pictures per batch.", "model", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
        )
        self.batch_fill_ratio = histogram(
            "batch_fill_ratio",
            "Pictures per batch over the tile.",
            "model",
            buckets=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
        )
        self.inference = histogram("inference_seconds", "One batch in the engine.", "model")
        self.choices = counter(
            "choices_total", "Times the critic chose among several pictures.", "model"
        )
        self.candidates = counter(
            "candidates_total", "Pictures that the critic chose among.", "model"
        )
        self.critic = histogram("critic_seconds", "One picture at the critic.", "model")
        self.encode = histogram(
            "encode_seconds", "One picture in the encoder.", "format", buckets=SHORT_SECONDS
        )
        self.encoder_backlog = gauge(
            "encoder_backlog", "Pictures in the encoder's threads or waiting for one."
        )
        self.encoder_threads = gauge("encoder_threads", "Threads that encode pictures.")
        self.images_generated = counter(
            "images_generated_total", "Pictures computed.", "model", "conditional"
        )
        self.requests_rejected = counter(
            "requests_rejected_total", "Requests refused, by reason.", "reason"
        )
        self.requests_cancelled = counter(
            "requests_cancelled_total", "Requests whose client left, by stage.", "stage"
        )
        self.cache_requests = counter(
            "cache_requests_total", "Seeded pictures looked up in the cache.", "result"
        )
        self.claims_given_up = counter(
            "claims_given_up_total", "Pictures made here, though another replica had begun to."
        )
        self.redis_errors = counter(
            "redis_errors_total", "Redis calls that failed or took too long.", "op"
        )
        self.engine_oom = counter(
            "engine_oom_total", "Times the engine ran out of memory.", "model"
        )
        self.engine_failures = counter(
            "engine_failures_total", "Batches of which nothing came.", "model", "reason"
        )
        self.engine_busy = gauge(
            "engine_busy_seconds",
            "How long the engine has been at its present batch.",
            "model",
            across="livemax",
        )
        self.reservoir_faces = gauge(
            "reservoir_faces", "Fresh faces made in idle time, waiting to be served.", "model"
        )
        self.reservoir_requests = counter(
            "reservoir_requests_total", "Random faces asked for, by whether one waited.", "result"
        )
        self.device_memory = gauge("device_memory_bytes", "Memory of the inference device.", "kind")
        self.model_load = gauge(
            "model_load_seconds", "Time the checkpoint took to load.", "model", across="livemax"
        )
        self.warmup = gauge(
            "warmup_seconds", "Time the engine took to warm up.", "model", across="livemax"
        )
        self.ready = gauge("ready", "Processes by which pictures can be served.")
        self.processes = gauge("processes", "Processes that shall serve.", across="livemax")
        self.processes.set(1)
        self.processes_died = counter(
            "processes_died_total", "Processes that ended though nobody had told them to."
        )
        build = gauge(
            "build_info", "What runs here; always 1.", "version", "python", across="livemax"
        )
        build.labels(version=version(), python=platform.python_version()).set(1)
        for reason in ("queue_full", "rate_limit", "deadline", "draining"):
            self.requests_rejected.labels(reason=reason)
        for result in ("hit", "miss", "coalesced", "error"):
            self.cache_requests.labels(result=result)
        for result in ("hit", "miss"):
            self.reservoir_requests.labels(result=result)
        for stage in ("queued", "running"):
            self.requests_cancelled.labels(stage=stage)
        for reason in ("idle", "slow_request", "slow_reader", "crowded"):
            self.connections_closed.labels(reason=reason)
        registry.register(lines_lost())
        for op in ("get", "put", "release", "limit", "check"):
            self.redis_errors.labels(op=op)
        ProcessCollector(registry=registry)

    def watch(self, *, ready: Callable[[], bool], weights_bytes: Callable[[], int]) -> None:
        """Read these whenever somebody scrapes."""
        self.follow(self.ready, lambda: float(ready()))
        self.follow(self.device_memory.labels(kind="weights"), weights_bytes)

    def follow(self, gauge: Gauge, function: Callable[[], float]) -> None:
        """Let the gauge show what `function` returns."""
        gauge.set_function(function)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics and their content type, in the format the Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
