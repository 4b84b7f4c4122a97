"""The Dockerfile and docker-compose.yml, read: no engine is needed, and nothing is built."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from image_recipe import context, copied, lineage, stages
from running_server import REPOSITORY

from service.settings import Settings

PINNED = re.compile(r".+:[\w.]*\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}$")
IMAGE = stages()[-1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROGRAMS = Path(sys.executable).parent


def composed(*profiles: str) -> dict:
    """docker-compose.yml as Compose itself understands it."""
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    done = subprocess.run(
        [
            PROGRAMS / "docker-compose",
            "-f",
            "docker-compose.yml",
            *chosen,
            "config",
            "--format=json",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)["services"]


def test_hadolint_finds_nothing():
    done = subprocess.run(
        [PROGRAMS / "hadolint", REPOSITORY / "Dockerfile"], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_a_variant_is_built_from_one_pinned_image(variant):
    chain = lineage(variant)
    assert [stage.name for stage in chain] == ["base", f"torch-{variant}", "build", ""]
    assert chain[0].base == IMAGE.base
    assert PINNED.match(IMAGE.base)
    installs = [r for stage in chain for r in stage.all("RUN") if " install " in r]
    assert ['"torch==${TORCH_VERSION}"' in install for install in installs] == [True, False]
    assert all("-c constraints.txt" in install for install in installs)


@pytest.mark.parametrize("recipe", ["Dockerfile", "deploy/ray/Dockerfile"])
def test_what_is_installed_is_where_the_service_is(recipe):
    made = stages(recipe)
    installs = [r for stage in made for r in stage.all("RUN") if "pip" in r and " install " in r]
    assert installs
    # The environment has no pip, so that a bare one is the system's and fills the system's Python.
    assert all(command.startswith("pip --python /venv/bin/python install ") for command in installs)
    assert IMAGE.variables("ENV")["PATH"].startswith("/venv/bin:")
    assert recipe == "Dockerfile" or "PATH" not in made[-1].variables("ENV")


def test_the_image_with_ray_is_made_of_the_image_and_nobody_in_it_is_root():
    (ray,) = stages("deploy/ray/Dockerfile")
    assert ray.base == "${BASE}"
    recipe = (REPOSITORY / "deploy/ray/Dockerfile").read_text(encoding="utf-8")
    assert f"ARG BASE=visage:{PROJECT['version']}\n" in recipe
    assert ray.all("USER")[-1] == IMAGE.all("USER")[-1]


def test_torch_is_the_version_of_make():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert f"TORCH ?= torch=={stages()[0].variables('ARG')['TORCH_VERSION']}\n" in makefile


@pytest.mark.parametrize(
    "source", [s for stage in stages() for sources, _ in stage.copies() for s in sources]
)
def test_what_is_copied_is_in_the_context(source):
    assert copied(source)


def test_the_context_is_what_is_copied_and_small():
    wanted = {
        f for stage in stages() for sources, _ in stage.copies() for s in sources for f in copied(s)
    }
    assert set(context()) == wanted
    # Two checkpoints with their critics are most of it.
    assert sum((REPOSITORY / file).stat().st_size for file in wanted) < 3 * 2**24


def test_nobody_in_the_image_is_root():
    user, _, group = IMAGE.all("USER")[-1].partition(":")
    assert int(user) > 1000
    assert int(group) > 1000
    assert IMAGE.steps.index(("USER", f"{user}:{group}")) > max(
        n for n, (keyword, _) in enumerate(IMAGE.steps) if keyword in ("RUN", "COPY")
    )


def test_labels_say_what_it_is_and_under_which_licences():
    prefix = "org.opencontainers.image."
    labels = {k.removeprefix(prefix): v for k, v in IMAGE.variables("LABEL").items()}
    assert labels.keys() >= {"title", "description", "source", "version", "revision", "base.name"}
    assert labels["licenses"].startswith(f"{PROJECT['license']} AND LicenseRef-")
    assert PROJECT["urls"]["Documentation"] == labels["documentation"]
    assert IMAGE.variables("ARG")["VERSION"] == PROJECT["version"]
    assert IMAGE.base.startswith(labels["base.name"].removeprefix("docker.io/library/"))


def test_its_settings_are_settings():
    names = {k for k in IMAGE.variables("ENV") if k.startswith("VISAGE_")}
    names |= {k for s in composed("gpu").values() for k in s.get("environment", {})}
    names -= {"VISAGE_DASHBOARDS", "PROMETHEUS_URL"}  # of Grafana
    ours = {name for name in names if name.startswith("VISAGE_")}
    assert ours
    assert {name.removeprefix("VISAGE_").lower() for name in ours} <= Settings.model_fields.keys()


def test_every_image_of_the_composition_is_pinned_or_built_here():
    for service in composed("gpu").values():
        if "build" in service:
            assert service["image"].startswith(f"visage:{PROJECT['version']}")
        else:
            assert PINNED.match(service["image"])


def test_nobody_in_the_composition_may_more_than_needed():
    services = composed("gpu")
    assert services.keys() == {"visage", "visage-gpu", "redis", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert services["redis"]["networks"].keys() == {"cache"}
    for name in ("prometheus", "grafana"):  # no passwords there: for this machine only
        assert {port["host_ip"] for port in services[name]["ports"]} == {"127.0.0.1"}


def test_the_gpu_is_a_profile():
    assert "visage-gpu" not in composed()
    service = composed("gpu")["visage-gpu"]
    assert service["build"]["args"]["VARIANT"] == "cuda"
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert service["networks"]["front"]["aliases"] == ["visage"]


def test_what_is_mounted_is_there_and_cannot_be_written():
    binds = [
        (name, volume)
        for name, service in composed("gpu").items()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert binds
    for name, volume in binds:
        assert Path(volume["source"]).exists(), name
        assert volume["read_only"], name
