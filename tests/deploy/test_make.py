"""The two commands on machines unlike this one: what they need is installed, or named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import find_browser
import pytest
from running_server import REPOSITORY

PATH = os.environ["PATH"].split(os.pathsep)


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    names = ("VISAGE_", "MAKE", "HOST", "PORT")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    return subprocess.run(
        ["make", *arguments],
        cwd=REPOSITORY,
        env=clean | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, "VISAGE_HOST=127.0.0.1 VISAGE_PORT=8000"),
        ([], {"VISAGE_PORT": "9000", "VISAGE_HOST": "::"}, "VISAGE_HOST=:: VISAGE_PORT=9000"),
        (["PORT=9001"], {"VISAGE_PORT": "9000"}, "VISAGE_HOST=127.0.0.1 VISAGE_PORT=9001"),
        ([], {"HOST": "x86_64-conda", "PORT": "1"}, "VISAGE_HOST=127.0.0.1 VISAGE_PORT=8000"),
    ],
)
def test_serve_listens_where_the_settings_say(arguments, environment, expected):
    assert expected in make("-n", "serve", *arguments, **environment).stdout


def test_without_a_gpu_torch_comes_without_cuda(tmp_path):
    """On Linux the usual build brings 3 GB of it along."""
    target = f"{tmp_path}/venv/.torch"
    cpu = "--no-deps --extra-index-url https://download.pytorch.org/whl/cpu 'torch=="
    bare = {"PATH": os.pathsep.join(p for p in PATH if not (Path(p) / "nvidia-smi").exists())}
    assert cpu in make("-n", f"VENV={tmp_path}/venv", target, **bare).stdout
    (tmp_path / "nvidia-smi").touch(0o755)
    with_gpu = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for said in (
        make("-n", f"VENV={tmp_path}/venv", target, **with_gpu).stdout,
        make("-n", f"VENV={tmp_path}/venv", "TORCH_INDEX=", target, **bare).stdout,
    ):
        assert "install --quiet --disable-pip-version-check  'torch==" in said


def test_a_python_without_venv_is_told_apart_and_the_package_named(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "make", "id"):
        (programs / name).symlink_to(shutil.which(name))
    python = programs / "python"
    asked = 'case "$*" in *ensurepip*) exit 1;; esac'
    python.write_text(f'#!/bin/sh\n{asked}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    target = f"{tmp_path}/venv/.torch"
    made = make(f"PYTHON={python}", f"VENV={tmp_path}/venv", "SHELL=sh", target, PATH=str(programs))
    assert made.returncode == 2
    assert "install the package python3." in made.stderr
    assert not (tmp_path / "venv").exists()


def test_a_browser_from_a_snap_will_not_do(tmp_path, monkeypatch):
    script = tmp_path / "chromium-browser"
    script.write_text('#!/bin/sh\nexec /snap/bin/chromium "$@"\n')
    (tmp_path / "snap").mkdir()
    linked = tmp_path / "snap" / "chromium"
    linked.write_bytes(b"\x7fELF")
    (tmp_path / "chromium").symlink_to(linked)
    chrome = tmp_path / "google-chrome"
    chrome.write_bytes(b"\x7fELF")
    for path in (script, linked, chrome):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser.find_browser() == str(chrome)


SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="needs a CUDA device")
def test_gpu(): pass

def test_extra(): pytest.importorskip("no_such_package")

@pytest.mark.xfail(strict=True)
def test_expected(): assert False
"""


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    strange = ("VISAGE_", "PYTEST_", "TESTS_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(strange)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:cacheprovider", "test_some.py"],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(REPOSITORY / "tests")} | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("environment", "counts"),
    [({}, "2 skipped, 1 xfailed"), ({"TESTS_NO_SKIPS": "1"}, "1 failed, 1 skipped, 1 xfailed")],
)
def test_a_skip_that_nothing_excuses_fails_where_none_may_be(tmp_path, environment, counts):
    (tmp_path / "test_some.py").write_text(SKIPPED)
    told = run_pytest(tmp_path, **environment)
    assert counts in told.stdout
    assert ("tests/skips.py has no excuse" in told.stdout) == bool(environment)


def test_a_file_of_tests_may_not_be_skipped_for_want_of_a_package(tmp_path):
    (tmp_path / "test_some.py").write_text("import pytest; pytest.importorskip('no_such_package')")
    told = run_pytest(tmp_path, TESTS_NO_SKIPS="1")
    assert "no_such_package" in told.stdout
    assert told.returncode == pytest.ExitCode.INTERRUPTED
