"""Every setting of the service: environment variables with the prefix VISAGE_, or flags.

Knows nothing about what the settings are used for. Each field documents itself;
docs/settings.md lists them all, and a test fails when one is missing there.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import SettingsError

PREFIX = "VISAGE_"
DEFAULT_CHECKPOINT = Path(__file__).resolve().parent.parent / "models" / "checkpoints" / "faces-128"


T = TypeVar("T")


def _split(given: object) -> object:
    """`a, b` → ("a", "b"), and nothing → ()."""
    if isinstance(given, str):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    return given


CommaSeparated = Annotated[tuple[T, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Frozen; made once by `load_settings` and passed to whoever needs a part of it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0: any free one.")
    processes: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        1, description="Processes behind this address; auto: one per CUDA device, else 1."
    )
    checkpoints: CommaSeparated[Path] = Field(
        (DEFAULT_CHECKPOINT,),
        min_length=1,
        description="Folders of the checkpoints to serve, separated by commas.",
    )
    default_model: str = Field(
        "", description="Name of the model that answers where none is named; empty: the first."
    )
    engine: Literal["auto", "cuda", "openvino", "torch"] = Field(
        "auto",
        description="What computes pictures; auto: the first of cuda, openvino, torch.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="Of the computing; auto: bf16 where engine and device have it, "
        "else fp32, with cuda fp16.",
    )
    tile: int = Field(
        8,
        ge=1,
        le=1024,
        description="Pictures torch computes in one step, always; another tile, other last bits.",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="Threads for inference; 0: one per core of this process."
    )
    niceness: int = Field(
        10,
        ge=0,
        le=19,
        description="Of threads that infer by OpenVINO (Linux): the one that answers goes first.",
    )
    encoder_threads: int = Field(2, ge=1, le=64, description="Threads that encode pictures.")
    queue_capacity: int = Field(
        256, ge=1, le=100_000, description="Requests that may wait; more are refused with 503."
    )
    deadline: float = Field(
        10.0, gt=0, le=600, description="Seconds a request may take before it is answered 504."
    )
    watchdog: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="Seconds at one batch after which the engine counts as hung, "
        "and /healthz is 503.",
    )
    batch_wait: float = Field(
        0.0, ge=0, le=1, description="Seconds to wait for company when a batch is not yet full."
    )
    drain_grace: float = Field(
        20.0, ge=0, le=600, description="Seconds to finish accepted requests after SIGTERM."
    )
    max_items: int = Field(
        64, ge=1, le=10_000, description="Pictures one POST may ask for; more are refused with 413."
    )
    max_frames: int = Field(120, ge=2, le=1000, description="Frames of a morph, at most.")
    max_best_of: int = Field(
        1,
        ge=1,
        le=64,
        description="Faces among which a model's critic picks the best, at most; 1: it never does.",
    )
    max_body_bytes: int = Field(
        8 * 2**20, ge=1024, le=2**30, description="Bytes of a request body, at most."
    )
    max_url_bytes: int = Field(
        4096, ge=256, le=60_000, description="Bytes of an address with its query, at most."
    )
    client_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds a client may take to send a request, or to take in 64 KiB of an "
        "answer.",
    )
    keep_alive: float = Field(
        75.0,
        gt=0,
        le=86_400,
        description="Seconds a connection may rest between an answer and the next request.",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Open connections, at most; the one silent for longest makes room.",
    )
    max_unsent_bytes: int = Field(
        256 * 2**20,
        ge=2**20,
        le=2**40,
        description="Bytes of answers that clients have yet to take in, at most.",
    )
    cache_bytes: int = Field(
        64 * 2**20, ge=0, le=2**40, description="Bytes of pictures cached in process; 0: none."
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="Redis that replicas share, e.g. redis://localhost:6379/0; empty: none.",
    )
    redis_timeout: float = Field(
        0.05, gt=0, le=5, description="Seconds Redis may take before it counts as gone."
    )
    redis_ttl: int = Field(
        86_400, ge=1, le=31_536_000, description="Seconds a picture stays in Redis."
    )
    reservoir: int = Field(
        16,
        ge=0,
        le=10_000,
        description="Fresh faces kept ready per popular label set, made in idle time; 0: none.",
    )
    reservoir_label_sets: int = Field(
        8, ge=1, le=1000, description="Label sets that have such a reservoir, at most."
    )
    rate_limit: str = Field(
        "", description="Pictures per client and time, e.g. 600/minute; empty: no limit."
    )
    trusted_proxies: CommaSeparated[IPv4Network | IPv6Network] = Field(
        (), description="Networks whose X-Forwarded-For is believed, separated by commas."
    )
    api_keys: CommaSeparated[SecretStr] = Field(
        (), description="Keys that clients may send as X-API-Key, separated by commas."
    )
    api_key_required: bool = Field(False, description="Whether pictures need one of these keys.")
    admin_token: SecretStr = Field(
        SecretStr(""), description="Bearer token of the admin routes; empty: they are off."
    )
    c2pa_certificate: Path | None = Field(
        None, description="PEM certificate chain that signs pictures by C2PA; empty: unsigned."
    )
    c2pa_key: Path | None = Field(None, description="PEM private key of that certificate.")
    tracing: bool = Field(
        False, description="OpenTelemetry traces of every request; needs an SDK set up."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Log lines for people (console) or for machines (json)."
    )
    access_log: bool = Field(False, description="Log one line per request; costs throughput.")

    @property
    def inference_threads(self) -> int:
        """`threads`, with 0 resolved to the cores this process may use."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


def load_settings(
    arguments: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from flags (first) and VISAGE_ variables, or SettingsError in one sentence.

    `environment` is looked through for misspelt names only; values come from the process's own.
    Prints help and exits where `arguments` ask for it.
    """
    _refuse_unknown_variables(environment)
    try:
        return Settings(_cli_parse_args=list(arguments))  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsError(
            f"{PREFIX}{name.upper()} is {first['input']!r}, which is not usable: "
            f"{first['msg'][:1].lower()}{first['msg'][1:]} (see docs/settings.md)"
        ) from None


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """A misspelt variable must not silently leave its setting at the default."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {close[0]}?" if close else "docs/settings.md lists them all"
            raise SettingsError(f"{name} is not a setting of this service: {hint}")
