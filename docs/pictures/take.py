"""Take the README's pictures of the page: `python docs/pictures/take.py http://127.0.0.1:8000`.

Needs a running server, Chromium and the `dev` extra. Every face on them is machine-made. The sheet
of samples is the shipped checkpoint's, reduced.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "models" / "checkpoints" / "faces-128" / "samples.png"


def take(browser: Browser, url: str, name: str, **context: object) -> None:
    """One picture of the page at `url`, written beside this file as `name`.webp."""
    page = browser.new_page(**context)  # type: ignore[arg-type]
    page.goto(url)
    expect(page.locator("#grid .face").first).to_be_attached()
    page.wait_for_load_state("networkidle")  # what is not in view is not asked for
    page.wait_for_timeout(500)  # until nothing fades any more
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(HERE / f"{name}.webp", quality=88, method=6)


def main(server: str) -> None:
    with Image.open(SAMPLES) as sheet:
        small = sheet.convert("RGB").resize((1024, 1024), Image.Resampling.LANCZOS)
        small.save(HERE / "samples.webp", quality=85, method=6)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox"]
        )
        kept = "#kept=16,55,63,8,34,28,51"
        desktop, phone = {"width": 1120, "height": 1050}, {"width": 390, "height": 844}
        take(browser, f"{server}/?seed=69{kept}", "page-desktop", viewport=desktop)
        take(browser, f"{server}/?seed=8{kept}", "page-phone", viewport=phone, color_scheme="dark")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
