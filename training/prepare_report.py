"""What became of every file of a source, as JSON and as a short table, with what to worry about.

Knows nothing about how the archive is made.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from training.declared import DeclaredAttribute
from training.sources import Entry

UNEVEN = 10  # times as many pictures of one value as of another


@dataclass(frozen=True)
class Duplicate:
    """A file that was dropped because an earlier one has the same pixels."""

    name: str
    same_as: str
    labels_disagree: bool


@dataclass
class PrepareReport:
    """What became of every file of the source."""

    archive: str
    name: str
    source: str
    layout: str
    resolution: int
    attributes: tuple[DeclaredAttribute, ...]
    files: int = 0
    pictures: int = 0  # in the archive
    upscaled: int = 0  # of those, smaller than the resolution to begin with
    animated: int = 0  # of those, the first frame of several
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # attribute → value → pictures
    duplicates: list[Duplicate] = field(default_factory=list)
    skipped: list[Entry] = field(default_factory=list)
    digest: str = ""
    seconds: float = 0.0

    @property
    def warnings(self) -> list[str]:
        """A sentence on each attribute that will be learned badly, for lack of pictures."""
        return [w for name, counts in self.counts.items() for w in _imbalance(name, counts)]

    def to_json(self) -> str:
        """The report as text, every dropped file by name."""
        document = asdict(self) | {"warnings": self.warnings}
        document["skipped"] = [{"name": e.name, "reason": e.reason} for e in self.skipped]
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def summary(self) -> str:
        """A short table for the terminal; the full list is in the report beside the archive."""
        disagreeing = sum(d.labels_disagree for d in self.duplicates)
        rows = [
            (
                "pictures",
                f"{self.pictures} of {self.files} files, {self.resolution}×{self.resolution}",
            ),
            ("duplicates", f"{len(self.duplicates)} dropped, {disagreeing} with other labels"),
            ("skipped", f"{len(self.skipped)}"),
        ]
        reasons = Counter(entry.reason for entry in self.skipped)
        rows += [("", f"{count} × {reason}") for reason, count in reasons.most_common(5)]
        if self.upscaled:
            rows.append(("upscaled", f"{self.upscaled} were smaller than the resolution"))
        if self.animated:
            rows.append(("animated", f"{self.animated}: only their first frame was taken"))
        rows += [
            (attribute, ", ".join(f"{value} {count}" for value, count in list(counts.items())[:12]))
            for attribute, counts in self.counts.items()
        ]
        rate = self.files / max(self.seconds, 1e-9)
        rows.append(("time", f"{self.seconds:.1f} s, {rate:.0f} files/s"))
        rows.append(("archive", self.archive))
        rows += [("warning", sentence) for sentence in self.warnings]
        return "\n".join(f"{key:<11} {text}" for key, text in rows)


def _imbalance(attribute: str, counts: dict[str, int]) -> list[str]:
    """What is wrong with how the pictures fall on an attribute's values."""
    missing = [value for value, count in counts.items() if count == 0]
    sentences = []
    if missing:
        sentences.append(
            f"{attribute!r} has no picture of {', '.join(map(repr, missing))}, which no model can "
            "learn from nothing: add pictures, or leave the value out."
        )
    present = {value: count for value, count in counts.items() if count}
    rarest = min(present, key=lambda value: present[value])
    commonest = max(present, key=lambda value: present[value])
    if present[commonest] > UNEVEN * present[rarest]:
        sentences.append(
            f"{attribute!r} is uneven: {present[commonest]} pictures of {commonest!r}, "
            f"{present[rarest]} of {rarest!r}. Rare values come out worse and less varied: "
            "add pictures, group values, or train with --set conditioning.draw=balanced."
        )
    return sentences
