"""Checkpoint folder → an engine that computes its pictures, the best one that is installed.

These files alone know torch and the models package: this one and the engines'.
None knows HTTP, PNG or queues.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from models import Checkpoint, CheckpointError, load_checkpoint
from service.engine_protocol import Engine
from service.errors import SettingsError
from service.labels import Attribute, AttributeSpace, ModelSpec
from service.torch_engine import DEFAULT_TILE, TorchEngine


def load_engine(
    folder: Path,
    *,
    kind: str = "auto",
    precision: str = "auto",
    tile: int = DEFAULT_TILE,
    threads: int,
    niceness: int = 0,
    critic: bool = True,
) -> Engine:
    """The engine of a checkpoint, by `auto` the first there is of `cuda`, `openvino` and `torch`.

    `precision`: auto, fp32 or bf16; `tile` is for `cuda` and `torch`, `niceness` of the threads for
    `openvino`; `critic`: whether to load the checkpoint's critic, where it has one, which judges on
    the CPU whatever the engine. Which engine it is depends on what is installed and on the machine,
    never on a measurement: two starts on a busy machine would measure differently, and make other
    bytes. Raises CheckpointError where the folder is no good, SettingsError where an engine or a
    precision asked for cannot be had.
    """
    checkpoint = load_checkpoint(folder)
    try:
        spec = describe(checkpoint)
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {folder} cannot be served ({error}): export it with other names"
        ) from error
    cuda = kind == "cuda" or (kind == "auto" and torch.cuda.is_available())
    judging = None
    if critic and "critic_sha256" in checkpoint.provenance:
        from service.critic import critic_of  # most checkpoints have none

        judging = critic_of(checkpoint, folder, takes_turns=not cuda)
        spec = replace(spec, critic=judging.version if judging else "")
    engine = _engine(checkpoint, spec, "cuda" if cuda else kind, precision, tile, threads, niceness)
    engine.critic = judging
    return engine


def _engine(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    kind: str,
    precision: str,
    tile: int,
    threads: int,
    niceness: int,
) -> Engine:
    if kind == "cuda":
        from service.cuda_engine import CudaEngine

        try:
            return CudaEngine(checkpoint, spec, tile=tile, precision=precision)
        except ValueError as error:
            raise SettingsError(
                f"VISAGE_ENGINE is {kind} and VISAGE_PRECISION {precision}, but {error}"
            ) from error
    installed = find_spec("openvino") is not None
    if kind == "openvino" and not installed:
        raise SettingsError(
            "VISAGE_ENGINE is openvino, which is not installed: "
            "pip install '.[cpu]' in the checkout"
        )
    if kind == "torch" or not installed:
        if precision == "bf16":
            raise SettingsError(
                "VISAGE_PRECISION is bf16, which torch is not asked for here: "
                "pip install '.[cpu]' in the checkout and use VISAGE_ENGINE=openvino, or use fp32"
            )
        return TorchEngine(checkpoint, spec, tile=tile, threads=threads)

    from service.openvino_engine import OpenVinoEngine  # an optional dependency

    try:
        return OpenVinoEngine(
            checkpoint, spec, threads=threads, precision=precision, niceness=niceness
        )
    except ValueError as error:
        raise SettingsError(f"VISAGE_PRECISION is {precision}, but {error}") from error


def describe(checkpoint: Checkpoint) -> ModelSpec:
    """What the rest of the service needs to know of a checkpoint. ValueError: it cannot be served.

    The engine says what it is itself.
    """
    attributes = [Attribute(a.name, a.values, a.prior) for a in checkpoint.attributes]
    licence = checkpoint.provenance.get("licence")
    metrics = checkpoint.provenance.get("metrics")
    return ModelSpec(
        name=checkpoint.name,
        digest=checkpoint.digest,
        config_digest=checkpoint.config_digest,
        resolution=checkpoint.config.resolution,
        latent_dim=checkpoint.config.latent_dim,
        space=AttributeSpace(attributes, checkpoint.joint_prior),
        licence=licence if isinstance(licence, str) else None,
        metrics=metrics if isinstance(metrics, dict) else {},
        engine="",
    )
