"""Tiny data sets for tests: drawn here, never photographs."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

ATTRIBUTES = {"gender": ["male", "female"], "age": ["0-9", "10-19", "20+"]}


def write_archive(
    path: Path,
    *,
    count: int = 48,
    resolution: int = 16,
    labelled: bool = True,
    attributes: Mapping[str, list[str]] = ATTRIBUTES,
    label: Callable[[int], list[int]] = lambda i: [i % 2, i % 3],
) -> Path:
    """A dataset archive of random pictures; `label` gives each its values; returns its path."""
    random = np.random.default_rng(0)
    labels = []
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            pixels = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            name = f"images/00000/img{i:08d}.png"
            archive.writestr(name, buffer.getvalue())
            labels.append([name, label(i) if labelled else []])
        declared = [{"name": name, "values": values} for name, values in attributes.items()]
        description = {
            "format_version": 1,
            "name": path.stem,
            "resolution": resolution,
            "attributes": declared if labelled else [],
            "labels": labels,
            "digest": f"{count}-{resolution}-{labelled}".encode().hex().ljust(64, "0"),
        }
        archive.writestr("dataset.json", json.dumps(description))
    return path
