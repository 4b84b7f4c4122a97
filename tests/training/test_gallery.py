"""Pictures for people: label sheets, walk, timelapse, plots; and what a run folder gives."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import ATTRIBUTES, JOINT_PRIOR, tiny_generator

from models import Attribute, to_pixels
from training import plots
from training.animation import animated_webp
from training.errors import ConfigError
from training.gallery import PER_VALUE, STEPS, STOPS, WALKS, model_exhibits, run_exhibits, slerp
from training.grids import cells, grid
from training.label_draw import label_vectors
from training.presets import smoke_16
from training.run_pictures import run_pictures
from training.state import fixed_latents
from training.timelapse import MAX_FRAMES, timelapse


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with three grids of 64 faces of 16 px, and two resolutions' metrics."""
    (tmp_path / "samples").mkdir()
    for kimg in (1, 2, 10):
        sheet = grid(noise(64, 16, 16, 3) // kimg, 8)
        sheet.save(tmp_path / "samples" / f"{kimg:06d}k.png")
    rows = [
        {
            "images_seen": 1000 * i,
            "resolution": 8 if i < 5 else 16,
            "alpha": 0.5 if 5 <= i < 8 else 1.0,
            "loss_g": 1 / i,
            "loss_d": float(i),
            "swd": 30.0 - i,
            "text": "no number",
        }
        for i in range(1, 11)
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"images_se']))
    return tmp_path


class TestModel:
    def test_a_sheet_for_each_attribute_and_a_walk(self) -> None:
        exhibits = model_exhibits(tiny_generator(), ATTRIBUTES, JOINT_PRIOR)
        found = {exhibit.file: opened(exhibit.data) for exhibit in exhibits}
        assert list(found) == ["labels-gender.webp", "labels-age.webp", "walk.webp"]
        assert found["labels-gender.webp"].height == 2 * 16
        assert found["labels-age.webp"].height == 3 * 16
        assert found["labels-age.webp"].width > PER_VALUE * 16  # the names stand beside the rows
        assert found["walk.webp"].size == (WALKS * 16, 16)
        assert found["walk.webp"].n_frames == STOPS * STEPS
        assert found["walk.webp"].info["loop"] == 0

    def test_a_row_shows_its_value(self) -> None:
        generator = tiny_generator()
        sheet = opened(model_exhibits(generator, ATTRIBUTES, JOINT_PRIOR)[0].data)
        faces = cells(sheet.crop((sheet.width - PER_VALUE * 16, 0, sheet.width, 32)), 16)
        z_NZ = fixed_latents(range(PER_VALUE), 16)
        everything = [(k, g, a) for k in range(PER_VALUE) for g in range(2) for a in range(3)]
        y_NL = torch.from_numpy(label_vectors([(g, a) for _, g, a in everything], ATTRIBUTES))
        pictures = to_pixels(generator(z_NZ[[k for k, _, _ in everything]], y_NL)).numpy()
        for cell, shown in enumerate(faces):
            gender, seed = divmod(cell, PER_VALUE)
            distance = np.abs(pictures.astype(int) - shown).mean(axis=(1, 2, 3))
            assert everything[int(distance.argmin())][:2] == (seed, gender)  # WebP is lossy

    def test_no_attributes_and_many_values(self) -> None:
        walk = model_exhibits(tiny_generator(label_dim=0), (), None)
        assert [exhibit.file for exhibit in walk] == ["walk.webp"]
        many = Attribute("who/ever", tuple(map(str, range(20))), (0.05,) * 20)
        sheet = model_exhibits(tiny_generator(label_dim=20), (many,), None)[0]
        assert sheet.file == "labels-1.webp"
        assert opened(sheet.data).height == 16 * 16

    def test_slerp_stays_on_the_sphere(self) -> None:
        a, b = fixed_latents(range(2), 64).split(1)
        middle = slerp(a, b, 0.5)
        assert torch.allclose(slerp(a, b, 0.0), a, atol=1e-5)
        assert torch.allclose(slerp(a, b, 1.0), b, atol=1e-5)
        assert min(a.norm(), b.norm()) * 0.95 < middle.norm() < max(a.norm(), b.norm()) * 1.05


class TestRun:
    def test_timelapse_has_a_frame_for_each_grid(self, run: Path) -> None:
        (run / "samples" / "000011k.png").write_bytes(b"being written")
        data = timelapse(run, 16)
        assert data is not None
        film = opened(data)
        assert film.n_frames == 3
        assert film.size == (64, 64 + 16)
        film.seek(2)
        last = np.asarray(film.convert("RGB"))[:64].mean()
        assert last < 20  # sorted by kimg: the tenth is the darkest

    def test_a_long_run_is_thinned(self, run: Path) -> None:
        for kimg in range(11, 11 + MAX_FRAMES):
            grid(noise(16, 16, 16, 3) // kimg, 4).save(run / "samples" / f"{kimg:06d}k.png")
        data = timelapse(run, 16)
        assert data is not None
        assert opened(data).n_frames <= MAX_FRAMES

    def test_a_single_grid_is_no_film(self, tmp_path: Path) -> None:
        assert timelapse(tmp_path, 16) is None

    def test_a_run_has_its_timelapse_and_plots_to_show(self, run: Path) -> None:
        exhibits = {exhibit.file: exhibit for exhibit in run_exhibits(run, 16)}
        assert list(exhibits) == ["timelapse.webp", "losses.png", "measures.png"]
        for exhibit in exhibits.values():
            assert opened(exhibit.data).width >= 64

    def test_plots_are_the_same_bytes_again(self, run: Path) -> None:
        rows = plots.read_metrics(run)
        assert len(rows) == 10
        assert plots.plot_losses(rows) == plots.plot_losses(rows)

    def test_what_is_plotted_where(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[list[str]] = []
        monkeypatch.setattr(plots, "_plot", lambda rows, names: drawn.append(names))
        rows = plots.read_metrics(run)
        plots.plot_losses(rows)
        plots.plot_measures(rows)
        assert drawn == [["loss_d", "loss_g"], ["swd"]]

    def test_pictures_command_writes_what_there_is(
        self, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, missing = run_pictures(run, smoke_16(), None)
        names = ["losses.png", "measures.png", "timelapse.webp"]
        assert sorted(file.name for file in files) == names
        assert sorted(path.name for path in (run / "pictures").iterdir()) == names
        assert missing == ["No label sheets and no walk: they need --data, which names the labels."]
        monkeypatch.setattr("training.run_pictures.plots_available", lambda: False)
        monkeypatch.setattr("training.gallery.plots_available", lambda: False)
        files, missing = run_pictures(run, smoke_16(), None)
        assert [file.name for file in files] == ["timelapse.webp"]
        assert "matplotlib" in missing[0]

    def test_an_empty_run_has_nothing_to_show(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nothing to show"):
            run_pictures(tmp_path, smoke_16(), None)


class TestAnimation:
    def test_it_becomes_as_small_as_asked(self) -> None:
        frames = [grid(noise(1, 64, 64, 3) // k, 1) for k in (1, 2, 3)]
        large = animated_webp(frames, 50, max_bytes=10**6)
        small = animated_webp(frames, [50, 50, 500], max_bytes=len(large) // 2)
        assert len(small) <= len(large) // 2
        assert opened(small).n_frames == 3

    def test_one_frame_is_refused(self) -> None:
        with pytest.raises(ValueError, match="1 frames"):
            animated_webp([grid(noise(1, 8, 8, 3), 1)], 50)


def test_cells_are_the_inverse_of_grid() -> None:
    faces = noise(6, 8, 8, 3)
    assert np.array_equal(cells(grid(faces, 3), 8), faces)
