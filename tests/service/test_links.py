"""Links between the documents lead somewhere: to a file that there is, and to a heading in it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("benchmarks", "deploy", "docs", "models", "service", "tests", "training")
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for paths in (ROOT.glob("*.md"), *(ROOT.joinpath(name).rglob("*.md") for name in FOLDERS))
    for path in paths
)


def prose(text: str) -> str:
    """Without blocks of code, where brackets are no links and # no heading."""
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Of its headings, as GitHub names them; the second of the same name is name-1."""
    found: dict[str, int] = {}
    names = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def dead_links(document: Path) -> list[str]:
    text = prose(document.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)
    targets += re.findall(r"^\[[^\]]+\]: +(\S+)", text, re.MULTILINE)
    targets += re.findall(r"<(?:img|a|source)[^>]*? (?:src|href|srcset)=\"([^\"]+)\"", text)
    dead = []
    for target in targets:
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = document.parent / path if path else document
        whole = file.suffix != ".md" or not anchor or not file.is_file()
        if not file.exists() or not (whole or anchor in anchors(file.read_text("utf-8"))):
            dead.append(target)
    return dead


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_links_lead_somewhere(document):
    assert dead_links(ROOT / document) == []


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# What `it` is, *now*\n## Twice\n## Twice\n", "utf-8")
    good = "[a](other.md) [b](other.md#what-it-is-now) [c](#here) [d](other.md#twice-1) `[e](no)`"
    bad = "[f](gone.md) ![g](gone.png) [h](other.md#gone) [i](#gone) [j](https://example.org/gone)"
    document = tmp_path / "document.md"
    document.write_text(f"# Here\n{good}\n{bad}\n```sh\n# Gone\n[k](gone)\n```\n", "utf-8")
    assert dead_links(document) == ["gone.md", "gone.png", "other.md#gone", "#gone"]
