"""Golden plans: hashes of the plans that the search finds for a fixed seed and a fixed effort.

    python scripts/golden.py             # compares with tests/data/golden.json, case by case
    python scripts/golden.py --long      # the same with ten times the effort; too slow for make test
    python scripts/golden.py --write     # writes the current hashes

A change of the structure must not change a hash. A change of the search may: compare the makespans before and after,
and write the new hashes with --write.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "tests" / "data" / "golden.json"

IGNORED = ("notes", "solve_seconds", "planner_version", "options", "baselines", "graph", "cluster")
"""Fields of a plan that the hash leaves out: words, clock times and inputs."""


@dataclass(frozen=True)
class Case:
    """A config of ``configs/``, the flags of ``planner solve``, and the effort."""

    name: str
    config: str
    effort: int
    flags: tuple[str, ...] = ()


CASES = (
    Case("units, two copies", "dualpipe-8x20", 3_000, ("--copies", "2")),
    Case("units, seven activations", "dualpipe-8x20", 1_500, ("--copies", "2", "--memory-cap", "9")),
    Case("units, one copy", "dualpipe-4x8", 3_000),
    Case("many microbatches", "dualpipe-8x20", 2_000, ("--microbatches", "2000", "--copies", "2")),
    Case("fixed layout", "deepseek-v3-units", 100, ("--layout", "vshape")),
    Case("unequal stages", "pipedream-vgg16", 1_000),
    Case("DeepSeek in units", "deepseek-v3-units", 400, ("--copies", "2")),
    Case("DeepSeek in units, 6 microbatches", "deepseek-v3-units", 9_000, ("--copies", "2", "--microbatches", "6")),
    Case("DeepSeek in bytes", "deepseek-v3-h800", 100, ("--memory-cap", "73355935744", "--microbatches", "8")),
    Case("multimodal", "multimodal", 100),
    Case("mixed cluster", "mixed-cluster", 1_000),
    Case("mixed cluster, operators profiled", "sailor-opt350", 600),
    Case("period", "msr-bert24", 30, ("--objective", "period")),
    Case("memory", "dualpipe-4x8", 6_000, ("--objective", "memory", "--max-makespan", "32")),
    Case("utilization", "mixed-cluster", 300, ("--objective", "utilization", "--max-makespan", "4")),
)


def golden(case: Case, times: int = 1) -> dict[str, Any]:
    """Hash and figures of the plan that the command line writes, with ``times`` the effort."""
    from planner.__main__ import main

    config = ROOT / "configs" / case.config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        inputs = [str(config / "graph.yaml"), str(config / "cluster.yaml")]
        flags = [*case.flags, "--effort", str(times * case.effort), "--baselines", "none", "--quiet", "-o", str(path)]
        code = main(["solve", *inputs, *flags])
        plan = json.loads(path.read_text())
    kept = {key: value for key, value in plan.items() if key not in IGNORED}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return {
        "code": code,
        "makespan": plan["makespan"],
        "lower_bound": plan["lower_bound"],
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def main() -> int:
    """Compare or write the hashes of all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="ten times the effort")
    parser.add_argument("--write", action="store_true", help="write the hashes")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the file of the hashes")
    given = parser.parse_args()
    kept = json.loads(given.kept.read_text()) if given.kept.exists() else {}
    part = "long" if given.long else "short"
    now: dict[str, Any] = {}
    for case in CASES:
        begun = time.monotonic()
        sys.stdout = sys.stderr  # the command prints its line to stdout
        now[case.name] = golden(case, 10 if given.long else 1)
        sys.stdout = sys.__stdout__
        same = kept.get(part, {}).get(case.name) == now[case.name]
        print(f"{case.name:40} {time.monotonic() - begun:6.1f} s  {'the same' if same else now[case.name]}", flush=True)
    changed = [name for name, found in now.items() if kept.get(part, {}).get(name) != found]
    if given.write:
        given.kept.write_text(json.dumps({**kept, part: now}, indent=1) + "\n")
        return 0
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
