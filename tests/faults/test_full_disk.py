"""A full disk under a server: it writes nothing but its log, and can do without that."""

import io
import resource
import signal
import zipfile
from pathlib import Path

import pytest
from bare_server import SERVICE, bare_server
from tiny_checkpoints import write_tiny

pytestmark = pytest.mark.e2e


def nothing_may_be_written() -> None:
    """No file may grow by a single byte: what a full disk says, whichever disk it is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_server_on_a_full_disk_starts_serves_reloads_and_stops(tmp_path):
    folder = write_tiny(tmp_path / "tiny-16")
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        bare_server(
            *SERVICE,
            stdout=full,
            before=nothing_may_be_written,
            checkpoints=folder,
            engine="auto",
            access_log=True,
            admin_token="operator",
            cache_bytes=0,
        ) as (client, process),
    ):
        faces = [client.get("/v1/faces/7.png"), client.get("/image")]
        assert [face.status_code for face in faces] == [200, 200]
        many = client.post("/v1/faces", json={"count": 8})
        assert zipfile.ZipFile(io.BytesIO(many.content)).testzip() is None
        assert client.get("/v1/morph?from=1&to=2&frames=4").status_code == 200
        loaded = client.post(
            "/v1/admin/models/tiny-16/load", headers={"Authorization": "Bearer operator"}
        )
        assert loaded.status_code == 200, loaded.text
        assert client.get("/v1/faces/7.png").content == faces[0].content
        (lost,) = [
            float(line.split()[1])
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("visage_log_lines_lost_total ")
        ]
        assert lost >= 6
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, b"")
