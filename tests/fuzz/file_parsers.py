"""What training and models read: archives, labels, photographs, checkpoints, others' weights."""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import peer_files
import torch
from fuzz.mutation import edit_bytes, edit_json, edit_png, edit_safetensors, edit_zip
from fuzz.parsers import Parser
from PIL import Image
from training_archives import write_archive

from models import (
    Attribute,
    CheckpointError,
    Discriminator,
    Generator,
    GeneratorConfig,
    load_checkpoint,
    load_companions,
    load_critic,
    save_checkpoint,
)
from training.dataset import Dataset
from training.errors import TrainingError
from training.importers import read_weights
from training.label_files import parse_label_file
from training.pictures import Decoded, read_picture
from training.source_files import SourceFiles
from training.sources import open_source

CONFIG = GeneratorConfig(8, latent_dim=2, label_dim=2, fmap_base=16, fmap_max=2)


@cache
def folder() -> Path:
    """Where files lie that readers open themselves; in memory where that is to be had."""
    memory = Path("/dev/shm")
    made = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[object] = []


def on_disk(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    """A reader of bytes that puts them into a file first."""

    def read_bytes(data: bytes) -> object:
        path = folder() / name
        path.write_bytes(data)
        return read(path)

    return read_bytes


def made(write: Callable[[Path], object]) -> bytes:
    """What `write` puts into a file."""
    path = folder() / "made.zip"
    write(path)
    return path.read_bytes()


def read_archive(path: Path) -> object:
    cache_folder = path.with_name(path.name + ".cache")
    try:
        dataset = Dataset(path)
        dataset.attributes(), dataset.joint_prior()
        return dataset.images(4).shape
    finally:
        shutil.rmtree(cache_folder, ignore_errors=True)


def read_source(path: Path) -> object:
    source = open_source(path)
    with SourceFiles(path) as files:
        for entry in source.entries[:8]:
            try:
                files.read(entry.name)
            except Exception as error:  # `prepare` names the file and goes on
                str(error)
    return source.attributes


def read_photograph(data: bytes) -> object:
    found = read_picture(data, 8)
    assert isinstance(found, str) or (isinstance(found, Decoded) and found.image.size == (8, 8))
    return found


def _photographs() -> list[bytes]:
    pixels = np.random.RandomState(3).randint(0, 256, (12, 16, 3)).astype(np.uint8)
    found = []
    for format_ in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format_)
        found.append(buffer.getvalue())
    grey = io.BytesIO()
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 255).save(grey, "PNG")
    return [*found, grey.getvalue()]


@cache
def checkpoint() -> Path:
    """A whole one, of which a file is then replaced."""
    torch.manual_seed(0)
    save_checkpoint(
        folder() / "tiny",
        generator=Generator(CONFIG),
        attributes=[Attribute("a", ("x", "y"), (0.5, 0.5))],
        joint_prior=np.array([0.5, 0.5]),
        provenance={"licence": "none", "metrics": {"swd": 1.5}},
        readme="",
        samples_png=b"",
        critic=Discriminator(CONFIG, "projection"),
        companions={"patches": {"detail.weight": torch.zeros(2, 3)}, "variety": {}},
    )
    return folder() / "tiny"


def whole(name: str) -> bytes:
    path = checkpoint() / f"{name}.whole"
    if not path.exists():
        shutil.copy(checkpoint() / name, path)
    return path.read_bytes()


def in_checkpoint(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of one of a checkpoint's files; digests are those of what is there."""

    def read_bytes(data: bytes) -> object:
        good = whole(name)
        provenance = json.loads(whole("provenance.json"))
        digests = {
            "model.safetensors": "weights_sha256",
            "critic.safetensors": "critic_sha256",
            "companions.safetensors": "companions_sha256",
        }
        path = checkpoint() / name
        try:
            path.write_bytes(data)
            if name in digests:
                provenance[digests[name]] = hashlib.sha256(data).hexdigest()
                (checkpoint() / "provenance.json").write_text(json.dumps(provenance))
            return read(checkpoint())
        finally:
            path.write_bytes(good)
            (checkpoint() / "provenance.json").write_bytes(whole("provenance.json"))

    return read_bytes


def _weights() -> list[bytes]:
    torch.manual_seed(0)
    state, other = peer_files.gan_zoo_state([2, 2], 2), peer_files.pro_gan_state([2, 2], 2)
    variables = peer_files.official_variables([2, 2], 2)
    labels = {"age": {"order": 0, "values": ["a"]}}
    older = folder() / "older"
    torch.save({"netG": state}, older, _use_new_zipfile_serialization=False)
    return [
        made(lambda path: peer_files.write_gan_zoo(path, state, attribKeysOrder=labels)),
        made(lambda path: peer_files.write_pro_gan(path, other)),
        made(lambda path: peer_files.write_official(path, variables)),
        made(lambda path: peer_files.write_official(path, variables, label_size=1)),
        older.read_bytes(),
    ]


def _archives() -> list[bytes]:
    few = made(lambda path: write_archive(path, count=3, resolution=4))
    return [few, made(lambda path: write_archive(path, count=2, resolution=8, labelled=False))]


JSON_LABELS = (
    b'{"labels": [["a.png", [0, 1]], ["b.png", ["x", null]]],'
    b' "attributes": [{"name": "a", "values": ["x", "y"]}, {"name": "b", "values": ["u", "v"]}]}'
)
CSV_LABELS = b'\xef\xbb\xbffile,age,"hair, if any"\na.png,3,red\n"b.png", ,"dark\nred"\n\n'


def labels_of(suffix: str) -> Callable[[bytes], object]:
    return lambda data: parse_label_file(f"labels.{suffix}", data)


_EITHER = (edit_bytes, edit_json)
_TENSORS = (edit_bytes, edit_safetensors, edit_safetensors)
_REFUSED, _DAMAGED = (TrainingError,), (CheckpointError,)

PARSERS = [
    Parser(
        "archives", on_disk(read_archive, "set.zip"), _archives, _REFUSED, (edit_zip, edit_bytes)
    ),
    Parser("sources", on_disk(read_source, "raw.zip"), _archives, _REFUSED, (edit_zip, edit_bytes)),
    Parser("labels-json", labels_of("json"), lambda: [JSON_LABELS], _REFUSED, _EITHER, 5),
    Parser("labels-csv", labels_of("csv"), lambda: [CSV_LABELS], _REFUSED, share=5),
    Parser("photographs", read_photograph, _photographs, edits=(edit_bytes, edit_png)),
    Parser(
        "checkpoint-config",
        in_checkpoint("config.json", load_checkpoint),
        lambda: [whole("config.json")],
        _DAMAGED,
        _EITHER,
        0.4,
    ),
    Parser(
        "checkpoint-provenance",
        in_checkpoint("provenance.json", load_checkpoint),
        lambda: [whole("provenance.json")],
        _DAMAGED,
        _EITHER,
        0.4,
    ),
    Parser(
        "checkpoint-weights",
        in_checkpoint("model.safetensors", load_checkpoint),
        lambda: [whole("model.safetensors")],
        _DAMAGED,
        _TENSORS,
        0.4,
    ),
    Parser(
        "checkpoint-critic",
        in_checkpoint("critic.safetensors", load_critic),
        lambda: [whole("critic.safetensors")],
        _DAMAGED,
        _TENSORS,
        0.4,
    ),
    Parser(
        "checkpoint-companions",
        in_checkpoint("companions.safetensors", load_companions),
        lambda: [whole("companions.safetensors")],
        _DAMAGED,
        _TENSORS,
        0.4,
    ),
    Parser("weights", on_disk(read_weights, "weights"), _weights, _REFUSED, (edit_zip, edit_bytes)),
]
