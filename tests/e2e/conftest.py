"""Checkpoints to serve, and servers that serve them."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_server import SHIPPED, RunningServer, Start, server_factory


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory) -> Path:
    """A 64 px checkpoint of random weights, labelled as the shipped one."""
    import torch

    from models import Attribute, Generator, GeneratorConfig, save_checkpoint

    torch.manual_seed(0)
    attributes = (
        Attribute("gender", ("male", "female"), (0.5, 0.5)),
        Attribute("age", ("0-9", "10-19", "20-29", "30-39", "60+"), (0.1, 0.2, 0.3, 0.3, 0.1)),
        Attribute("ethnicity", ("White", "Black", "Asian"), (0.5, 0.3, 0.2)),
    )
    samples = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(samples, "PNG")
    folder = tmp_path_factory.mktemp("checkpoints") / "random-64"
    save_checkpoint(
        folder,
        generator=Generator(GeneratorConfig(64, 32, 10, 0, fmap_base=1024, fmap_max=64)),
        attributes=attributes,
        joint_prior=None,
        provenance={"licence": "CC0-1.0"},
        readme="# random weights",
        samples_png=samples.getvalue(),
    )
    return folder


@pytest.fixture(scope="session")
def checkpoint(random_checkpoint) -> Path:
    """The shipped checkpoint, or random weights where it has not been trained yet."""
    return SHIPPED if SHIPPED.is_dir() else random_checkpoint


@pytest.fixture
def start(tmp_path, checkpoint) -> Iterator[Start]:
    """Starts servers with the given settings; all are gone after the test."""
    with server_factory(tmp_path, checkpoint) as start:
        yield start


@pytest.fixture(scope="session")
def server(tmp_path_factory, checkpoint) -> Iterator[RunningServer]:
    """One ready server, shared by the tests that only ask it for things."""
    with server_factory(tmp_path_factory.mktemp("server"), checkpoint) as start:
        yield start().wait_ready()
