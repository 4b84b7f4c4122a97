"""A checkpoint's facts → its model card, for people. Pure text."""

from collections.abc import Mapping, Sequence
from typing import Any

from models import Attribute, Generator

Measures = Sequence[Mapping[str, Any]]

HEADLINE = (
    "face found, %",
    "gender as labelled, %",
    "age within a bin of the label, %",
    "Fréchet distance of faces ×10³",
    "precision of faces",
    "recall of faces",
    "Fréchet distance of EfficientNet features",
    "sliced Wasserstein ×10³, mean",
    "distance to the nearest other sample, median",
    "copies of a training face, %",
)
"""The measures that say most; the rest is folded away."""

_BETTER = {"higher": "↑", "lower": "↓", "as real": "≈"}

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
    dataset, metrics = provenance["dataset"], provenance["metrics"]
    sections = [
        f"# {name}",
        f"A {'conditional ' if attributes else ''}progressive GAN that generates "
        f"{config.resolution}×{config.resolution} pictures of faces. None of these people exists; "
        "any resemblance to a real person is coincidental.",
        "![64 samples](samples.png)",
        "*Uncurated: seeds 0 to 63, as the service shows them.*",
        "## Use",
        f"```sh\nVISAGE_CHECKPOINTS=models/checkpoints/{name} python -m service\n```",
        "## Limits",
        "- It reproduces the biases of its training data: groups rare in the label table look "
        "worse and less varied.\n"
        "- Labels come from the data set: coarse categories assigned by others, not facts about "
        "anyone.\n"
        "- It fails most often on glasses, hands near the face, hats, profiles and busy "
        "backgrounds.\n"
        "- Do not use it to identify, judge or imitate anyone, or to pass pictures off as "
        "photographs: the service marks every picture as AI-generated.",
        "## Licence",
        str(provenance["licence"]),
        "## Labels",
        _labels_table(attributes) if attributes else "None: the model is unconditional.",
        "## Quality",
        _quality(metrics),
        *_other_pictures(metrics, dataset),
        *_dependence(provenance),
        *_long_tables(metrics),
        "## Training",
        "\n".join(
            [
                f"- Data: {dataset['pictures']:,} pictures of `{dataset['name']}` "
                f"(digest `{dataset['digest'][:16]}`)",
                *_origin(provenance.get("origin")),
                f"- Preset `{provenance['preset']}`, {_length(provenance, config.resolution)}",
                f"- Generator: {parameters / 1e6:.2f} M parameters, averaged over training with a "
                f"half-life of {provenance['training']['average_half_life_kimg']:g} kimg",
                *_averaged_with(provenance.get("averaged_with")),
                f"- Hardware: {provenance['hardware']}",
                f"- Exported with torch {provenance['torch']}, code at "
                f"`{provenance['git_commit'] or 'an unknown commit'}`",
            ]
        ),
        *(["## More pictures"] if pictures else []),
        *(f"![{_alt(file)}]({file})\n\n*{caption}*" for file, caption in (pictures or {}).items()),
    ]
    return "\n\n".join(sections) + "\n"


def _alt(file: str) -> str:
    """What a picture is, for who does not see it; the line under it says more."""
    return file.rpartition(".")[0].replace("-", " ")


def _images(images: int) -> str:
    """A number of images, in round thousands where it has as many."""
    return f"{round(images, -3) if images >= 1000 else images:,}"


def _length(provenance: Mapping[str, Any], resolution: int) -> str:
    """How many images the run saw, and how the resolution came about."""
    schedule = provenance["training"]["schedule"]
    further = "a further " if provenance.get("origin") else ""
    seen = f"trained on {further}{_images(provenance['images_seen'])} images"
    start = schedule["start_resolution"]
    if start == resolution:
        return f"{seen}, all at {resolution} px"
    growth = (
        f"{seen}, growing from {start} px: {schedule['fade_kimg']:g} kimg to fade each resolution "
        f"in and {schedule['hold_kimg']:g} kimg to hold it"
    )
    if steps := schedule.get("distil_steps"):  # not in runs of earlier versions
        growth += f"; new layers first learned in {steps} steps to reproduce the network below"
    return growth


def _origin(origin: Mapping[str, Any] | None) -> list[str]:
    """A line on the checkpoint that the run began from, if it did."""
    if origin is None:
        return []
    images = origin["images_seen"]
    seen = f", itself trained on {_images(images)} images in its last run" if images else ""
    parts = "generator and discriminator" if origin["critic"] else "generator only"
    return [
        f"- Initialised from `{origin['name']}@{origin['weights_sha256'][:12]}` ({parts}){seen}"
    ]


def _averaged_with(other: Mapping[str, Any] | None) -> list[str]:
    """A line on the checkpoint that the generator was averaged with, if it was."""
    if other is None:
        return []
    images = other["images_seen"]
    seen = f" after {_images(images)} images of its run" if images else ""
    return [
        f"- Weights averaged with those of `{other['name']}@{other['weights_sha256'][:12]}`{seen}, "
        f"which count for {other['share']:g} of the mean"
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
    """The figures that say most, each beside that of photographs."""
    if metrics is None:
        return "Not evaluated yet: `python -m training evaluate`."
    return "\n".join(
        [
            "↑ higher is better, ↓ lower is better, ≈ closer to the real figure is better. "
            "*Real* is what other photographs score in place of the generated pictures.",
            "",
            *_rows(_split(metrics["measures"])[0]),
        ]
    )


def _long_tables(metrics: Mapping[str, Any] | None) -> list[str]:
    """All other figures, and those of each group, folded away."""
    if metrics is None:
        return []
    _, others = _split(metrics["measures"])
    tables = {
        "All other measures": _rows(others) if others else [],
        "By group": _groups(metrics.get("groups", [])),
    }
    return [
        "\n".join(["<details>", f"<summary>{title}</summary>", "", *rows, "", "</details>"])
        for title, rows in tables.items()
        if rows
    ]


def _split(measures: Measures) -> tuple[Measures, Measures]:
    """Headline and other measures; all are headline where none of those was taken."""
    first = [measure for measure in measures if measure["name"] in HEADLINE]
    others = [measure for measure in measures if measure["name"] not in HEADLINE]
    return (first, others) if first else (others, [])


def _rows(measures: Measures) -> list[str]:
    return [
        "| measure | generated | real | better | samples |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {measure['name']} | {measure['generated']:.4g} | {measure['real']:.4g} "
            f"| {_BETTER[measure['better']]} | {measure['samples']:,} |"
            for measure in measures
        ),
    ]


def _other_pictures(metrics: Mapping[str, Any] | None, dataset: Mapping[str, Any]) -> list[str]:
    """A sentence where the figures are of other photographs than those trained on."""
    measured = (metrics or {}).get("dataset")
    if measured is None or measured["digest"] == dataset["digest"]:
        return []
    digest = f"(digest `{measured['digest'][:8]}…`)"
    trained = f"(`{dataset['digest'][:8]}…`)"
    if measured["name"] == dataset["name"]:
        return [
            f"Measured against a different selection of `{measured['name']}` {digest} from the one "
            f"used for training {trained}."
        ]
    return [f"Measured against `{measured['name']}` {digest}, not the training set {trained}."]


def _dependence(provenance: Mapping[str, Any]) -> list[str]:
    """What the figures above cannot say, where the run had help from a network that gives them, or
    what it came from had."""
    # Neither is in the settings of earlier versions.
    training = provenance["training"]
    weights = {name: training.get(name, {}).get("weight") for name in _SEEN_THROUGH}
    if not any(weights.values()) and not any(map(_helped, _sources(provenance))):
        return []
    return [
        "One training discriminator used EfficientNet-lite0, so the EfficientNet rows are not an "
        "independent measure. The face, label and sliced Wasserstein rows are."
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
        "Percentages by group (at least 50 pictures each), with real photographs of the same "
        "labels in brackets:",
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
