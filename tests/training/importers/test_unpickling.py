"""Nothing in a stranger's file is run, and a damaged one is one sentence."""

import builtins
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peer_files
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import CheckpointError
from training.errors import ImportFileError, TrainingError
from training.importers import import_checkpoint, read_weights


class Calls:
    """Pickled, it asks for a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(marker: Path) -> list[Calls]:
    return [
        Calls(os.system, f"touch {marker}"),
        Calls(builtins.eval, f"open({str(marker)!r}, 'w')"),
        Calls(builtins.__import__, "antigravity"),
        Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {marker}"))),
    ]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("way", ["pickle", "torch", "torch, older", "inside the settings"])
def test_a_call_is_refused_and_not_made(tmp_path: Path, which: int, way: str) -> None:
    marker, file = tmp_path / "ran", tmp_path / "file"
    attack = attacks(marker)[which]
    if way == "pickle":
        file.write_bytes(pickle.dumps((1, 2, attack)))
    elif way == "inside the settings":
        peer_files.write_gan_zoo(file, peer_files.gan_zoo_state([8, 8], 4), hook=attack)
    else:
        torch.save({"netG": attack}, file, _use_new_zipfile_serialization=way == "torch")
    with pytest.raises(ImportFileError, match="refused; nothing in it was run"):
        import_checkpoint(file, tmp_path / "made", licence="")
    assert not marker.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_call_of_something_known_makes_nothing_large(tmp_path: Path) -> None:
    """numpy.ndarray itself would take any size; its stand-in takes none."""
    file = tmp_path / "file"
    file.write_bytes(b"\x80\x02cnumpy\nndarray\n(I1000000000000\ntR.")
    with pytest.raises(ImportFileError, match="damaged"):
        read_weights(file)


def test_a_few_bytes_take_no_gigabytes(tmp_path: Path) -> None:
    """Places to remember things under, numbers that would become zeros."""
    far = (2**31).to_bytes(4, "little")
    array = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nI0\ntU\x01btR"
        b"(I1\n(I1000000000000\ntcnumpy\ndtype\n(X\x02\x00\x00\x00u1tRI00\nI1000000000000\ntb."
    )
    for content in (b"\x80\x02Nr" + far + b".", b"Np2147483648\n.", array):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ImportFileError, match="damaged"):
            read_weights(tmp_path / "file")


def test_a_tensor_that_repeats_itself_is_refused(tmp_path: Path) -> None:
    state = {"formatLayer.weight": torch.zeros(1).expand(10**6, 10**6)}
    torch.save({"netG": state}, tmp_path / "file")
    with pytest.raises(ImportFileError, match="holds less than it says"):
        read_weights(tmp_path / "file")


def test_more_labels_than_there_are_features_are_refused(tmp_path: Path) -> None:
    file = peer_files.write_official(
        tmp_path / "file", peer_files.official_variables([4, 4], 4), label_size=10**12
    )
    with pytest.raises(ImportFileError, match="label_size"):
        read_weights(file)


@pytest.mark.parametrize(
    "data",
    [
        {"netG": {}, "avgG": torch.zeros(4)},
        {"netG": 5},
        {"netG": {}, "config": []},
        {"generator": {"state_dict": {}, "conf": []}},
        {"generator": {"state_dict": {"layers.0.conv_1.weight": torch.zeros(0, 0, 4, 4)}}},
        {"generator": torch.zeros(4)},
    ],
    ids=range(6),
)
def test_what_stands_in_a_sound_file_may_be_anything(tmp_path: Path, data: object) -> None:
    torch.save(data, tmp_path / "file")
    with pytest.raises(ImportFileError):
        read_weights(tmp_path / "file")


def test_a_packed_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(ImportFileError, match="compressed"):
        read_weights(tmp_path / "bomb")


@pytest.mark.parametrize("content", [b"", b"\x80", b"GIF89a", b"PK\x03\x04junk", b"N.", b"(lp0\n."])
def test_something_else_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ImportFileError):
        read_weights(tmp_path / "file")


def test_a_missing_file_and_an_occupied_folder(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="cannot be read"):
        read_weights(tmp_path / "none")
    file = peer_files.write_gan_zoo(tmp_path / "file", peer_files.gan_zoo_state([8, 8], 4))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        import_checkpoint(file, tmp_path / "taken", licence="")
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "years of work"


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("whole")
    files = [
        peer_files.write_gan_zoo(folder / "a", peer_files.gan_zoo_state([4, 4], 4)),
        peer_files.write_pro_gan(folder / "b", peer_files.pro_gan_state([4, 4], 4)),
        peer_files.write_official(folder / "c", peer_files.official_variables([4, 4], 4)),
    ]
    return [file.read_bytes() for file in files]


@settings(max_examples=150)
@given(
    which=st.integers(0, 2),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    keep=st.floats(0.2, 1),
)
def test_damage_is_named_or_harmless(
    whole_files: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
    which: int,
    edits: list[tuple[float, int]],
    keep: float,
) -> None:
    data = bytearray(whole_files[which])
    for place, value in edits:
        data[int(place * len(data))] = value
    file = tmp_path_factory.mktemp("damaged") / "file"
    file.write_bytes(data if keep > 0.9 else data[: int(keep * len(data))])
    try:
        imported = read_weights(file)
    except TrainingError:
        return
    assert imported.generator.config.resolution == 8
