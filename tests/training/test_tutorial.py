"""The tutorial's code runs, its claims hold, and its picture is the one that this code draws."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_tutorial_s_code_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / "tutorial-vxy.md").read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python") > 3
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        # Lines are counted as in the document, so that a failure points there.
        lines_before = text[: block.start(1)].count("\n")
        exec(compile("\n" * lines_before + block[1], "docs/tutorial-vxy.md", "exec"), names)
    with Image.open("tutorial-vxy.png") as drawn, Image.open(DOCS / "tutorial-vxy.png") as shown:
        assert drawn.size == shown.size
        difference = np.asarray(drawn.convert("L"), float) - np.asarray(shown.convert("L"), float)
    assert np.abs(difference).mean() < 3, "draw docs/tutorial-vxy.png anew: its code has changed"
