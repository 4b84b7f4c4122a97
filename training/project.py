"""The command `project`: photograph + checkpoint → a folder with pictures and latent.json.

Knows nothing about how the latent is found (`projection`) or what the files hold (`photograph`).
"""

from collections.abc import Sequence
from pathlib import Path

from models import load_checkpoint
from training.errors import ConfigError
from training.files import write_files
from training.photograph import likeness, projection_files, read_photograph
from training.projection import Report, project


def project_photograph(
    photo: Path,
    checkpoint: Path,
    out: Path,
    *,
    labels: Sequence[str] = (),
    seed: int = 0,
    steps: int = 400,
    check_face: bool = True,
    report: Report | None = None,
) -> list[str]:
    """Project a photograph and write what was found; returns lines that say how good it is.

    `labels`: what is known of the face, each as "name=value". Raises TrainingError or
    CheckpointError before anything is written.
    """
    given = _parse_labels(labels)
    loaded = load_checkpoint(checkpoint)
    target_HWC = read_photograph(photo, loaded.config.resolution, check_face=check_face)
    projection = project(
        target_HWC,
        loaded.build(),
        loaded.attributes,
        loaded.joint_prior,
        given=given,
        seed=seed,
        steps=steps,
        report=report,
    )
    write_files(out, projection_files(projection, target_HWC))
    lines = [
        f"{out}: projection.png, progress.png, latent.json (a latent of "
        f"{loaded.name}@{loaded.digest[:12]})",
        f"perceptual distance {projection.start_distance:.3f} → {projection.distance:.3f}",
    ]
    if projection.labels:
        found = ", ".join(f"{name}={value}" for name, value in projection.labels.items())
        lines.append(f"labels {found}")
    if check_face and (distances := likeness(projection, target_HWC)) is not None:
        start, end = distances
        lines.append(
            f"dlib distance {start:.2f} → {end:.2f} (photographs of one person: mostly under 0.6)"
        )
    return lines


def _parse_labels(labels: Sequence[str]) -> dict[str, str]:
    given = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"the label {label!r} does not read name=value, as in age=30-39")
        if name in given:
            raise ConfigError(f"the attribute {name!r} is given twice: give it once")
        given[name] = value
    return given
