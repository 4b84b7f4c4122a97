import shutil
from pathlib import Path

import pytest
import torch

import training.snapshot
from training.errors import SnapshotError
from training.snapshot import (
    Snapshot,
    list_snapshots,
    load_newest,
    load_snapshot,
    optimizer_tensors,
    restore_optimizer,
    save_snapshot,
)


def snapshot(images_seen: int) -> Snapshot:
    tensors = {"generator": {"w": torch.full((3,), float(images_seen))}}
    return Snapshot(images_seen, images_seen // 4, tensors, {"note": "x"})


def test_round_trip_is_exact_and_only_the_newest_stay(tmp_path: Path) -> None:
    for images_seen in (4, 8, 12):
        save_snapshot(tmp_path, snapshot(images_seen), keep=2)
    assert [int(p.name) for p in list_snapshots(tmp_path)] == [12, 8]
    loaded, passed_over = load_newest(tmp_path)
    assert (loaded.images_seen, loaded.step, loaded.extra) == (12, 3, {"note": "x"})
    assert torch.equal(loaded.tensors["generator"]["w"], torch.full((3,), 12.0))
    assert passed_over == []


@pytest.mark.parametrize("name", ["generator.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_snapshot_is_passed_over_by_name(tmp_path: Path, name: str, damage: str) -> None:
    save_snapshot(tmp_path, snapshot(4), keep=2)
    path = save_snapshot(tmp_path, snapshot(8), keep=2) / name
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-5])
    elif damage == "flipped":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    else:
        path.unlink()
    loaded, passed_over = load_newest(tmp_path)
    assert loaded.images_seen == 4
    assert len(passed_over) == 1
    assert "0000000008" in passed_over[0]


def test_a_snapshot_still_being_written_is_not_seen(tmp_path: Path) -> None:
    whole = save_snapshot(tmp_path, snapshot(4), keep=2)
    shutil.copytree(whole, whole.with_name(".partial-0000000008"))
    assert load_newest(tmp_path)[0].images_seen == 4


def test_no_whole_snapshot_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no whole snapshot"):
        load_newest(tmp_path)


def test_a_full_disk_leaves_the_snapshot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_snapshot(tmp_path, snapshot(4), keep=2)

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"the first bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.snapshot, "save_file", full)
    with pytest.raises(SnapshotError, match=r"No space left on device.*free some space"):
        save_snapshot(tmp_path, snapshot(8), keep=2)
    assert [p.name for p in (tmp_path / "snapshots").iterdir()] == ["0000000004"]
    assert load_newest(tmp_path)[0].images_seen == 4


def test_another_version_is_refused(tmp_path: Path) -> None:
    folder = save_snapshot(tmp_path, snapshot(4), keep=2)
    state = (folder / "state.json").read_text()
    (folder / "state.json").write_text(state.replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(SnapshotError, match="format_version 7"):
        load_snapshot(folder)


def test_adam_goes_on_as_if_it_had_not_stopped() -> None:
    def run(steps: int, stop_at: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 2)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01, betas=(0.0, 0.99), fused=True)
        for step in range(steps):
            if step == stop_at:
                kept = {k: v.clone() for k, v in optimizer_tensors(optimizer).items()}
                optimizer = torch.optim.Adam(
                    layer.parameters(), lr=0.01, betas=(0.0, 0.99), fused=True
                )
                restore_optimizer(optimizer, kept)
            optimizer.zero_grad()
            layer(torch.full((1, 4), float(step))).square().sum().backward()
            optimizer.step()
        return layer.weight.detach().clone()

    assert torch.equal(run(6, None), run(6, 3))
