"""The recipes of deploy/training: what they start is what torchrun and `training train` know.

No cluster runs here: the Slurm script runs on stand-ins for Slurm's commands, which keep what they
were told.
"""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import kubernetes_validate
import pytest
import typer
import yaml
from torch.distributed.run import get_args_parser

from training.__main__ import app

RECIPES = Path(__file__).resolve().parents[2] / "deploy" / "training"


def understood(command: list[str]) -> tuple[object, dict[str, object]]:
    """What torchrun and then `training train` read from a command line; either may refuse it."""
    assert command[0] == "torchrun"
    launcher = get_args_parser().parse_args(command[1:])
    script = [launcher.training_script, *launcher.training_script_args]
    module, subcommand, *arguments = script[script[0] == "--" :]
    assert (launcher.module, module, subcommand) == (True, "training", "train")
    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    return launcher, train.make_context("train", arguments).params


def manifests() -> dict[str, dict]:
    text = (RECIPES / "kubernetes.yaml").read_text(encoding="utf-8")
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


@pytest.mark.parametrize("kind", ["Service", "Job"])
def test_kubernetes_knows_the_manifest(kind: str) -> None:
    kubernetes_validate.validate(manifests()[kind], "1.31", strict=True)


def test_pods_find_each_other_and_one_run() -> None:
    job, service = manifests()["Job"]["spec"], manifests()["Service"]
    pod = job["template"]["spec"]
    container = pod["containers"][0]
    launcher, train = understood(container["command"])
    assert launcher.nnodes == str(job["completions"]) == str(job["parallelism"])
    assert launcher.nproc_per_node == str(container["resources"]["requests"]["nvidia.com/gpu"])
    port = service["spec"]["ports"][0]["port"]
    first = f"{manifests()['Job']['metadata']['name']}-0.{service['metadata']['name']}"
    assert launcher.rdzv_endpoint == f"{first}:{port}"
    assert pod["subdomain"] == service["metadata"]["name"]
    labels = job["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert train["resume_if_any"] is True
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert all(str(train[name]).startswith("/data/") for name in ("data", "run"))
    assert "/data" in mounts
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in container["env"]
    assert pod["terminationGracePeriodSeconds"] > launcher.shutdown_timeout


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment as Slurm makes it, with stand-ins that note how they were called."""
    stand_ins = {
        "scontrol": 'case "$1" in show) echo node-7; echo node-8;; *) echo "$@" >> "$NOTES";; esac',
        "srun": 'echo "$TORCH_DISABLE_SHARE_RDZV_TCP_STORE" "$@" >> "$NOTES"\n'
        'trap "exit 1" TERM; [ -z "${BUSY:-}" ] || while :; do sleep 0.01; done',
        "scancel": 'echo scancel "$@" >> "$NOTES"; kill -TERM "$(cat "$NOTES.srun")"',
    }
    for name, body in stand_ins.items():
        file = tmp_path / name
        note = 'echo $$ > "$NOTES.srun"\n' if name == "srun" else ""
        file.write_text(f"#!/bin/bash\n{note}{body}\n")
        file.chmod(0o755)
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "NOTES": str(tmp_path / "notes"),
        "SLURM_JOB_NODELIST": "node-[7-8]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_JOB_ID": "42",
        "DATA": "/shared/a b.zip",
        "RUN": "/shared/run",
    }


def submit(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["bash", str(RECIPES / "slurm.sbatch"), *arguments],
        env=environment,
        stderr=subprocess.PIPE,
    )


def notes(environment: dict[str, str]) -> list[str]:
    path = Path(environment["NOTES"])
    return path.read_text().splitlines() if path.exists() else []


def test_slurm_starts_one_torchrun_on_every_machine(slurm: dict[str, str]) -> None:
    job = submit(slurm, "--kimg", "3000")
    assert job.communicate(timeout=20) == (None, b"")
    assert job.returncode == 0
    share, kill, *command = notes(slurm)[0].replace("a b", "a-b").split()
    assert (share, kill) == ("1", "--kill-on-bad-exit=1")
    launcher, train = understood(command)
    assert (launcher.nnodes, launcher.nproc_per_node) == ("2", "8")
    assert launcher.rdzv_endpoint == "node-7:20042"
    assert (str(train["data"]), train["kimg"]) == ("/shared/a-b.zip", 3000)
    assert train["resume_if_any"] is True


def test_slurm_runs_out_of_time_and_queues_itself_again(slurm: dict[str, str]) -> None:
    job = submit(slurm | {"BUSY": "1"})
    give_up = time.monotonic() + 20
    while not notes(slurm):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=20)
    assert notes(slurm)[1:] == ["scancel --signal=TERM 42.0", "requeue 42"]


def test_slurm_says_what_it_was_not_told(slurm: dict[str, str]) -> None:
    job = submit({name: value for name, value in slurm.items() if name != "DATA"})
    assert b"name the dataset archive" in job.communicate(timeout=20)[1]
    assert job.returncode != 0


def test_the_image_has_what_training_needs() -> None:
    lines = (RECIPES / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    installs = [shlex.split(line)[1:] for line in lines if line.startswith("RUN pip install")]
    assert installs[-1] == ["pip", "install", "-c", "constraints.txt", ".[train]"]
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert {"training", "models", "service", "constraints.txt", "pyproject.toml"} <= copied
