"""What can go wrong while preparing, training, evaluating or exporting.

TrainingError            one clear sentence: what is wrong, and the remedy
├── DatasetError         the source of pictures, their labels, or the dataset archive
├── ConfigError          a setting that cannot work, or two that contradict each other
├── SnapshotError        resumable state that cannot be written, read or continued
├── EvaluationError      a measure that cannot be taken: an extra missing, too few pictures
├── WorldError           processes that train together: one is gone, or they disagree
└── ImportFileError      another project's weights that cannot be, or must not be, read

The command line prints the message and exits with 2; nothing here knows about it.
"""


class TrainingError(Exception):
    """Root of the tree: catch this to catch everything the package raises on purpose."""


class DatasetError(TrainingError):
    """The source of pictures, their labels or the dataset archive cannot be used."""


class ConfigError(TrainingError):
    """A training setting is out of range or contradicts another one."""


class SnapshotError(TrainingError):
    """A snapshot cannot be written, or none that is whole can be read."""


class EvaluationError(TrainingError):
    """A measure of picture quality cannot be taken."""


class WorldError(TrainingError):
    """The processes that train one run together lost one of them, or see different snapshots."""


class ImportFileError(TrainingError):
    """Another project's weights are damaged, unknown, malicious or of a kind we cannot compute."""
