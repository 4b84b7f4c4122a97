"""A run, finished or still going on → its pictures for people, in the folder `pictures` of the run.

Knows nothing about training: it reads the newest snapshot, the sample grids and metrics.jsonl.
"""

from pathlib import Path

from training.config import TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.export import averaged_generator, check_grown
from training.files import write_files
from training.gallery import Exhibit, model_exhibits, run_exhibits
from training.plots import plots_available
from training.run_folder import check_trained_on
from training.snapshot import load_newest


def run_pictures(
    run: Path, config: TrainConfig, dataset: Dataset | None
) -> tuple[list[Path], list[str]]:
    """Write what can be shown of the run by now; returns the files, and what is missing and why.

    `dataset`: what the run was trained on, which alone names its labels. Raises ConfigError where
    there is nothing to show or the folder cannot be written, SnapshotError for other pictures.
    """
    if dataset is not None:
        check_trained_on(run, dataset)
    exhibits = run_exhibits(run, config.network.resolution)
    missing = []
    if not plots_available():
        missing.append("No plots: they need matplotlib (pip install -e '.[train]').")
    if dataset is None:
        missing.append("No label sheets and no walk: they need --data, which names the labels.")
    else:
        try:
            exhibits += _of_generator(run, config, dataset)
        except SnapshotError as error:
            missing.append(f"No label sheets and no walk: {error}.")
    if not exhibits:
        raise ConfigError(f"there is nothing to show of {run} yet. {' '.join(missing)}".rstrip())
    files = {exhibit.file: exhibit.data for exhibit in exhibits}
    return write_files(run / "pictures", files), missing


def _of_generator(run: Path, config: TrainConfig, dataset: Dataset) -> list[Exhibit]:
    snapshot, _ = load_newest(run)
    check_grown(run, snapshot, config)
    generator = averaged_generator(snapshot, config, dataset.label_dim)
    return model_exhibits(generator, dataset.attributes(), dataset.joint_prior())
