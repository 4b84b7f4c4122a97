"""A run remembers what it was trained on, and a checkpoint says it."""

import re
from pathlib import Path

import pytest
import torch

from training.errors import ConfigError
from training.machines import MACHINES, machines_of, note_machine, this_machine


def test_one_machine_is_named_once(tmp_path: Path) -> None:
    assert machines_of(tmp_path) is None
    for seen in (0, 5_000, 9_000):
        note_machine(tmp_path, seen, "a GPU")
    assert machines_of(tmp_path) == "a GPU"


def test_a_run_that_was_moved_says_when(tmp_path: Path) -> None:
    note_machine(tmp_path, 0, "a GPU", processes=4)
    note_machine(tmp_path, 750_016, "2 cores of a processor")
    assert machines_of(tmp_path) == "4 × a GPU, 2 cores of a processor from 750.0 kimg on"


def test_a_run_that_was_set_back_forgets_what_came_later(tmp_path: Path) -> None:
    for seen, hardware in ((0, "a GPU"), (20_000, "another"), (10_000, "a GPU")):
        note_machine(tmp_path, seen, hardware)
    assert machines_of(tmp_path) == "a GPU"


def test_of_a_run_older_than_the_notes_the_beginning_stays_open(tmp_path: Path) -> None:
    note_machine(tmp_path, 8_000, "a GPU")
    assert machines_of(tmp_path) == "a GPU from 8.0 kimg on"


@pytest.mark.parametrize("text", ["{", "[1]", '[{"hardware": "x"}]', '[{"images_seen": "soon"}]'])
def test_damaged_notes_are_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / MACHINES).write_text(text)
    wanted = re.escape(str(tmp_path / MACHINES)) + ".*restore it, or delete it"
    with pytest.raises(ConfigError, match=wanted):
        machines_of(tmp_path)
    with pytest.raises(ConfigError, match=wanted):
        note_machine(tmp_path, 0, "a GPU")


def test_this_machine_has_cores_of_some_processor() -> None:
    assert re.fullmatch(r"\d+ cores of .+", this_machine(torch.device("cpu")))
