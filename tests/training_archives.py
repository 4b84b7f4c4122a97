"""Tiny data sets for tests: drawn here, never photographs."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_archive(path: Path, *, count: int = 48, resolution: int = 16, labelled: bool = True):
    """A dataset archive of random pictures with two attributes; returns its path."""
    random = np.random.default_rng(0)
    labels = []
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            pixels = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            name = f"images/00000/img{i:08d}.png"
            archive.writestr(name, buffer.getvalue())
            labels.append([name, [i % 2, i % 3] if labelled else []])
        attributes = [
            {"name": "gender", "values": ["male", "female"]},
            {"name": "age", "values": ["0-9", "10-19", "20+"]},
        ]
        description = {
            "format_version": 1,
            "name": path.stem,
            "resolution": resolution,
            "attributes": attributes if labelled else [],
            "labels": labels,
            "digest": f"{count}-{resolution}-{labelled}".encode().hex().ljust(64, "0"),
        }
        archive.writestr("dataset.json", json.dumps(description))
    return path
