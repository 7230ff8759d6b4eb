"""The table of docs/sweep.md: `python scripts/sweep_table.py sweep.csv`, a line for each memory cap."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

GIB = 2.0**30


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def table(rows: Sequence[dict[str, str]]) -> str:
    """Makespan and bound of every choice of microbatches and copies, and the best baseline that fits, in seconds."""
    kinds = list(dict.fromkeys((int(row["microbatches"]), int(row["copies"])) for row in rows))
    many = list(dict.fromkeys(microbatches for microbatches, _ in kinds))
    cells = {(float(r["memory_cap"]), int(r["microbatches"]), int(r["copies"])): r for r in rows}
    heads = ["cap, GiB"]
    for m in many:
        heads += [f"{m} microbatches, {k} cop{'y' if k == 1 else 'ies'}" for n, k in kinds if n == m]
        heads.append(f"best baseline, {m}")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for cap in sorted({cap for cap, _, _ in cells}):
        line = [f"{cap / GIB:g}"]
        for m in many:
            of = [cells[cap, n, k] for n, k in kinds if n == m]
            line += [_plan(row) for row in of]
            line.append(_baseline(of[-1]))
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines) + "\n"


def _plan(row: dict[str, str]) -> str:
    if not row["makespan"]:
        return row["status"]
    return f"{float(row['makespan']):.3f} (bound {float(row['lower_bound']):.3f})"


def _baseline(row: dict[str, str]) -> str:
    return f"{float(row['best_baseline_makespan']):.3f} {row['best_baseline']}" if row["best_baseline"] else "none fits"


if __name__ == "__main__":
    sys.stdout.write(table(read(Path(sys.argv[1]))))
