"""Named bytes → files of a folder, whole or not there at all. Knows nothing of what they are."""

import os
from collections.abc import Mapping
from pathlib import Path

from training.errors import ConfigError


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write each under another name, then rename it; returns where they are.

    Raises ConfigError naming the folder where that cannot be done.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            partial = folder / f".{name}.{os.getpid()}.partial"
            try:
                partial.write_bytes(data)
                written.append(partial.replace(folder / name))
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror or error}): free some space there, or "
            "choose a folder where you may write"
        ) from error
    return written
