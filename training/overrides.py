"""`--set a.b=c`: one field of a configuration, named by its path and read by its type.

Knows nothing about what fields mean: the configuration checks itself when all are set.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any

from training.config import TrainConfig
from training.errors import ConfigError

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def override(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """The configuration with every `path=value` set; they are checked together.

    Raises ConfigError naming what is unknown, with the nearest names, or cannot be read.
    """
    fields = settings()
    data = config.to_dict()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        path = path.strip()
        if not equals:
            raise ConfigError(f"--set {assignment}: write it as name=value, as loss.r1_gamma=1")
        if path not in fields:
            raise ConfigError(f"there is no setting {path!r}: {_suggestion(path, list(fields))}")
        *parents, name = path.split(".")
        target = data
        for parent in parents:
            target = target[parent]
        target[name] = _parsed(path, text.strip(), fields[path])
    return TrainConfig.from_dict(data)


def settings() -> dict[str, Any]:
    """Every setting's path → its type, in order. The preset's name is no setting."""
    paths = _paths(TrainConfig, "")
    del paths["preset"]
    return paths


def _paths(kind: type, prefix: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for name, hint in ((field.name, hints[field.name]) for field in dataclasses.fields(kind)):
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            paths |= _paths(hint, f"{prefix}{name}.")
        else:
            paths[prefix + name] = hint
    return paths


def _suggestion(path: str, known: list[str]) -> str:
    """The nearest names, by the whole path or by its last part."""
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.6)
    leaf = path.rsplit(".", 1)[-1]
    leaves = [name.rsplit(".", 1)[-1] for name in known]
    for match in difflib.get_close_matches(leaf, leaves, n=3, cutoff=0.7):
        near += [name for name in known if name.rsplit(".", 1)[-1] == match and name not in near]
    if near:
        return f"did you mean {' or '.join(near[:3])}?"
    return f"choose one of {', '.join(known)}"


def _parsed(path: str, text: str, kind: Any) -> Any:
    """Text → a value of the setting's type."""
    try:
        if kind is bool:
            if text.lower() not in TRUE + FALSE:
                raise ValueError
            return text.lower() in TRUE
        if isinstance(kind, types.GenericAlias) and kind.__origin__ is dict:
            pairs = (pair.split(":") for pair in text.split(",") if pair)
            return {int(key): kind.__args__[1](value) for key, value in pairs}
        if isinstance(kind, types.GenericAlias) and kind.__origin__ is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be {text!r}: {_expected(kind)}") from error


def _expected(kind: Any) -> str:
    if kind is bool:
        return "write true or false"
    if kind is int:
        return "write a whole number"
    if kind is float:
        return "write a number"
    return "write pairs as 8:64,16:32"
