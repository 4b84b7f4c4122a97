"""From photographs to a checkpoint through the command line, as a researcher types it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from training_archives import write_archive

from models import load_checkpoint
from training.__main__ import main
from training.snapshot import list_snapshots, load_newest

pytestmark = pytest.mark.e2e


def run_training(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done


def draw_face(random: np.random.Generator) -> bytes:
    """Something with a head, eyes and a mouth, as a JPEG."""
    image = Image.new("RGB", (60, 60), tuple(random.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 5, 50, 55), fill=tuple(random.integers(100, 256, 3)))
    for x in (22, 36):
        draw.ellipse((x, 22, x + 5, 27), fill="black")
    draw.line((24, 42, 38, 42 + int(random.integers(-4, 5))), fill="darkred", width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographs") / "people.zip"
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(200):
            name = f"{i % 90}_{i % 2}_{i % 5}_2017010917{i:07d}.jpg.chip.jpg"
            archive.writestr(name, draw_face(random))
        archive.writestr("34_1_0_20170109170000000.jpg.chip.jpg", b"no picture")
        archive.writestr("61_1_20170109150557335.jpg.chip.jpg", draw_face(random))
    return path


def test_photographs_become_a_checkpoint_that_loads(photographs: Path, tmp_path: Path) -> None:
    archive, run, checkpoint = tmp_path / "a.zip", tmp_path / "run", tmp_path / "tiny"
    prepared = run_training("prepare", photographs, archive, "--resolution", 16)
    assert "61_1_20170109150557335" in Path(f"{archive}.report.json").read_text()
    assert "200" in prepared.stdout

    run_training("train", "--data", archive, "--run", run, "--preset", "smoke_16", "--kimg", 6.4)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (rows[-1]["resolution"], rows[-1]["alpha"]) == (16, 1.0)

    run_training("export", run, checkpoint, "--data", archive, "--licence", "Drawn, free to use.")
    loaded = load_checkpoint(checkpoint)
    assert [a.name for a in loaded.attributes] == ["gender", "age", "ethnicity"]
    assert loaded.provenance["images_seen"] == 6400
    card = (checkpoint / "README.md").read_text()
    assert "Drawn, free to use." in card
    assert "trained on 6,000 images" in card
    with Image.open(checkpoint / "samples.png") as sheet:
        pixels = np.asarray(sheet).reshape(8, 32, 8, 32, 3).swapaxes(1, 2).reshape(64, -1)
    assert len(np.unique(pixels, axis=0)) == 64


def test_a_run_killed_outright_goes_on_from_its_last_snapshot(tmp_path: Path) -> None:
    archive, run = write_archive(tmp_path / "noise.zip"), tmp_path / "run"
    command = [sys.executable, "-m", "training", "train", "--data", str(archive)]
    command += ["--run", str(run), "--preset", "smoke_16", "--set", "snapshot_kimg=1"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + 200
            while not list_snapshots(run):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    kept = load_newest(run)[0].images_seen
    done = run_training(
        "train", "--data", archive, "--run", run, "--resume", "--kimg", kept / 1000 + 0.1
    )
    assert f"resumed at {kept / 1000:.1f} kimg" in done.stdout
    assert load_newest(run)[0].images_seen > kept


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prepare", "{tmp}/empty", "{tmp}/a.zip"], "{tmp}/empty"),
        (["prepare", "{tmp}/gone", "{tmp}/a.zip"], "{tmp}/gone"),
        (["prepare", "{photographs}", "{tmp}/a.zip", "--resolution", "48"], "power of two"),
        (["train", "--data", "{tmp}/gone.zip", "--run", "{tmp}/r"], "gone.zip does not exist"),
        (["train", "--data", "{noise}", "--run", "{tmp}/r", "--preset", "x"], "no preset 'x'"),
        (["train", "--data", "{noise}", "--run", "{tmp}/r", "--kimg", "0"], "total_kimg"),
        (["train", "--data", "{noise}", "--run", "{tmp}/r", "--preset", "faces_64"], "64"),
        (["train", "--data", "{noise}", "--run", "{tmp}/r", "--resume"], "holds no run"),
        (["train", "--data", "{noise}", "--run", "{tmp}/r", "--device", "tpu"], "cpu, cuda"),
        (["export", "{tmp}/gone", "{tmp}/c", "--data", "{noise}"], "holds no run"),
        (["evaluate", "{tmp}/gone", "--data", "{noise}", "--report", "{tmp}/r.json"], "gone"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "tmp": str(tmp_path),
        "photographs": str(photographs),
        "noise": str(write_archive(tmp_path / "noise.zip")),
    }
    # In this process, where torch is imported already.
    monkeypatch.setattr(sys, "argv", ["training", *(a.format(**places) for a in arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert sentence.format(**places) in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "a.zip").exists()
