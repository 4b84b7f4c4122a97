"""A full disk under training: what was there stays, nothing half-written does, a sentence says so.

Twice each: a real file system without room, where this process may mount one, and files that may
not grow further.
"""

import io
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_checkpoints import write_slow, write_tiny
from training_archives import write_archive

from models import CheckpointError, load_checkpoint
from training.dataset import Dataset
from training.errors import DatasetError, SnapshotError
from training.prepare import prepare
from training.snapshot import Snapshot, load_newest, save_snapshot

ROOM = 400 * 1024
"""Bytes: for all that is there at first, and not for what comes then."""


@pytest.fixture(params=["no room", "no growth"])
def disk(request, tmp_path) -> Iterator[tuple[Path, Callable[[], AbstractContextManager[None]]]]:
    """A folder, and a context in which its disk is full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "no growth":
        yield folder, _no_growth
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs a small file system of its own: run as root, where mount is allowed")
    try:
        yield folder, nullcontext
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _no_growth() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM // 2, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def one_sentence(error: Exception, place: Path) -> bool:
    return str(place) in str(error) and "\n" not in str(error)


def snapshot(images_seen: int, size: int) -> Snapshot:
    return Snapshot(images_seen, 1, {"generator": {"w": torch.ones(size)}}, {})


def test_the_snapshot_before_stays(disk):
    run, full = disk
    save_snapshot(run, snapshot(4, size=100), keep=2)
    before = everything(run)
    with full(), pytest.raises(SnapshotError, match="free some space") as caught:
        save_snapshot(run, snapshot(8, size=500_000), keep=2)
    assert one_sentence(caught.value, run)
    assert everything(run) == before
    assert [path.name for path in (run / "snapshots").iterdir()] == ["0000000004"]
    assert load_newest(run)[0].images_seen == 4


def test_the_checkpoint_before_stays(disk):
    folder, full = disk
    write_tiny(folder / "mine")
    before = everything(folder)
    with (
        full(),
        pytest.raises(CheckpointError, match="what was there before is untouched") as caught,
    ):
        write_slow(folder / "mine", channels=256)
    assert one_sentence(caught.value, folder)
    assert everything(folder) == before
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert load_checkpoint(folder / "mine").config.resolution == 16


def test_the_archive_before_stays(disk, tmp_path):
    folder, full = disk
    noise = np.random.default_rng(0)
    for n in range(40):
        buffer = io.BytesIO()
        pixels = noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        path = tmp_path / "photographs" / "all" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    archive = write_archive(folder / "mine.zip")
    before = everything(folder)
    with full(), pytest.raises(DatasetError) as caught:
        prepare(tmp_path / "photographs", archive, resolution=64, workers=1)
    assert "disk is full" in str(caught.value) or "File too large" in str(caught.value)
    assert one_sentence(caught.value, archive)
    assert everything(folder) == before


def test_pictures_are_not_unpacked_by_half(disk, tmp_path):
    folder, full = disk
    archive = folder / "mine.zip"
    archive.symlink_to(write_archive(tmp_path / "mine.zip", count=96, resolution=64))
    with full(), pytest.raises(DatasetError, match="free some space there") as caught:
        Dataset(archive).images(64)
    assert one_sentence(caught.value, folder)
    assert list((folder / "mine.zip.cache").iterdir()) == []
