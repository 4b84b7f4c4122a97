"""A face as JSON: the picture together with everything that is known about it.

Knows nothing about HTTP; the picture comes encoded.
"""

import json
from base64 import b64encode
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def face_json(
    *,
    seed: str,
    model: str,
    labels: Mapping[str, str],
    size: int,
    z_Z: NDArray[np.float32],
    png: bytes,
) -> bytes:
    """The document's bytes, the same for the same face. `latent` is what POST /v1/faces takes."""
    document = {
        "seed": seed,
        "model": model,
        "labels": dict(labels),
        "size": size,
        "ai_generated": True,
        "latent": [float(str(x)) for x in z_Z],  # shortest text that is the same float32
        "image": {
            "media_type": "image/png",
            "encoding": "base64",
            "data": b64encode(png).decode("ascii"),
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()
