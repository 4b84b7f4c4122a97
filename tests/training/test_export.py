"""Snapshot → checkpoint: the grid is what the service shows, and the card's links resolve."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from training_archives import write_archive

from models import load_checkpoint, to_pixels
from service import labels as served
from service.latents import latent
from service.params import Seed
from training.card import model_card
from training.config import FeatureConfig, NetworkConfig, VarietyConfig
from training.dataset import Dataset
from training.errors import ConfigError, SnapshotError
from training.export import averaged_generator, export
from training.grids import cells, grid
from training.machines import note_machine, this_machine
from training.presets import smoke_16
from training.run_folder import Best, write_best, write_facts
from training.run_pictures import run_pictures
from training.snapshot import Snapshot, load_newest, save_snapshot
from training.state import TrainingState
from training.timelapse import timelapse

NETWORK = NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=64, fmap_max=8)
CONFIG = dataclasses.replace(smoke_16(), network=NETWORK)


def write_run(run: Path, dataset: Dataset, images_seen: int) -> None:
    """A run folder as after `images_seen` images, though nothing was learned."""
    network = NETWORK.generator(dataset.label_dim)
    state = TrainingState.initial(CONFIG, network, torch.device("cpu"))
    tensors = {"average": state.average.state_dict()}
    write_facts(run, CONFIG, dataset)
    save_snapshot(run, Snapshot(images_seen, 1, tensors, {}), keep=1)
    (run / "samples").mkdir()
    for kimg in (1, 2):
        grid(np.full((64, 16, 16, 3), kimg, np.uint8), 8).save(run / "samples" / f"{kimg:06d}k.png")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    dataset = Dataset(write_archive(folder / "noise.zip"))
    write_run(folder / "run", dataset, 12_000)
    float32 = {"dtype": torch.float32}
    export(
        folder / "run", folder / "tiny", config=CONFIG, dataset=dataset, licence="Free", **float32
    )
    return folder


def test_cell_k_of_the_grid_is_the_face_that_the_service_makes_of_seed_k(exported: Path) -> None:
    checkpoint = load_checkpoint(exported / "tiny")
    generator = checkpoint.build()
    space = served.AttributeSpace(
        [served.Attribute(a.name, a.values, a.prior) for a in checkpoint.attributes],
        checkpoint.joint_prior,
    )
    with Image.open(exported / "tiny" / "samples.png") as sheet:
        shown = cells(sheet, 32)[:, ::2, ::2]
    for seed in range(64):
        z_BZ = torch.from_numpy(latent(Seed.parse(str(seed)), 8))[None]
        y_BL = torch.from_numpy(space.encode(space.complete({}, str(seed))))[None]
        expected = to_pixels(generator(z_BZ, y_BL))[0].numpy()
        # One picture alone and a batch may differ in the last bit of a sum.
        assert np.abs(shown[seed].astype(int) - expected).max() <= 1


def test_every_link_of_the_card_resolves(exported: Path) -> None:
    card = (exported / "tiny" / "README.md").read_text()
    linked = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", card))
    assert linked == {
        "samples.png",
        "labels-gender.webp",
        "labels-age.webp",
        "walk.webp",
        "timelapse.webp",
    }
    for name in linked:
        with Image.open(exported / "tiny" / name) as picture:
            picture.load()
        assert (exported / "tiny" / name).stat().st_size < 300_000


@pytest.mark.parametrize(
    "help_of", [{"features": FeatureConfig(weight=0.2)}, {"variety": VarietyConfig(weight=0.2)}]
)
def test_the_card_says_how_the_run_grew_and_what_helped_it(
    exported: Path, tmp_path: Path, help_of: dict[str, Any]
) -> None:
    plain = (exported / "tiny" / "README.md").read_text()
    assert "reproduce the network below" not in plain
    assert "EfficientNet" not in plain

    schedule = dataclasses.replace(CONFIG.schedule, distil_steps=50)
    helped = dataclasses.replace(CONFIG, schedule=schedule, **help_of)
    dataset = Dataset(exported / "noise.zip")
    export(exported / "run", tmp_path / "helped", config=helped, dataset=dataset, licence="Free")
    card = (tmp_path / "helped" / "README.md").read_text()
    assert "learned in 50 steps to reproduce the network below" in card
    assert "the EfficientNet rows are not an independent measure" in card


@pytest.mark.parametrize("by", ["origin", "averaged_with"])
def test_help_that_weights_came_from_is_told_too(exported: Path, tmp_path: Path, by: str) -> None:
    dataset, run = Dataset(exported / "noise.zip"), exported / "run"
    helped = dataclasses.replace(CONFIG, features=FeatureConfig(weight=0.2))
    written = {"config": helped, "dataset": dataset, "licence": "Free"}
    lineage = export(run, tmp_path / "helped", **written).lineage()
    assert lineage["companion_weights"] == {"features": 0.2}
    plain = load_checkpoint(exported / "tiny").provenance
    generator, attributes = load_checkpoint(exported / "tiny").build(), dataset.attributes()
    facts = {**lineage, "critic": False, "companions": False, "share": 0.5}
    for source in (facts, {**facts, "companion_weights": {}, "origin": facts}):
        card = model_card("mine", generator, attributes, {**plain, by: source})
        assert "the EfficientNet rows are not an independent measure" in card
    unhelped = {**facts, "companion_weights": {"patches": 0.3}}
    assert "EfficientNet" not in model_card("mine", generator, attributes, {**plain, by: unhelped})


@pytest.mark.parametrize("other", [False, True])
def test_the_card_says_where_figures_are_beside_other_pictures(
    exported: Path, tmp_path: Path, other: bool
) -> None:
    dataset = Dataset(exported / "noise.zip")
    beside = {"name": "old", "digest": "0" * 64 if other else dataset.digest}
    evaluation = tmp_path / "evaluation.json"
    evaluation.write_text(json.dumps({"measures": [], "dataset": beside}))
    export(
        exported / "run",
        tmp_path / "judged",
        config=CONFIG,
        dataset=dataset,
        licence="Free",
        evaluation=evaluation,
    )
    card = (tmp_path / "judged" / "README.md").read_text()
    assert ("against `old` (digest `00000000…`)" in card) == other
    assert ("not the training set" in card) == other


def test_figures_of_other_weights_do_not_reach_the_card(exported: Path, tmp_path: Path) -> None:
    dataset, evaluation = Dataset(exported / "noise.zip"), tmp_path / "evaluation.json"
    written = {"config": CONFIG, "dataset": dataset, "licence": "Free", "evaluation": evaluation}
    saved = load_checkpoint(exported / "tiny")  # in float32
    figure = {"name": "told", "generated": 1.5, "real": 1.0, "samples": 9, "better": "lower"}
    report = {"measures": [figure | {"method": "m"}], "checkpoint": {"digest": saved.digest}}
    evaluation.write_text(json.dumps(report))
    folder = tmp_path / "judged"
    export(exported / "run", folder, dtype=torch.float32, **written)
    assert "| told | 1.5 |" in (folder / "README.md").read_text()
    with pytest.raises(ConfigError, match=f"is of weights {saved.digest[:12]}, and these are"):
        export(exported / "run", tmp_path / "half", dtype=torch.float16, **written)
    assert not (tmp_path / "half").exists()


def test_a_second_export_replaces_the_first_whole(exported: Path) -> None:
    stale = exported / "tiny" / "labels-hair.webp"
    stale.write_bytes(b"of an older model")
    dataset = Dataset(exported / "noise.zip")
    export(exported / "run", exported / "tiny", config=CONFIG, dataset=dataset, licence="Free")
    assert not stale.exists()
    assert (exported / "tiny" / "walk.webp").is_file()


def test_pictures_of_a_run_with_its_data(exported: Path) -> None:
    files, missing = run_pictures(exported / "run", CONFIG, Dataset(exported / "noise.zip"))
    names = {file.name for file in files}
    assert names == {"timelapse.webp", "labels-gender.webp", "labels-age.webp", "walk.webp"}
    assert missing == []


def test_a_run_that_has_not_grown_shows_its_history_only(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "noise.zip"))
    write_run(tmp_path / "run", dataset, 100)
    files, missing = run_pictures(tmp_path / "run", CONFIG, dataset)
    assert [file.name for file in files] == ["timelapse.webp"]
    assert "has only reached" in missing[0]
    with pytest.raises(SnapshotError, match="has only reached"):
        export(tmp_path / "run", tmp_path / "c", config=CONFIG, dataset=dataset, licence="Free")


def test_the_best_moment_is_exported_where_it_is_asked_for(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "noise.zip"))
    run = tmp_path / "run"
    write_run(run, dataset, 10_000)
    written = {"config": CONFIG, "dataset": dataset, "licence": "Free"}
    with pytest.raises(SnapshotError, match=r"has no best\.json"):
        export(run, tmp_path / "c", best=True, **written)
    save_snapshot(run, Snapshot(12_000, 2, load_newest(run)[0].tensors, {}), keep=2)
    write_best(run, Best(10_000, "swd", 5.0))
    for best, expected in ((True, 10_000), (False, 12_000)):
        saved = export(run, tmp_path / "c", best=best, **written)
        assert saved.provenance["images_seen"] == expected


def test_a_checkpoint_says_what_it_was_trained_on_not_where_it_was_exported(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "noise.zip"))
    run, named = tmp_path / "run", {"config": CONFIG, "dataset": dataset, "licence": "Free"}
    write_run(run, dataset, 12_000)
    here = this_machine(torch.device("cpu"))
    if not torch.cuda.is_available():
        assert export(run, tmp_path / "older", **named).provenance["hardware"] == here
    note_machine(run, 0, "a large GPU")
    assert export(run, tmp_path / "new", **named).provenance["hardware"] == "a large GPU"
    assert "a large GPU" in (tmp_path / "new" / "README.md").read_text()


def test_what_a_run_has_reached_is_a_smaller_model_whole(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "noise.zip"))
    written = {"config": CONFIG, "dataset": dataset, "licence": "Free", "reached": True}
    write_run(tmp_path / "run", dataset, 3_000)
    small = export(tmp_path / "run", tmp_path / "c", dtype=torch.float32, **written).build()
    assert small.config.resolution == 8
    z_BZ, y_BL = torch.randn(2, 8), torch.eye(dataset.label_dim)[:2]
    network = averaged_generator(load_newest(tmp_path / "run")[0], CONFIG, dataset.label_dim)
    torch.testing.assert_close(small(z_BZ, y_BL), network(z_BZ, y_BL, resolution=8))
    assert set(small.state_dict()) < set(network.state_dict())


def test_nothing_is_exported_while_a_resolution_fades_in(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "noise.zip"))
    write_run(tmp_path / "run", dataset, 5_000)
    with pytest.raises(SnapshotError, match="is fading 16 px in"):
        export(
            tmp_path / "run",
            tmp_path / "c",
            config=CONFIG,
            dataset=dataset,
            licence="Free",
            reached=True,
        )


def test_other_pictures_than_those_trained_on_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Dataset(write_archive(tmp_path / "noise.zip")), 12_000)
    pets = {"attributes": {"pet": ["cat", "dog"], "age": ["a", "b", "c"]}, "count": 47}
    other = Dataset(write_archive(tmp_path / "pets.zip", **pets))
    with pytest.raises(SnapshotError, match="holds other pictures or labels: name the archive"):
        export(tmp_path / "run", tmp_path / "c", config=CONFIG, dataset=other, licence="Free")
    with pytest.raises(SnapshotError, match="holds other pictures or labels"):
        run_pictures(tmp_path / "run", CONFIG, other)
    assert not (tmp_path / "c").exists()


def test_the_timelapse_of_what_was_reached_shows_whole_faces(tmp_path: Path) -> None:
    dataset = Dataset(write_archive(tmp_path / "noise.zip"))
    write_run(tmp_path / "run", dataset, 3_000)
    written = {"config": CONFIG, "dataset": dataset, "licence": "Free"}
    export(tmp_path / "run", tmp_path / "c", reached=True, **written)
    shown = (tmp_path / "c" / "timelapse.webp").read_bytes()
    assert shown == timelapse(tmp_path / "run", NETWORK.resolution)


def test_forty_attributes_are_exported_and_read_again(tmp_path: Path) -> None:
    names = {f"a{i}": ["no", "yes"] for i in range(40)}
    dataset = Dataset(
        write_archive(tmp_path / "many.zip", attributes=names, label=lambda i: [i & 1] * 40)
    )
    write_run(tmp_path / "run", dataset, 12_000)
    export(tmp_path / "run", tmp_path / "c", config=CONFIG, dataset=dataset, licence="Free")
    assert load_checkpoint(tmp_path / "c").joint_prior is None
