"""The alert rules of deploy/prometheus as a PrometheusRule: python -m deploy.kubernetes.rules

Prints it, for `kubectl apply -f -`; there is one place where rules are written.
"""

import sys
from pathlib import Path

import yaml

RULES = Path(__file__).resolve().parents[1] / "prometheus" / "rules"


def prometheus_rule(folder: Path) -> dict[str, object]:
    """Every group of the rule files in `folder`. FileNotFoundError where there is none."""
    files = sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")])
    if not files:
        raise FileNotFoundError(f"there is no rule file in {folder}")
    groups = [
        group
        for file in files
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "visage", "labels": {"app.kubernetes.io/name": "visage"}},
        "spec": {"groups": groups},
    }


if __name__ == "__main__":
    yaml.safe_dump(prometheus_rule(RULES), sys.stdout, sort_keys=False)
