"""An import's facts → its model card. Pure text; says only what the file says."""

from collections.abc import Mapping
from typing import Any

from training.importers.foreign import Imported


def import_card(name: str, imported: Imported, provenance: Mapping[str, Any]) -> str:
    """README.md of an imported checkpoint."""
    config, source = imported.generator.config, provenance["imported_from"]
    labels = [f"- `{a.name}`: {', '.join(a.values)}" for a in imported.attributes]
    sections = [
        f"# {name}",
        f"A progressive GAN of {config.resolution}×{config.resolution} pictures, imported from "
        f"weights of {imported.project}.",
        "![64 uncurated samples](samples.png)",
        "*Seeds 0 to 63 as the service shows them, nothing picked.*",
        "## Source",
        f"- File `{source['file']}`, sha256 `{source['sha256']}`\n"
        "- Data, length and settings of its training: see whoever made it; the file does not say.",
        "## Labels",
        "\n".join(labels) if labels else "None: the model is unconditional.",
        *(["Their shares in the training data are unknown: drawn evenly."] if labels else []),
        *(
            ["## Notes", "\n".join(f"- {note}" for note in imported.notes)]
            if imported.notes
            else []
        ),
        "## Quality",
        "Not evaluated yet: `python -m training evaluate`.",
        "## Licence",
        str(provenance["licence"]),
    ]
    return "\n\n".join(sections) + "\n"
