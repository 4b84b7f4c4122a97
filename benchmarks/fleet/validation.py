"""Simulated beside measured, case by case: `python -m benchmarks.fleet.validation`.

The same traces went to real servers (`measure`). All that is fitted is what one request at a time
takes beside the engine.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.fleet.cases import CALIBRATED_SECONDS, CASES, DEADLINE, SECONDS, Case
from benchmarks.fleet.replica import Costs, Settings
from benchmarks.fleet.simulation import simulate, summary

MEASURED = Path(__file__).with_name("measured.json")
FIGURES = ("goodput", "p50", "p99", "hit_rate", "refused")


def settings_of(case: Case, calibration: dict[str, float]) -> Settings:
    """The replica of a case, with the costs that were measured one request at a time."""
    kind, seconds, tile = case.engine.split(":")
    fixed, each = (0.0, float(seconds)) if kind == "each" else (float(seconds), 0.0)
    costs = Costs(
        here=calibration["here"],
        shared=calibration["shared"],
        made=calibration["made"] - CALIBRATED_SECONDS,
    )
    return Settings(fixed, each, int(tile), deadline=DEADLINE, costs=costs)


def measured_summary(rows: list[dict], due: np.ndarray) -> dict[str, float]:
    """The same figures of what real servers answered."""
    status = np.array([row["status"] for row in rows])
    seconds = np.array([row["seconds"] for row in rows])
    found = np.array([row["cache"] in ("hit", "coalesced") for row in rows])
    good = status == 200
    return {
        "goodput": float((good & (due + seconds <= SECONDS)).sum() / SECONDS),
        "p50": float(np.quantile(seconds[good], 0.5)),
        "p99": float(np.quantile(seconds[good], 0.99)),
        "hit_rate": float((good & found).sum() / good.sum()),
        "refused": float((status == 503).mean()),
        "expired": float((status == 504).mean()),
    }


def compare(measured: dict) -> list[tuple[Case, dict[str, float], dict[str, float]]]:
    """Each case with its measured and its simulated figures."""
    cases = {case.name: case for case in CASES}
    rows = []
    for entry in measured["cases"]:
        case = cases[entry["name"]]
        trace = case.trace(entry["seed"])
        outcome = simulate(
            trace,
            settings_of(case, measured["calibration"]),
            case.replicas,
            duration=SECONDS + DEADLINE,
            shared_faces=10**6,
        )
        outcome.duration = SECONDS
        real = entry.get("summary") or measured_summary(entry["rows"], trace.seconds)
        rows.append((case, real, summary(outcome)))
    return rows


def table(rows: list[tuple[Case, dict[str, float], dict[str, float]]]) -> str:
    """Markdown: measured, simulated and the relative error of each figure."""
    lines = [
        "| engine, replicas, requests/s, new | goodput/s | p50, ms | p99, ms | hits | refused |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case, real, simulated in rows:
        kind, seconds, tile = case.engine.split(":")
        engine = f"{float(seconds) * 1e3:.0f} ms {'each' if kind == 'each' else f'for {tile}'}"
        cells = [f"{engine}, {case.replicas}, {case.rate:g}, {case.new_share:.0%}"]
        for name in FIGURES:
            a, b = real[name], simulated[name]
            if name in ("hit_rate", "refused"):
                cells.append(f"{a:.1%}, {b:.1%}")
            else:
                scale = 1e3 if name in ("p50", "p99") else 1
                digits = 0 if name != "goodput" else 1
                error = f"{b / a - 1:+.0%}" if a else "–"
                cells.append(f"{a * scale:.{digits}f}, {b * scale:.{digits}f} ({error})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and the largest errors; `--condense` keeps only the measured figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--condense", type=Path, help="write the measured figures there")
    options = parser.parse_args()
    measured = json.loads(options.measured.read_text(encoding="utf-8"))
    rows = compare(measured)
    print(table(rows))
    for name in ("goodput", "p50", "p99"):
        errors = [abs(simulated[name] / real[name] - 1) for _, real, simulated in rows]
        print(f"{name}: median error {np.median(errors):.1%}, largest {max(errors):.1%}")
    if options.condense:
        for entry, (_, real, _) in zip(measured["cases"], rows, strict=True):
            entry.pop("rows", None)
            entry["summary"] = real
        options.condense.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
