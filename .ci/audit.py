"""Known vulnerabilities of the pinned dependencies, by pip-audit; part of `make lint`.

What could not be looked up is said, and never counts as good: without a network, or with an index
that keeps no advisories, nothing is known. `--strict` fails then, for a machine that must know.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PINS = Path(__file__).parent.parent / "constraints.txt"


def main() -> int:
    pins = [line for line in PINS.read_text().splitlines() if line and not line.startswith("#")]
    # One look-up says whether there is anybody to ask.
    found = audit(pins[:1])
    if found and "skip_reason" not in found[0]:
        found = audit(pins)
    checked = [one for one in found or () if "skip_reason" not in one]
    for one in checked:
        for flaw in one["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no release yet"
            print(f"audit: {one['name']} {one['version']}: {flaw['id']}, fixed in {fixed}")
    flawed = sum(bool(one["vulns"]) for one in checked)
    if not checked:
        print(f"audit: NOT DONE: no advisories can be had here for the {len(pins)} dependencies")
    else:
        print(f"audit: {len(checked)} of {len(pins)} dependencies looked up, {flawed} vulnerable")
    strict = "--strict" in sys.argv
    return 1 if flawed else 2 if strict and len(checked) < len(pins) else 0


def audit(pins: list[str]) -> list[dict[str, object]] | None:
    """What pip-audit says of each; None where it could not ask."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "-r", file.name, "--no-deps", "--disable-pip"]
        command += ["--format=json", "--progress-spinner=off", "--timeout=10"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None


if __name__ == "__main__":
    sys.exit(main())
