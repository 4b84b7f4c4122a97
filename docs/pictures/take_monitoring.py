"""Take the pictures of docs/operations.md: `python docs/pictures/take_monitoring.py URL`.

URL is that of a Prometheus with the rules of deploy/prometheus, e.g. http://127.0.0.1:9090. Draws
the dashboard from it, and takes its own page of alerts in Chromium. Needs the `dev` extra.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
DRAW = HERE.parents[1] / "deploy" / "grafana" / "draw.py"
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --disable-background-networking"


def main(prometheus: str) -> None:
    drawn = HERE / "dashboard.webp"
    subprocess.run([sys.executable, DRAW, prometheus, drawn, "--minutes", "5"], check=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS.split()
        )
        page = browser.new_page(viewport={"width": 1120, "height": 760})
        page.goto(prometheus)
        page.get_by_role("link", name="Alerts").first.click()
        page.wait_for_load_state("networkidle")
        with Image.open(io.BytesIO(page.screenshot())) as shot:
            shot.convert("RGB").save(HERE / "prometheus-alerts.webp", quality=85, method=6)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
