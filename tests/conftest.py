"""Makes the packages and the shared fakes importable, whichever way pytest is started; a Valkey."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from running_valkey import RunningValkey

TESTS = Path(__file__).resolve().parent

for folder in (TESTS, TESTS.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest_plugins = ["skips"]

with suppress(ImportError):  # most tests of training do without
    from hypothesis import settings

    # A busy machine is no counterexample.
    settings.register_profile("visage", deadline=None)
    settings.load_profile("visage")

# Servers on this machine are asked without a proxy, whatever the environment says.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost,::1")))
for name in ("ALL_PROXY", "all_proxy"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def valkey_process() -> Iterator["RunningValkey"]:
    """One real server for the whole session, started by whoever needs it first."""
    from running_valkey import RunningValkey  # tests of training run where no Redis client is

    valkey = RunningValkey()
    yield valkey
    valkey.kill()


@pytest.fixture
def valkey(valkey_process: "RunningValkey") -> "RunningValkey":
    """Running and empty, whatever the test before did to it."""
    valkey_process.start()
    valkey_process.inside.flushall()
    return valkey_process
