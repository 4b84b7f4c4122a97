"""A checkpoint's facts → its model card, for people. Pure text."""

from collections.abc import Mapping, Sequence
from typing import Any

from models import Attribute, Generator

_SEEN_THROUGH = ("features", "variety")
"""Discriminators that see pictures through EfficientNet."""


def model_card(
    name: str,
    generator: Generator,
    attributes: Sequence[Attribute],
    provenance: Mapping[str, Any],
    pictures: Mapping[str, str] | None = None,
) -> str:
    """README.md of a checkpoint: what it is, made from what, how good, what not to expect.

    `pictures`: further picture files beside the card → the line that stands under each.
    """
    config = generator.config
    parameters = sum(p.numel() for p in generator.parameters())
    dataset = provenance["dataset"]
    schedule = provenance["training"]["schedule"]
    sections = [
        f"# {name}",
        f"A conditional progressive GAN that makes {config.resolution}×{config.resolution} pictures"
        " of people who do not exist. Nobody shown is a real person; likeness to one is chance.",
        "![64 uncurated samples](samples.png)",
        "*Seeds 0 to 63 as the service shows them, nothing picked.*",
        *(f"![{caption}]({file})\n\n*{caption}*" for file, caption in (pictures or {}).items()),
        "## Use",
        f"```sh\nVISAGE_CHECKPOINTS=models/checkpoints/{name} python -m service\n```",
        "## Labels",
        _labels_table(attributes) if attributes else "None: the model is unconditional.",
        "## Training",
        "\n".join(
            [
                f"- Data: {dataset['pictures']:,} pictures of `{dataset['name']}` "
                f"(digest `{dataset['digest'][:16]}`)",
                *_origin(provenance.get("origin")),
                f"- Preset `{provenance['preset']}`, {provenance['images_seen'] / 1000:,.0f} "
                f"thousand real images seen, {_growth(schedule, config.resolution)}",
                f"- Generator: {parameters / 1e6:.2f} M parameters, averaged over training with a "
                f"half-life of {provenance['training']['average_half_life_kimg']:g} kimg",
                *_averaged_with(provenance.get("averaged_with")),
                f"- On {provenance['hardware']}",
                f"- Exported with torch {provenance['torch']}, code at "
                f"`{provenance['git_commit'] or 'an unknown commit'}`",
            ]
        ),
        "## Quality",
        _quality(provenance["metrics"]),
        *_other_pictures(provenance["metrics"], dataset),
        *_dependence(provenance),
        "## Limits",
        "- It shows what its training pictures show, with their skew: groups that are rare in the "
        "table above are made less well and less varied.\n"
        "- Labels are the data set's own annotations, in its own words: coarse, made by others, "
        "and no statement about any person.\n"
        "- Glasses, hands near the face, hats, profiles and busy backgrounds are where it fails "
        "most.\n"
        "- Not for identifying, judging or imitating anybody, nor for passing pictures off as "
        "photographs: the service marks every one as machine-made.",
        "## Licence",
        str(provenance["licence"]),
    ]
    return "\n\n".join(sections) + "\n"


def _growth(schedule: Mapping[str, Any], resolution: int) -> str:
    """How the resolution came about."""
    start = schedule["start_resolution"]
    if start == resolution:
        return f"at {resolution} px throughout"
    growth = (
        f"from {start} px up, {schedule['fade_kimg']:g} kimg to fade each resolution in and "
        f"{schedule['hold_kimg']:g} to hold it"
    )
    if steps := schedule.get("distil_steps"):  # not in runs of earlier versions
        growth += f", new layers first learned in {steps} steps to repeat what was there"
    return growth


def _origin(origin: Mapping[str, Any] | None) -> list[str]:
    """A line on the checkpoint that the run began from, if it did."""
    if origin is None:
        return []
    images = origin["images_seen"]
    seen = f", which had seen {images / 1000:,.0f} thousand images," if images else ""
    beside = "with its discriminator" if origin["critic"] else "beside a fresh discriminator"
    return [
        f"- Begun with the generator of `{origin['name']}@{origin['weights_sha256'][:12]}`{seen} "
        f"{beside}"
    ]


def _averaged_with(other: Mapping[str, Any] | None) -> list[str]:
    """A line on the checkpoint that the generator was averaged with, if it was."""
    if other is None:
        return []
    images = other["images_seen"]
    seen = f", after {images / 1000:,.0f} thousand images of its run" if images else ""
    return [
        f"- Its weights averaged with those of `{other['name']}@{other['weights_sha256'][:12]}`"
        f"{seen}, whose share is {other['share']:g}"
    ]


def _labels_table(attributes: Sequence[Attribute]) -> str:
    rows = ["| attribute | values, with their share of the training set |", "| --- | --- |"]
    for attribute in attributes:
        values = ", ".join(
            f"{value} {share:.1%}"
            for value, share in zip(attribute.values, attribute.prior, strict=True)
        )
        rows.append(f"| `{attribute.name}` | {values} |")
    return "\n".join(rows)


def _quality(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "Not evaluated yet: `python -m training evaluate`."
    rows = ["| measure | generated | real against real | samples |", "| --- | --- | --- | --- |"]
    for measure in metrics["measures"]:
        rows.append(
            f"| {measure['name']} | {measure['generated']:.4g} | {measure['real']:.4g} "
            f"| {measure['samples']} |"
        )
    return "\n".join([*rows, *_groups(metrics.get("groups", []))])


def _other_pictures(metrics: Mapping[str, Any] | None, dataset: Mapping[str, Any]) -> list[str]:
    """A sentence where the figures are beside other pictures than those trained on."""
    measured = (metrics or {}).get("dataset")
    if measured is None or measured["digest"] == dataset["digest"]:
        return []
    return [
        f"These are measured beside `{measured['name']}` (digest `{measured['digest'][:16]}`), "
        "which is not the archive it was trained on."
    ]


def _dependence(provenance: Mapping[str, Any]) -> list[str]:
    """What the figures above cannot say, where the run had help from a network that gives them, or
    what it came from had."""
    # Neither is in the settings of earlier versions.
    training = provenance["training"]
    weights = {name: training.get(name, {}).get("weight") for name in _SEEN_THROUGH}
    if not any(weights.values()) and not any(map(_helped, _sources(provenance))):
        return []
    return [
        "In training a discriminator beside the first saw pictures through EfficientNet-lite0. So "
        "figures from EfficientNet's features are not independent of it; those of faces, labels "
        "and sliced Wasserstein distance are."
    ]


def _helped(source: Mapping[str, Any]) -> bool:
    """Whether weights that these came from were trained so, or came from such weights."""
    weights = source.get("companion_weights", {})
    return any(map(weights.get, _SEEN_THROUGH)) or any(map(_helped, _sources(source)))


def _sources(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [facts[name] for name in ("origin", "averaged_with") if facts.get(name)]


def _groups(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of how faces and labels do for each group; nothing where none was measured."""
    if not groups:
        return []
    asked = list(groups[0]["shares"])
    rows = [
        "",
        "For each group with enough pictures, percent of the generated ones, and of real ones of "
        "the same labels in brackets:",
        "",
        f"| group | samples | {' | '.join(asked)} |",
        f"| --- | --- |{' --- |' * len(asked)}",
    ]
    for group in groups:
        shares = [f"{s['generated']:.0f} ({s['real']:.0f})" for s in group["shares"].values()]
        rows.append(
            f"| {group['group']} | {group['samples']['generated']} | {' | '.join(shares)} |"
        )
    return rows
