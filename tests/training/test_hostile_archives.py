"""An archive from strangers: what it says of itself is believed only where it can be."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_archives import write_archive

from training.dataset import Dataset
from training.errors import DatasetError

Change = Callable[[dict[str, Any]], object]


def rewritten(path: Path, change: Change = lambda _: None, **members: bytes) -> Path:
    """A small archive, its description changed and some of its members others."""
    made = write_archive(path.with_name("plain.zip"), count=4)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "dataset.json":
                description = json.loads(content)
                change(description)
                content = json.dumps(description).encode()
            new.writestr(name, members.get(Path(name).stem, content))
    return path


@pytest.mark.parametrize("digest", ["../victim", "/../../victim", "a" * 63, "A" * 64, 5, None, ""])
def test_a_digest_leads_nowhere(tmp_path: Path, digest: object) -> None:
    victim = tmp_path / "victim" / "thesis.txt"
    victim.parent.mkdir()
    victim.write_text("years of work")
    path = rewritten(tmp_path / "set.zip", lambda d: d.update(digest=digest))
    with pytest.raises(DatasetError, match="not a dataset archive"):
        Dataset(path).images(16)
    assert victim.read_text() == "years of work"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(resolution="16"),
        lambda d: d.update(resolution=2**30),
        lambda d: d.update(resolution=17),
        lambda d: d.update(resolution=True),
        lambda d: d.update(name=5),
        lambda d: d.update(name="\ud800"),
        lambda d: d.update(attributes=[{"name": "age"}]),
        lambda d: d.update(attributes=[{"name": "age", "values": []}] * 2),
        lambda d: d.update(labels=[["a.png"]]),
        lambda d: d["labels"][0].__setitem__(1, [1]),
        lambda d: d["labels"][0].__setitem__(1, [0, 99]),
        lambda d: d["labels"][0].__setitem__(1, [0, -1]),
        lambda d: d["labels"][0].__setitem__(1, [0, 10**30]),
        lambda d: d["labels"][0].__setitem__(1, ["a", "b"]),
        lambda d: d["labels"][0].__setitem__(1, [0, True]),
        lambda d: d["labels"][0].__setitem__(0, ["x"]),
        lambda d: d.pop("digest"),
        lambda d: d.clear(),
    ],
    ids=range(18),
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, change: Change) -> None:
    with pytest.raises(DatasetError, match=r"set\.zip is not a dataset archive .* prepare"):
        Dataset(rewritten(tmp_path / "set.zip", change))


@pytest.mark.parametrize("content", [b"[" * 200_000, b'"\xff"', b"NaN", b"9" * 5000, bytes(2**26)])
def test_no_description_costs_more_than_a_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DatasetError, match="not a dataset archive"):
        Dataset(rewritten(tmp_path / "set.zip", dataset=content))


def saved(format_: str, side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(buffer, format_)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        saved("PPM", 16),
        saved("EPS", 16),
        saved("JPEG", 16),
        saved("PNG", 2048),
        saved("PNG", 16)[:45],
        b"",
        bytes(2**26),
    ],
    ids=["PPM", "EPS", "JPEG", "too large", "cut short", "empty", "bomb"],
)
def test_a_member_that_is_no_such_png_is_named(tmp_path: Path, content: bytes) -> None:
    path = rewritten(tmp_path / "set.zip", img00000002=content)
    with pytest.raises(DatasetError, match=r"img00000002\.png .* prepare it again"):
        Dataset(path).images(16)
    assert list((tmp_path / "set.zip.cache").iterdir()) == []
