"""A file → the JSON object it holds, or why it holds none. Knows nothing of what objects mean.

Stricter than JSON: what could not be handed on, to a browser say, is refused where it comes in.
"""

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 16 << 20
"""A model with a thousand labels has a hundredth of it."""
MAX_DEPTH = 16


def read_object(path: Path) -> dict[str, Any]:
    """Raises OSError, and ValueError with the reason: damaged, too large, nested too deep, or
    with numbers or texts in it that JSON has not."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    _check(data, 0)
    return data


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError, a ValueError: half of a surrogate pair
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
