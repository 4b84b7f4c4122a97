"""What the image holds, started as the image starts it: not as root, nothing but /tmp to write to.

No engine is needed: a mount namespace has a root of its own, with this machine's libraries. The
cheap test installs what the Dockerfile copies, beside the libraries of this environment; with
VISAGE_SLOW_TESTS=1 the Dockerfile's own RUNs make everything from nothing.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import ports
import pytest
from image_recipe import build_variables, copy, lineage

CHAIN = lineage("cpu")
IMAGE = CHAIN[-1]
USER, GROUP = IMAGE.all("USER")[-1].split(":")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"]).returncode != 0,
        reason="a read-only root file system needs a mount namespace: run the tests as root",
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may read, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="visage-image-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_it_serves_faces_with_only_what_is_copied(folder):
    source = folder / "src"
    copy(CHAIN[-2], source)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*install, "--target", folder / "site", "."], cwd=source, check=True, timeout=120
    )
    serves(folder, Path(sys.prefix), {"PYTHONPATH": "/site"})


@pytest.mark.skipif(
    os.environ.get("VISAGE_SLOW_TESTS") != "1",
    reason="installs torch into a new environment: set VISAGE_SLOW_TESTS=1",
)
@pytest.mark.timeout(900)
def test_the_commands_of_the_dockerfile_make_a_server(folder):
    source, venv = folder / "src", folder / "venv"
    source.mkdir()
    # Where no other index can be reached, the one that pip is set up with.
    index = os.environ.get("VISAGE_TORCH_INDEX", "")
    variables = build_variables(CHAIN[:-1], {"TORCH_INDEX": index})
    tools = folder / "tools"  # the image's own python and pip
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    environment = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
    environment |= {"PATH": f"{tools}/bin:/usr/bin:/bin", "HOME": str(folder)}
    for stage in CHAIN[:-1]:
        copy(stage, source)
        for command in stage.all("RUN"):
            subprocess.run(
                ["sh", "-euc", command.replace("/venv", str(venv))],
                cwd=source,
                env=variables | environment,
                check=True,
                timeout=600,
            )
    assert not (venv / "bin" / "pip").exists()
    size = sum(file.stat().st_size for file in venv.rglob("*") if file.is_file())
    print(f"the environment has {size / 2**20:.0f} MiB")
    serves(folder, venv, {})


def serves(folder: Path, venv: Path, more: Mapping[str, str]) -> None:
    """Start the image's entrypoint over what is in `folder`: health check and faces go well."""
    copy(IMAGE, folder)
    port = ports.free_port()
    environment = {
        name: value.replace("$PATH", "/usr/bin:/bin")
        for name, value in IMAGE.variables("ENV").items()
    }
    environment |= {**more, "VISAGE_HOST": "127.0.0.1", "VISAGE_PORT": str(port)}
    contained = _contained(folder, venv, IMAGE.last_list("ENTRYPOINT"))
    process = subprocess.Popen(contained, env=environment, stdout=subprocess.PIPE)
    try:
        assert _ready(process, port)
        assert os.statvfs(f"/proc/{process.pid}/root/").f_flag & os.ST_RDONLY
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        facts = {name: value.split() for name, _, value in (line.partition(":") for line in status)}
        assert set(facts["Uid"]) == {USER}
        assert {int(facts[f"Cap{which}"][0], 16) for which in ("Inh", "Prm", "Eff", "Bnd")} == {0}
        face = httpx.get(f"http://127.0.0.1:{port}/v1/faces/7.png")
        assert face.content.startswith(b"\x89PNG")
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        health = _contained(folder, venv, IMAGE.last_list("HEALTHCHECK"))
        assert subprocess.run(health, env=environment, timeout=60).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        done = subprocess.run(health, env=environment, timeout=60, capture_output=True, text=True)
        assert done.returncode != 0
        assert "Connection refused" in done.stderr
    finally:
        process.kill()
        process.communicate()


def _contained(folder: Path, venv: Path, command: list[str]) -> list[str]:
    """The command as the image's user, with no rights, where only an empty /tmp can be written.

    Its root has the system's programs and libraries, /venv, and what of `folder` the image has.
    """
    root = folder / "root"
    python = Path(sys.base_prefix)
    binds = {venv: "/venv", folder / "checkpoints": "/checkpoints", Path("/proc"): "/proc"}
    binds |= {Path("/dev"): "/dev", Path("/etc"): "/etc", Path("/usr"): "/usr"}
    if (folder / "site").exists():
        binds[folder / "site"] = "/site"
    if not python.is_relative_to("/usr"):
        binds[python] = str(python)
    script = [f"mkdir -p {root}", f"mount -t tmpfs -o mode=755 tmpfs {root}", f"mkdir {root}/tmp"]
    for name in ("bin", "lib", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            script.append(f"cp -P {path} {root}")
        elif path.exists():
            binds[path] = str(path)
    for source, target in binds.items():
        script.append(f"mkdir -p {root}{target} && mount --rbind {source} {root}{target}")
    rights = f"--reuid={USER} --regid={GROUP} --clear-groups"
    rights += " --bounding-set=-all --inh-caps=-all --no-new-privs"
    script += [
        f"mount -t tmpfs tmpfs {root}/tmp",
        f"mount -o remount,ro {root}",
        f"exec /usr/sbin/chroot {root} setpriv {rights} {shlex.join(command)}",
    ]
    return ["unshare", "--mount", "sh", "-euc", "\n".join(script)]


def _ready(process: subprocess.Popen, port: int) -> bool:
    give_up = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < give_up:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    return False
