"""A checkpoint's folder goes, or is replaced by half, under a server that serves it under load."""

import asyncio
import shutil

import pytest
import torch
from running_server import server_factory
from tiny_checkpoints import write_slow, write_tiny
from traffic import Tally, closed_loop, connected, new_faces

pytestmark = pytest.mark.e2e


async def test_it_serves_on_and_refuses_what_is_not_whole(tmp_path):
    folder = write_tiny(tmp_path / "tiny-16")
    other = write_slow(tmp_path / "other")
    whole = shutil.copytree(folder, tmp_path / "whole")
    tally, stopping = Tally(), False

    def targets():
        for target in new_faces("load"):
            if stopping:
                return
            yield target

    async def served_on() -> set[str]:
        """The models that made the next faces."""
        first = len(tally.answers)
        while len(tally.answers) < first + 20:
            assert not tally.lost
            await asyncio.sleep(0.01)
        return {answer.headers["x-model"] for answer in tally.answers[first + 4 :]}

    async def reload() -> tuple[int, str]:
        async with connected(server.url) as connection:
            answer = await connection.ask(
                "/v1/admin/models/tiny-16/load", method="POST", authorization="Bearer operator"
            )
        return answer.status, answer.body.decode()

    with server_factory(tmp_path, folder) as start:
        server = start(engine="torch", tile=2, admin_token="operator").wait_ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(closed_loop(server.url, targets(), clients=4, tally=tally))
            model = await served_on()

            shutil.rmtree(folder)
            status, reason = await reload()
            assert (status, "tiny-16 does not exist" in reason) == (422, True), reason
            assert await served_on() == model

            # New weights have arrived, all else is still of the old one.
            shutil.copytree(whole, folder)
            shutil.copy(other / "model.safetensors", folder)
            status, reason = await reload()
            assert (status, "model.safetensors is not the file" in reason) == (422, True), reason
            assert "The old one goes on." in reason
            assert await served_on() == model

            # Everything but the last part, cut off in place.
            with (folder / "model.safetensors").open("r+b") as file:
                file.truncate(100)
            (folder / "config.json").unlink()
            status, reason = await reload()
            assert (status, "config.json is missing" in reason) == (422, True), reason
            assert await served_on() == model

            shutil.rmtree(folder)
            torch.manual_seed(1)
            write_slow(folder)
            assert (await reload())[0] == 200
            assert await served_on() != model
            stopping = True
        assert server.stop() == 0
    assert tally.lost == []
    assert set(tally.statuses) == {200}
