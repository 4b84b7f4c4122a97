"""Steps are fed the same, whether their inputs are prepared ahead or not."""

import dataclasses
import threading
from contextlib import closing

import pytest
import torch
from training_archives import write_archive

from training import feed as feed_module
from training.config import NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.distributed import World
from training.feed import Feed
from training.inputs import Inputs, inputs_at
from training.sampler import Sampler
from training.schedule import phase_at

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    preset="test",
    network=NetworkConfig(16, latent_dim=8, label_embed_dim=4, fmap_base=32, fmap_max=8),
    schedule=ScheduleConfig(total_kimg=1, batch_size=8, hold_kimg=0.02, fade_kimg=0.02),
)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Sampler:
    path = tmp_path_factory.mktemp("data") / "noise.zip"
    return Sampler(Dataset(write_archive(path, resolution=16)), seed=0)


def same(one: Inputs, other: Inputs) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(Inputs)]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("ahead", [True, False])
def test_through_every_phase_it_gives_what_the_position_asks_for(
    sampler: Sampler, ahead: bool
) -> None:
    world = World(rank=1, size=2)
    with closing(Feed(sampler, CONFIG, world, CPU, ahead=ahead)) as feed:
        seen = 0
        for _ in range(10):  # holds at 8 px, fades, holds at 16
            phase = phase_at(seen, CONFIG)
            wanted = inputs_at(seen, phase, sampler, CONFIG, take=world.rows(8), device=CPU)
            assert same(feed.take(seen, phase), wanted)
            seen += phase.batch_size
            feed.prepare(seen)
        assert phase_at(seen, CONFIG).resolution == 16


def test_what_was_prepared_for_another_position_is_not_taken(sampler: Sampler) -> None:
    with closing(Feed(sampler, CONFIG, World(), CPU, ahead=True)) as feed:
        feed.prepare(8)
        phase = phase_at(64, CONFIG)
        wanted = inputs_at(64, phase, sampler, CONFIG, take=World().rows(8), device=CPU)
        assert same(feed.take(64, phase), wanted)


def test_another_thread_prepares_and_its_troubles_are_told(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object, **named: object) -> Inputs:
        raise OSError(f"no pictures for {threading.current_thread().name}")

    with closing(Feed(sampler, CONFIG, World(), CPU, ahead=True)) as feed:
        monkeypatch.setattr(feed_module, "inputs_at", fails)
        feed.prepare(8)
        with pytest.raises(OSError, match="no pictures for ThreadPool"):
            feed.take(8, phase_at(8, CONFIG))
