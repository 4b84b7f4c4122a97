"""Other projects' weights → our checkpoint, to the same pictures.

Knows three kinds of file: those of facebookresearch/pytorch_GAN_zoo, of akanimax/pro_gan_pytorch
and the official TensorFlow pickles. All are pickles; nothing in them is ever run (`unpickling`).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models import Checkpoint, save_checkpoint
from training.errors import ImportFileError
from training.gallery import render
from training.grids import grid, png_bytes
from training.importers import gan_zoo, official, pro_gan_pytorch
from training.importers.card import import_card
from training.importers.foreign import Imported
from training.importers.unpickling import read_pickle

__all__ = ["Imported", "import_checkpoint", "read_weights"]

GRID_SEEDS = range(64)


def read_weights(file: Path, pixel_norms: tuple[str, ...] | None = None) -> Imported:
    """The generator in `file`, whichever project wrote it.

    `pixel_norms`: where that version of the project has them, if not where its newest does (see
    `models.generator.PIXEL_NORMS`). Raises ImportFileError.
    """
    data = read_pickle(file)
    try:
        if isinstance(data, Mapping) and "netG" in data:
            return gan_zoo.read(data, pixel_norms)
        if isinstance(data, Mapping) and ("shadow_generator" in data or "generator" in data):
            return pro_gan_pytorch.read(data, pixel_norms)
        if isinstance(data, (tuple, list)) and len(data) == 3:
            return official.read(data, pixel_norms)
    except ImportFileError:
        raise
    except Exception as error:  # it reads well, but what stands in it is of any other kind
        raise ImportFileError(
            f"{file} is damaged, or of a version we do not know ({type(error).__name__}): "
            "get it again"
        ) from error
    raise ImportFileError(
        f"{file} holds no generator we know: it must be a file of pytorch_GAN_zoo, "
        "of pro_gan_pytorch (3.x) or of the official TensorFlow code"
    )


def import_checkpoint(
    file: Path,
    folder: Path,
    *,
    licence: str,
    pixel_norms: tuple[str, ...] | None = None,
) -> tuple[Checkpoint, tuple[str, ...]]:
    """Write the checkpoint `folder`, in float32, and say what people should know about it.

    Raises ImportFileError for the file, CheckpointError for the folder.
    """
    imported = read_weights(file, pixel_norms)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    provenance: dict[str, Any] = {
        "imported_from": {"project": imported.project, "file": file.name, "sha256": digest},
        "notes": list(imported.notes),
        "torch": torch.__version__,
        "metrics": None,
        "licence": licence,
    }
    samples = render(imported.generator, GRID_SEEDS, imported.attributes, None)
    side = imported.generator.config.resolution
    saved = save_checkpoint(
        folder,
        generator=imported.generator,
        attributes=imported.attributes,
        joint_prior=None,
        provenance=provenance,
        readme=import_card(folder.name, imported, provenance),
        samples_png=png_bytes(grid(samples, columns=8, scale=2 if side < 128 else 1)),
        dtype=torch.float32,
    )
    return saved, imported.notes
