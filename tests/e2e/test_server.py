"""The server as a process: the same bytes always, a stop that loses nothing, clear refusals."""

import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.e2e

ADDRESS = "/v1/faces/7.png?gender=female&age=34"


def test_a_seed_is_the_same_bytes_across_calls_load_and_restart(server, start):
    quiet = server.client.get(ADDRESS)
    assert quiet.status_code == 200
    assert quiet.content.startswith(b"\x89PNG")
    assert server.client.get(ADDRESS).content == quiet.content

    with ThreadPoolExecutor(64) as clients:
        others = [clients.submit(server.client.get, f"/v1/faces/{n}.png") for n in range(100, 164)]
        ours = [clients.submit(server.client.get, ADDRESS) for _ in range(3)]
        assert all(answer.result().content == quiet.content for answer in ours)
        assert len({answer.result().content for answer in others}) == 64
        assert all(answer.result().status_code == 200 for answer in others)

    again = start().wait_ready()
    assert again.client.get(ADDRESS).content == quiet.content
    assert again.client.get(ADDRESS).headers["ETag"] == quiet.headers["ETag"]


def test_sigterm_finishes_what_was_accepted_and_exits_0(start):
    server = start(engine="torch", tile=64).wait_ready()  # a step is long enough to be interrupted
    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(server.client.get, "/image") for _ in range(16)]
        in_flight = "visage_requests_in_flight 17"  # the scrape itself is one
        while in_flight not in server.client.get("/metrics").text:
            assert not all(answer.done() for answer in answers), "all done before we could look"
        server.process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200] * 16
    code, stderr = server.wait()
    assert (code, stderr) == (0, "")
    assert [line["event"] for line in server.events()][-2:] == ["draining", "stopped"]


def test_ctrl_c_on_an_idle_server_exits_0(start):
    server = start().wait_ready()
    assert server.stop(signal.SIGINT) == 0


def refusal(server) -> str:
    """The one sentence with which the server refused to start."""
    code, stderr = server.wait()
    assert code == 2, stderr
    assert "Traceback" not in stderr + server.log.read_text()
    assert stderr.startswith("visage: ")
    assert stderr.count("\n") == 1
    return stderr


def test_a_missing_checkpoint_is_one_sentence_and_exit_2(start, tmp_path):
    assert "nowhere" in refusal(start(checkpoints=tmp_path / "nowhere"))


@pytest.mark.parametrize("damage", ["flipped", "short", "no config"])
def test_a_damaged_checkpoint_is_one_sentence_and_exit_2(
    start, tmp_path, random_checkpoint, damage
):
    folder = shutil.copytree(random_checkpoint, tmp_path / "damaged")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "short":
        weights.write_bytes(content[: len(content) // 2])
    else:
        (folder / "config.json").unlink()
    sentence = refusal(start(checkpoints=folder))
    assert ("config.json" if damage == "no config" else "model.safetensors") in sentence


def test_a_bad_setting_is_one_sentence_and_exit_2(start):
    assert "VISAGE_DEADLINE is 'soon'" in refusal(start(deadline="soon"))
    assert "VISAGE_DEADLINE" in refusal(start(deadlin=3))


def test_a_taken_port_is_one_sentence_and_exit_2(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refusal(start(port=port))
