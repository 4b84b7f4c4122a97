"""Every setting of the service: environment variables with the prefix VISAGE_, or flags.

Knows nothing about what the settings are used for. Each field documents itself;
docs/settings.md lists them all, and a test fails when one is missing there.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import SettingsError

PREFIX = "VISAGE_"
DEFAULT_CHECKPOINT = Path(__file__).resolve().parent.parent / "models" / "checkpoints" / "faces-64"


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
    checkpoint: Path = Field(DEFAULT_CHECKPOINT, description="Folder of the checkpoint to serve.")
    tile: int = Field(
        8,
        ge=1,
        le=1024,
        description="Pictures computed in one step, always; another tile, other last bits.",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="Threads for inference; 0: one per core of this process."
    )
    encoder_threads: int = Field(2, ge=1, le=64, description="Threads that encode pictures.")
    queue_capacity: int = Field(
        256, ge=1, le=100_000, description="Requests that may wait; more are refused with 503."
    )
    deadline: float = Field(
        10.0, gt=0, le=600, description="Seconds a request may take before it is answered 504."
    )
    batch_wait: float = Field(
        0.002, ge=0, le=1, description="Seconds to wait for company when a tile is not yet full."
    )
    drain_grace: float = Field(
        20.0, ge=0, le=600, description="Seconds to finish accepted requests after SIGTERM."
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
