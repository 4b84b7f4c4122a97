"""Checkpoints to serve, servers that serve them, and a browser that looks at them."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import DESKTOP, FLAGS
from find_browser import find_browser
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from running_server import FACES_64, RunningServer, Start, server_factory


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
    """The smaller of the shipped checkpoints, or random weights where it was not trained yet."""
    return FACES_64 if FACES_64.is_dir() else random_checkpoint


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; one per module, because its event loop must not outlive the module."""
    executable = find_browser()
    assert executable, "the page's tests need a browser: install the package chromium (apt-get)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the page's console complained about, and what it asked of other hosts."""
    return []


@pytest.fixture
def page(browser: Browser, server, complaints) -> Iterator[Page]:
    """A fresh page of the server; the test fails if complaints are left at its end."""
    context = browser.new_context(base_url=server.url, viewport=DESKTOP)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(server.url) else complaints.append(request.url)
        ),
    )
    yield page
    context.close()
    assert complaints == []
