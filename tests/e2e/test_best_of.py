"""A real server with a real critic, small, untrained: its choices, and who they are elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from running_server import server_factory
from tiny_checkpoints import write_judged

from models import CheckpointError, from_pixels, load_checkpoint, load_critic
from service.choice import candidates
from service.critic import critic_of
from service.engine import load_engine
from service.latents import latent
from service.params import Seed
from service.pipeline import Face

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_judged(tmp_path_factory.mktemp("checkpoints") / "judged-16")


@pytest.fixture(scope="module")
def client(tmp_path_factory, folder) -> Iterator[httpx.Client]:
    with server_factory(tmp_path_factory.mktemp("judged"), folder) as start:
        yield start(max_best_of=8).wait_ready().client


def test_the_winner_is_the_one_that_the_discriminator_scores_highest(client, folder):
    critic = load_critic(folder).eval()
    engine = load_engine(folder, threads=1)
    spec = engine.spec
    winners = []
    for number in range(4):
        seed = Seed.parse(str(number))
        labels = spec.space.complete({}, seed.text)
        y_L = spec.space.encode(labels)
        faces = candidates(Face(spec, seed, labels, 16, "png"), {}, 4)
        scores = []
        for face in faces:
            image_BHWC = engine.generate(latent(face.seed, spec.latent_dim)[None], y_L[None])
            with torch.inference_mode():
                image_BCHW = from_pixels(torch.from_numpy(image_BHWC))
                scores.append(float(critic(image_BCHW, torch.from_numpy(y_L)[None])))
        answer = client.get(f"/v1/faces/{number}.png?best_of=4")
        assert answer.headers["X-Seed"] == str(faces[scores.index(max(scores))].seed)
        winners.append(scores.index(max(scores)))
        own = client.get(f"/v1/faces/{answer.headers['X-Seed']}.png")
        assert own.content == answer.content
        assert own.headers["ETag"] == answer.headers["ETag"]
    assert set(winners) != {0}


def test_a_new_face_is_verified_under_the_seed_that_it_names(client):
    best = client.get("/image?best_of=3&gender=female")
    own = client.get(f"/v1/faces/{best.headers['X-Seed']}.png?gender=female")
    assert own.content == best.content
    verdict = client.post(
        "/v1/verify", content=best.content, headers={"Content-Type": "image/png"}
    ).json()
    assert verdict["verdict"] == "reproduced"
    assert client.get("/v1/models").json()["models"][0]["critic"] is True
    assert 'visage_choices_total{model="judged-16"}' in client.get("/metrics").text


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_a_critic_changes_no_picture(folder, kind):
    plain = load_engine(folder, kind=kind, threads=1, critic=False)
    judged = load_engine(folder, kind=kind, threads=1)
    assert (plain.critic, plain.spec.critic) == (None, "")
    assert judged.spec.critic
    z_BZ = latent(Seed.parse("7"), plain.spec.latent_dim)[None]
    y_BL = plain.spec.space.encode(plain.spec.space.complete({}, "7"))[None]
    before = plain.generate(z_BZ, y_BL)
    score = judged.critic.score(judged.generate(z_BZ, y_BL)[0], y_BL[0])
    assert (judged.generate(z_BZ, y_BL) == before).all()
    assert judged.critic.score(before[0], y_BL[0]) == score


def test_another_checkpoint_s_critic_is_refused(folder, tmp_path):
    checkpoint = load_checkpoint(folder)
    other = write_judged(tmp_path / "other", seed=1)
    (tmp_path / "other" / "critic.safetensors").replace(tmp_path / "stray")
    assert critic_of(checkpoint, other, takes_turns=True) is None
    (tmp_path / "stray").replace(tmp_path / "other" / "critic.safetensors")
    with pytest.raises(CheckpointError, match="export again"):
        critic_of(checkpoint, other, takes_turns=True)
