"""A run that begins with a checkpoint's weights: what it takes over, and what it refuses."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from training_archives import write_archive
from typer.testing import CliRunner

from models import load_checkpoint, load_critic
from training.__main__ import app
from training.config import NetworkConfig, PatchConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.export import export
from training.origin import ALONE_KIMG, RAMP_KIMG, Origin
from training.run_folder import read_origin
from training.snapshot import load_newest
from training.trainer import train

CPU = torch.device("cpu")
NETWORK = NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8)
CONFIG = TrainConfig(
    preset="test",
    network=NETWORK,
    schedule=ScheduleConfig(total_kimg=0.08, start_resolution=16, batch_size=8),
    precision="fp32",
    metrics_samples=16,
)
GROWN = dataclasses.replace(NETWORK, resolution=32)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(write_archive(tmp_path / "noise.zip", resolution=32))


def go(config: TrainConfig, dataset: Dataset, run: Path, origin: Origin | None = None) -> None:
    console = Console(file=io.StringIO())
    train(config, dataset, run, device=CPU, console=console, origin=origin)


def exported(folder: Path, dataset: Dataset, *, critic: bool, config: TrainConfig = CONFIG) -> Path:
    go(config, dataset, folder / "first")
    checkpoint = folder / "checkpoint"
    export(
        folder / "first",
        checkpoint,
        config=config,
        dataset=dataset,
        licence="Free",
        critic=critic,
        dtype=torch.float32,
    )
    return checkpoint


def lasting(config: TrainConfig, images: int, **schedule: float) -> TrainConfig:
    changed = dataclasses.replace(config.schedule, total_kimg=images / 1000, **schedule)
    return dataclasses.replace(config, schedule=changed)


def test_with_a_critic_both_networks_go_on_from_where_they_were(
    tmp_path: Path, dataset: Dataset
) -> None:
    checkpoint = exported(tmp_path, dataset, critic=True)
    before = load_newest(tmp_path / "first")[0].tensors
    critic = load_critic(checkpoint)
    assert critic is not None
    for name, tensor in critic.state_dict().items():
        torch.testing.assert_close(tensor, before["discriminator"][name], rtol=0, atol=0)
    origin = Origin.load(checkpoint)
    config = origin.begun(CONFIG)
    assert config.schedule.discriminator_kimg == 0
    still = lasting(config, 8, learning_rate=1e-30)
    go(still, dataset, tmp_path / "second", origin)
    after = load_newest(tmp_path / "second")[0].tensors
    for name, tensor in after["generator"].items():
        torch.testing.assert_close(tensor, before["average"][name])
    for name, tensor in after["discriminator"].items():
        torch.testing.assert_close(tensor, before["discriminator"][name])


def test_a_fresh_discriminator_learns_alone_at_first(tmp_path: Path, dataset: Dataset) -> None:
    checkpoint = exported(tmp_path, dataset, critic=False)
    assert load_critic(checkpoint) is None
    origin = Origin.load(checkpoint)
    config = origin.begun(CONFIG)
    assert config.schedule.discriminator_kimg == ALONE_KIMG
    assert config.schedule.generator_ramp_kimg == RAMP_KIMG
    weights = load_checkpoint(checkpoint).state
    for images, moves in ((32, False), (48, True)):
        run = tmp_path / f"run-{images}"
        go(lasting(config, images, discriminator_kimg=0.032), dataset, run, origin)
        after = load_newest(run)[0].tensors
        for group in ("generator", "average"):
            moved = any(not torch.equal(after[group][name], weights[name]) for name in weights)
            assert moved is moves


def test_a_checkpoint_grows_into_a_larger_network(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=True))
    start = dataclasses.replace(
        CONFIG, network=GROWN, schedule=ScheduleConfig(total_kimg=1, batch_size=8, fade_kimg=0.02)
    )
    config = lasting(origin.begun(start), 64, hold_kimg=0.02)
    assert config.schedule.start_resolution == 16
    go(config, dataset, tmp_path / "grown", origin)
    rows = (tmp_path / "grown" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["resolution"] == 32


def test_a_wider_network_begins_with_the_same_pictures(tmp_path: Path, dataset: Dataset) -> None:
    narrow = dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, fmap_base=32))
    checkpoint = exported(tmp_path, dataset, critic=True, config=narrow)
    origin = Origin.load(checkpoint)
    as_wide = origin.begun(CONFIG)
    assert as_wide.network == narrow.network
    wider = dataclasses.replace(lasting(as_wide, 8, learning_rate=1e-30), network=CONFIG.network)
    go(wider, dataset, tmp_path / "wider", origin)
    export(
        tmp_path / "wider",
        tmp_path / "again",
        config=wider,
        dataset=dataset,
        licence="Free",
        dtype=torch.float32,
    )
    before, after = load_checkpoint(checkpoint), load_checkpoint(tmp_path / "again")
    assert after.state["blocks.1.conv1.weight"].shape == (8, 8, 3, 3)
    assert before.state["blocks.1.conv1.weight"].shape == (4, 4, 3, 3)
    z_BZ, y_BL = torch.randn(4, 8), torch.eye(5)[:4]
    with torch.no_grad():
        torch.testing.assert_close(
            after.build()(z_BZ, y_BL), before.build()(z_BZ, y_BL), atol=1e-4, rtol=1e-3
        )


BESIDE = dataclasses.replace(CONFIG, patches=PatchConfig(weight=0.5))


@pytest.mark.parametrize(
    ("critic", "companions_of", "kept"),
    [(True, None, True), (False, "first", True), (False, None, False)],
    ids=["checkpoint", "run", "neither"],
)
def test_the_discriminators_beside_the_first_go_on_where_something_holds_them(
    tmp_path: Path, dataset: Dataset, critic: bool, companions_of: str | None, kept: bool
) -> None:
    checkpoint = exported(tmp_path, dataset, critic=critic, config=BESIDE)
    before = load_newest(tmp_path / "first")[0].tensors["patches"]
    origin = Origin.load(checkpoint, companions_of and tmp_path / companions_of)
    run = tmp_path / "second"
    go(lasting(origin.begun(BESIDE), 8, learning_rate=1e-30), dataset, run, origin)
    after = load_newest(run)[0].tensors["patches"]
    weights = [name for name in before if name.endswith("original")]
    assert weights
    assert all(torch.allclose(after[name], before[name]) for name in weights) is kept
    facts = read_origin(run)
    assert facts is not None
    assert facts["companions"] is kept


def test_a_run_without_them_leaves_the_checkpoints_alone(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=True, config=BESIDE))
    assert set(origin.companions) == {"patches"}
    go(lasting(origin.begun(CONFIG), 8), dataset, tmp_path / "second", origin)
    assert "patches" not in load_newest(tmp_path / "second")[0].tensors
    facts = read_origin(tmp_path / "second")
    assert facts is not None
    assert facts["companions"] is False


def test_other_networks_of_that_name_are_refused(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=True, config=BESIDE))
    other = dataclasses.replace(origin, companions={"patches": {"odd": torch.zeros(1)}})
    with pytest.raises(
        SnapshotError, match=r"set patches\.weight to 0 or export checkpoint without"
    ):
        go(lasting(origin.begun(BESIDE), 8), dataset, tmp_path / "second", other)


def test_a_run_with_none_to_take_over_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=True), tmp_path / "first")
    beside = dataclasses.replace(origin.begun(CONFIG), patches=PatchConfig(weight=0.5))
    with pytest.raises(ConfigError, match="no discriminator to take over"):
        go(beside, dataset, tmp_path / "run", origin)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    checkpoint = exported(tmp_path, dataset, critic=True)
    with pytest.raises(SnapshotError, match="--companions-of names no run"):
        Origin.load(checkpoint, tmp_path / "nowhere")


def test_what_is_exported_says_where_it_began(tmp_path: Path, dataset: Dataset) -> None:
    checkpoint = exported(tmp_path, dataset, critic=True)
    origin = Origin.load(checkpoint)
    config = lasting(origin.begun(CONFIG), 8)
    go(config, dataset, tmp_path / "second", origin)
    facts = read_origin(tmp_path / "second")
    assert facts is not None
    assert facts["weights_sha256"] == load_checkpoint(checkpoint).digest
    assert facts["images_seen"] == 80
    saved = export(
        tmp_path / "second", tmp_path / "again", config=config, dataset=dataset, licence="Free"
    )
    assert saved.provenance["origin"] == facts
    assert f"`checkpoint@{facts['weights_sha256'][:12]}`" in (
        tmp_path / "again" / "README.md"
    ).read_text(encoding="utf-8")


def test_a_run_that_began_afresh_has_no_origin(tmp_path: Path, dataset: Dataset) -> None:
    go(lasting(CONFIG, 8), dataset, tmp_path / "run")
    assert read_origin(tmp_path / "run") is None


def test_other_widths_are_refused_with_those_that_would_fit(
    tmp_path: Path, dataset: Dataset
) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=True))
    wider = dataclasses.replace(NETWORK, fmap_base=128, fmap_max=16)
    config = dataclasses.replace(origin.begun(CONFIG), network=wider)
    with pytest.raises(ConfigError, match="fmap_base 64 and fmap_max 8: --set network"):
        go(config, dataset, tmp_path / "run", origin)
    assert not (tmp_path / "run").exists()


def test_another_conditioning_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=True))
    conditioning = dataclasses.replace(CONFIG.conditioning, kind="auxiliary")
    config = dataclasses.replace(origin.begun(CONFIG), conditioning=conditioning)
    with pytest.raises(ConfigError, match=r"project\.weight .* no such tensor here"):
        go(config, dataset, tmp_path / "run", origin)


def test_other_labels_are_refused(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=False))
    others = {"gender": ["female", "male"], "age": ["0-9", "10-19", "20+"]}
    other = Dataset(write_archive(tmp_path / "other.zip", resolution=32, attributes=others))
    with pytest.raises(ConfigError, match=r"knows the labels gender \(male, female\); age"):
        go(origin.begun(CONFIG), other, tmp_path / "run", origin)


def test_a_run_below_the_checkpoints_resolution_is_refused(
    tmp_path: Path, dataset: Dataset
) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=False))
    small = dataclasses.replace(
        CONFIG,
        network=dataclasses.replace(NETWORK, resolution=8),
        schedule=ScheduleConfig(total_kimg=1, start_resolution=8),
    )
    with pytest.raises(ConfigError, match=r"makes 16 px and the run ends at 8 px: set network"):
        origin.begun(small)


def test_the_resolution_that_is_set_counts_more_than_the_presets(
    tmp_path: Path, dataset: Dataset
) -> None:
    config = dataclasses.replace(CONFIG, network=GROWN)
    config = lasting(config, 80, start_resolution=32)
    checkpoint = exported(tmp_path, dataset, critic=False, config=config)
    arguments = ["train", "--data", str(dataset.archive), "--run", str(tmp_path / "run")]
    arguments += ["--preset", "smoke_16", "--from", str(checkpoint), "--dry-run"]
    with pytest.raises(ConfigError, match=r"set network\.resolution to 32 or more"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    wider = ["--set", "network.resolution=32", "--set", "network.fmap_base=128"]
    said = CliRunner().invoke(app, [*arguments, *wider], catch_exceptions=False).output
    planned = json.loads(said[: said.index("\n}") + 2])
    assert planned["network"] | {"resolution": 32, "fmap_base": 128} == planned["network"]
    assert planned["schedule"]["start_resolution"] == 32


def test_settings_that_need_the_checkpoints_resolution_are_taken(
    tmp_path: Path, dataset: Dataset
) -> None:
    checkpoint = exported(tmp_path, dataset, critic=False)
    arguments = ["train", "--data", str(dataset.archive), "--run", str(tmp_path / "run")]
    arguments += ["--preset", "celeba_hq_1024", "--from", str(checkpoint), "--dry-run"]
    arguments += ["--set", "network.resolution=16", "--set", "patches.weight=0.1"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0


def test_a_checkpoint_without_pixel_norms_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    origin = Origin.load(exported(tmp_path, dataset, critic=False))
    lacking = dataclasses.replace(origin.checkpoint.config, pixel_norms=("latent",))
    origin = Origin(dataclasses.replace(origin.checkpoint, config=lacking), None)
    with pytest.raises(ConfigError, match="lacks pixel norms"):
        origin.begun(CONFIG)
