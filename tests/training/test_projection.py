"""Projection: what the generator made is found again; bad photographs are one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import ATTRIBUTES, JOINT_PRIOR, tiny_generator

from models import from_pixels, save_checkpoint, to_pixels
from service.many_params import ManyRequest
from training.errors import ConfigError, DatasetError
from training.label_draw import label_vectors
from training.perceptual import PerceptualDistance
from training.photograph import read_photograph
from training.project import project_photograph
from training.projection import project

STEPS = 60


def picture_of(seed: int, row: tuple[int, ...]) -> np.ndarray:
    z_BZ = torch.from_numpy(np.random.RandomState(seed).randn(1, 16).astype(np.float32))
    y_BL = torch.from_numpy(label_vectors([row], ATTRIBUTES))
    return to_pixels(tiny_generator()(z_BZ, y_BL))[0].numpy()


def squared_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).mean())


class TestSearch:
    def test_a_generated_picture_is_found_again(self) -> None:
        target = picture_of(1, (1, 2))
        known = {"gender": "female", "age": "20+"}
        found = project(target, tiny_generator(), ATTRIBUTES, JOINT_PRIOR, given=known, steps=STEPS)
        assert found.labels == known
        error = squared_error(found.image_HWC, target)
        assert error < 0.2 * squared_error(found.start_HWC, target)
        assert found.distance < 0.5 * found.start_distance
        assert np.isclose(np.linalg.norm(found.z_Z), 4.0, atol=1e-4)  # √16

    def test_labels_are_searched_where_they_are_not_given(self) -> None:
        target = picture_of(3, (0, 2))
        found = project(target, tiny_generator(), ATTRIBUTES, JOINT_PRIOR, steps=STEPS)
        assert squared_error(found.image_HWC, target) < 0.2 * squared_error(found.start_HWC, target)
        row = tuple(a.values.index(found.labels[a.name]) for a in ATTRIBUTES)
        assert JOINT_PRIOR[row] > 0
        # What was found is what is said: latent and labels give that very picture.
        y_BL = torch.from_numpy(label_vectors([row], ATTRIBUTES))
        again = to_pixels(tiny_generator()(torch.from_numpy(found.z_Z)[None], y_BL))[0].numpy()
        assert np.array_equal(again, found.image_HWC)

    def test_the_seed_decides_everything(self) -> None:
        target = picture_of(4, (1, 0))
        a, b, c = (
            project(target, tiny_generator(), ATTRIBUTES, JOINT_PRIOR, seed=seed, steps=20)
            for seed in (0, 0, 1)
        )
        assert np.array_equal(a.z_Z, b.z_Z)
        assert (a.labels, a.distance) == (b.labels, b.distance)
        assert not np.array_equal(a.z_Z, c.z_Z)

    def test_a_model_without_labels(self) -> None:
        generator = tiny_generator(label_dim=0)
        target = to_pixels(generator(torch.ones(1, 16)))[0].numpy()
        seen: list[int] = []
        found = project(
            target, generator, (), None, steps=20, report=lambda step, *_: seen.append(step)
        )
        assert found.labels == {}
        assert seen == list(range(1, 21))
        assert len(found.progress) == 8

    def test_an_unknown_label_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no attribute 'hair'"):
            project(
                picture_of(1, (0, 0)), tiny_generator(), ATTRIBUTES, None, given={"hair": "red"}
            )


class TestDistance:
    def test_it_is_zero_at_the_target_and_grows_with_every_damage(self) -> None:
        smooth = Image.fromarray(picture_of(1, (0, 0))).resize((32, 32), Image.Resampling.BICUBIC)
        random = np.random.default_rng(0)
        target = np.array(smooth)
        noisy = np.clip(target + random.normal(0, 20, target.shape), 0, 255).astype(np.uint8)
        damaged = {
            "target": target,
            "noise": noisy,
            "blur": np.array(smooth.reduce(4).resize((32, 32), Image.Resampling.BICUBIC)),
            "shift": np.roll(target, 4, axis=1),
            "dark": target // 2,
            "inverse": 255 - target,
        }
        image_BCHW = from_pixels(torch.from_numpy(np.stack([*damaged.values()])))
        distance_B = PerceptualDistance(image_BCHW[0])(image_BCHW)
        distance = dict(zip(damaged, distance_B.tolist(), strict=True))
        assert distance["target"] == pytest.approx(0, abs=1e-5)
        assert min(value for name, value in distance.items() if name != "target") > 0.05
        assert max(distance, key=lambda name: distance[name]) == "inverse"

    def test_a_picture_alone_and_among_others_is_as_far(self) -> None:
        image = torch.rand(3, 3, 16, 16) * 2 - 1
        distance = PerceptualDistance(image[0])
        assert torch.allclose(distance(image)[1:2], distance(image[1:2]), atol=1e-6)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(
        tmp_path / "tiny",
        generator=tiny_generator(),
        attributes=ATTRIBUTES,
        joint_prior=JOINT_PRIOR,
        provenance={},
        readme="",
        samples_png=b"",
        dtype=torch.float32,
    )
    return tmp_path / "tiny"


def as_file(path: Path, image_HWC: np.ndarray) -> Path:
    Image.fromarray(image_HWC).save(path)
    return path


class TestCommand:
    def test_what_is_written(self, checkpoint: Path, tmp_path: Path) -> None:
        target = picture_of(1, (1, 2))
        photo = as_file(tmp_path / "photo.png", target)
        lines = project_photograph(
            photo, checkpoint, tmp_path / "out", labels=["age=20+"], steps=20, check_face=False
        )
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "latent.json",
            "progress.png",
            "projection.png",
        ]
        body = json.loads((tmp_path / "out" / "latent.json").read_text())
        assert len(ManyRequest.model_validate(body)) == 1  # what `POST /v1/faces` takes
        assert body.keys() == {"latents", "labels"}
        assert [len(latent) for latent in body["latents"]] == [16]
        assert body["labels"].keys() == {"gender", "age"}
        assert body["labels"]["age"] == "20+"
        with Image.open(tmp_path / "out" / "projection.png") as side_by_side:
            assert side_by_side.size == (3 * 192, 192 + 16)
            shown = np.asarray(side_by_side)[:192:12, :192:12]
        assert np.array_equal(shown, target)
        assert any("perceptual distance" in line for line in lines)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (["age"], "does not read name=value"),
            (["age=20+", "age=0-9"], "'age' is given twice"),
            (["age=7"], "age cannot be '7': choose one of"),
        ],
    )
    def test_bad_labels_are_refused_before_anything_is_written(
        self, checkpoint: Path, tmp_path: Path, labels: list[str], message: str
    ) -> None:
        photo = as_file(tmp_path / "photo.png", picture_of(1, (1, 2)))
        with pytest.raises(ConfigError, match=message):
            project_photograph(photo, checkpoint, tmp_path / "out", labels=labels, check_face=False)
        assert not (tmp_path / "out").exists()


class TestPhotograph:
    def test_any_orientation_and_size_becomes_the_centre_square(self, tmp_path: Path) -> None:
        image_HWC = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
        photo = as_file(tmp_path / "photo.png", image_HWC)
        target = read_photograph(photo, 32, check_face=False)
        assert np.array_equal(target, image_HWC[:, 4:36])

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (None, "cannot be read"),
            (b"", "an empty file"),
            (b"text", "not a picture"),
            ((15, 40), "is 40×15 px and the model makes 16 px"),
            ((16, 40), "too long for a crop of a face"),
            ((32, 32), "is one flat colour"),
        ],
    )
    def test_what_cannot_be_projected(self, tmp_path: Path, image, message: str) -> None:
        photo = tmp_path / "photo.png"
        if isinstance(image, bytes):
            photo.write_bytes(image)
        elif image is not None:
            as_file(photo, np.full((*image, 3), 100, np.uint8))
        with pytest.raises(DatasetError, match=message) as caught:
            read_photograph(photo, 16)
        assert str(photo) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_noise_is_no_face(self, tmp_path: Path) -> None:
        pytest.importorskip("dlib")
        image_HWC = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        photo = as_file(tmp_path / "photo.png", image_HWC)
        with pytest.raises(DatasetError, match=r"no face that dlib can find.* --unchecked"):
            read_photograph(photo, 64)
        assert read_photograph(photo, 64, check_face=False).shape == (64, 64, 3)
