"""A run's generator averaged with a checkpoint of its line: the mean, and who may not take part."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from training_archives import write_archive
from typer.testing import CliRunner

from models import Checkpoint, Generator, load_checkpoint
from training.__main__ import app
from training.averaging import Averaging
from training.config import NetworkConfig
from training.dataset import Dataset
from training.errors import ConfigError
from training.export import averaged_generator, export
from training.presets import smoke_16
from training.run_folder import write_facts
from training.snapshot import Snapshot, load_newest, save_snapshot
from training.state import TrainingState

NETWORK = NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8)
CONFIG = dataclasses.replace(smoke_16(), network=NETWORK)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(write_archive(tmp_path_factory.mktemp("averaging") / "noise.zip"))


def write_run(run: Path, dataset: Dataset, *, drift: float = 0.0, seed: int = 0) -> Path:
    """A run whose averaged generator has walked by `drift` from where its seed began."""
    config = dataclasses.replace(CONFIG, seed=seed)
    network = NETWORK.generator(dataset.label_dim)
    state = TrainingState.initial(config, network, torch.device("cpu"))
    weights = {key: value + drift for key, value in state.average.state_dict().items()}
    write_facts(run, config, dataset)
    save_snapshot(run, Snapshot(12_000, 1, {"average": weights}, {}), keep=1)
    return run


def exported(
    run: Path, folder: Path, dataset: Dataset, with_: Averaging | None = None
) -> Checkpoint:
    return export(
        run, folder, config=CONFIG, dataset=dataset, licence="Free", averaging=with_,
        dtype=torch.float32,
    )  # fmt: skip


def test_weights_are_the_mean_by_share_and_card_and_provenance_say_so(
    tmp_path: Path, dataset: Dataset
) -> None:
    earlier = exported(write_run(tmp_path / "a", dataset), tmp_path / "earlier", dataset)
    run = write_run(tmp_path / "b", dataset, drift=0.2)
    averaging = Averaging.load(tmp_path / "earlier", 0.25)
    saved = exported(run, tmp_path / "mean", dataset, averaging)
    for key, tensor in saved.state.items():
        torch.testing.assert_close(tensor, earlier.state[key] + 0.15)
    assert saved.provenance["averaged_with"] == {
        "name": "earlier",
        "weights_sha256": earlier.digest,
        "images_seen": 12_000,
        "share": 0.25,
        "dataset": earlier.provenance["dataset"],
        "origin": None,
        "companion_weights": {},
        "averaged_with": None,
    }
    card = (tmp_path / "mean" / "README.md").read_text()
    assert f"averaged with those of `earlier@{earlier.digest[:12]}` after 12,000 images" in card
    assert "count for 0.25 of the mean" in card

    again = exported(run, tmp_path / "again", dataset, Averaging.load(tmp_path / "mean"))
    assert again.provenance["averaged_with"]["averaged_with"]["name"] == "earlier"


def test_what_is_averaged_with_nothing_says_nothing(tmp_path: Path, dataset: Dataset) -> None:
    saved = exported(write_run(tmp_path / "a", dataset), tmp_path / "alone", dataset)
    assert saved.provenance["averaged_with"] is None
    assert "averaged with those" not in (tmp_path / "alone" / "README.md").read_text()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_leaves_one_out_is_refused(
    tmp_path: Path, dataset: Dataset, share: float
) -> None:
    exported(write_run(tmp_path / "a", dataset), tmp_path / "other", dataset)
    with pytest.raises(ConfigError, match="share to average with is"):
        Averaging.load(tmp_path / "other", share)


def test_a_generator_of_another_line_is_refused_and_nothing_written(
    tmp_path: Path, dataset: Dataset
) -> None:
    exported(write_run(tmp_path / "a", dataset, seed=1), tmp_path / "stranger", dataset)
    run = write_run(tmp_path / "b", dataset)
    with pytest.raises(ConfigError, match=r"stranger is not of the run's line .* cosine .* 0\.0"):
        exported(run, tmp_path / "mud", dataset, Averaging.load(tmp_path / "stranger"))
    assert not (tmp_path / "mud").exists()


def test_as_it_is_typed(tmp_path: Path, dataset: Dataset) -> None:
    run = write_run(tmp_path / "run", dataset)
    (run / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    typed = ["export", run, tmp_path / "c", "--data", dataset.archive, "--precision", "fp32"]
    exported(run, tmp_path / "earlier", dataset)

    def ask(*more: object) -> None:
        arguments = [str(argument) for argument in (*typed, *more)]
        CliRunner().invoke(app, arguments, catch_exceptions=False)

    with pytest.raises(ConfigError, match="--average-share is given without --average-with"):
        ask("--average-share", 0.3)
    assert not (tmp_path / "c").exists()
    for share, told in (([], 0.5), (["--average-share", 0.3], 0.3)):
        ask("--average-with", tmp_path / "earlier", *share)
        averaged = load_checkpoint(tmp_path / "c").provenance["averaged_with"]
        assert (averaged["name"], averaged["share"]) == ("earlier", told)


def test_another_shape_or_other_labels_are_refused(tmp_path: Path, dataset: Dataset) -> None:
    other = exported(write_run(tmp_path / "a", dataset), tmp_path / "other", dataset)
    wider = Generator(dataclasses.replace(other.config, fmap_max=16))
    averaging = Averaging(load_checkpoint(tmp_path / "other"), 0.5)
    with pytest.raises(ConfigError, match=re.escape("other is of another shape")):
        averaging.mean(wider, dataset.attributes())

    network = averaged_generator(load_newest(tmp_path / "a")[0], CONFIG, dataset.label_dim)
    renamed = [dataclasses.replace(a, name=f"{a.name}s") for a in dataset.attributes()]
    with pytest.raises(ConfigError, match="knows other labels than the run"):
        averaging.mean(network, renamed)
