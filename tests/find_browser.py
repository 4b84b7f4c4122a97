"""Prints the browser that the page is tested in: Debian's Chromium, Chrome, or Playwright's own.

Not one from a snap, which cannot save where tests look. Exit code 1 where there is none.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")


def find_browser() -> str | None:
    """Its path, or None."""
    for name in NAMES:
        found = shutil.which(name)
        if found and not _of_a_snap(Path(found)):
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def _of_a_snap(program: Path) -> bool:
    """One itself, or a script that starts one, as Ubuntu's package has it."""
    if "snap" in program.resolve().parts:
        return True
    with program.open("rb") as file:
        start = file.read(4096)
    return start.startswith(b"#!") and b"/snap/bin" in start


if __name__ == "__main__":
    browser = find_browser()
    if browser is None:
        sys.exit(1)
    print(browser)
