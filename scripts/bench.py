"""Plan the configs one after the other and print the results.

`python scripts/bench.py [--time-limit S] [--seed S] [--threads T] [--memory-of BASELINE] [--json FILE] [NAME...]`:
each config runs in a process of its own, with the flags after `# run:` in its graph.yaml. Two tables: the plans, then
every baseline beside its plan. `--memory-of dualpipe` plans each config once more, with that baseline's peak memory as
the cap of every device.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
BASELINE_COLUMNS = ("config", "baseline", "makespan s", "plan / it", "bubble", "plan / it", "peak GiB", "fits")
COLUMNS = ("config", "makespan s", "bound s", "gap", "bubble", "status", "seconds", "baseline / plan")


def flags_of(config: Path) -> list[str]:
    """The flags of the `# run:` line, after the two files."""
    for line in (config / "graph.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("# run: "):
            return [word for word in shlex.split(line[len("# run: ") :])[2:] if not word.endswith(".yaml")]
    raise SystemExit(f"{config}/graph.yaml has no line '# run: planner solve ...'")


def solve(config: Path, extra: list[str], timeout: float) -> dict[str, Any]:
    """The figures of one run; only `error` if there is no plan."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        command = [str(Path(sys.executable).with_name("planner")), "solve"]
        command += [str(config / "graph.yaml"), str(config / "cluster.yaml"), *flags_of(config), *extra]
        started = time.perf_counter()
        try:
            run = subprocess.run(
                [*command, "--quiet", "-o", str(out)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"still running after {timeout:g} s"}
        seconds = time.perf_counter() - started
        if not out.is_file():
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"exit {run.returncode}: {last}", "wall_seconds": seconds}
        plan = json.loads(out.read_text(encoding="utf-8"))
    kept = ("makespan", "lower_bound", "placement_lower_bound", "gap", "bubble_ratio", "status", "baselines")
    return {key: plan.get(key) for key in kept} | {"wall_seconds": seconds, "exit": run.returncode}


def quotients(figures: dict[str, Any]) -> str:
    """Makespan of the best baseline that fits, and of DualPipe if it is another, over the plan's makespan."""
    rows = [b for b in figures.get("baselines") or [] if b.get("makespan")]
    fitting = [b for b in rows if b.get("fits")]
    if not fitting:
        return "no baseline fits" if rows else "none applies"
    best = min(fitting, key=lambda b: b["makespan"])
    named = {b["name"]: b for b in (best, *(b for b in rows if b["name"] == "dualpipe"))}
    return ", ".join(
        f"{b['makespan'] / figures['makespan']:.3f} {b['name']}{'' if b.get('fits') else ' (does not fit)'}"
        for b in named.values()
    )


def row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    if "error" in figures:
        return (name, figures["error"], *[""] * (len(COLUMNS) - 2))
    return (
        name,
        f"{figures['makespan']:.6g}",
        "-" if figures["lower_bound"] is None else f"{figures['lower_bound']:.6g}",
        "-" if figures["gap"] is None else f"{figures['gap']:.2%}",
        f"{figures['bubble_ratio']:.2%}",
        figures["status"],
        f"{figures['wall_seconds']:.1f}",
        quotients(figures),
    )


def baseline_rows(name: str, figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line for each baseline: its figures, and the plan's makespan and bubble ratio over them."""
    lines: list[tuple[str, ...]] = []
    for b in figures.get("baselines") or []:
        if not b.get("makespan"):
            lines.append((name, b["name"], "does not apply", *[""] * (len(BASELINE_COLUMNS) - 3)))
            continue
        idle = f"{figures['bubble_ratio'] / b['bubble_ratio']:.3f}" if b["bubble_ratio"] else "-"
        lines.append(
            (
                name,
                b["name"],
                f"{b['makespan']:.6g}",
                f"{figures['makespan'] / b['makespan']:.3f}",
                f"{b['bubble_ratio']:.2%}",
                idle,
                f"{b['peak_memory'] / 2**30:.4g}" if b["peak_memory"] >= 2**20 else f"{b['peak_memory']:g} B",
                "yes" if b["fits"] else "no",
            )
        )
    return lines


def memory_of(figures: dict[str, Any], baseline: str) -> float | None:
    """The peak memory of a baseline on its fullest device, in bytes; None if it does not apply."""
    rows = [b for b in figures.get("baselines") or [] if b["name"] == baseline]
    return rows[0].get("peak_memory") if rows else None


def show(table: list[tuple[str, ...]]) -> None:
    """Print aligned columns; a line with a remark instead of figures may be longer."""
    full = [line for line in table if line[-1]] or table
    widths = [max(len(line[c]) for line in full) for c in range(len(table[0]))]
    widths[0] = max(len(line[0]) for line in table)
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def main() -> int:
    """Run the configs; exit code 1 if one has no plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="configs to run (default: all)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for each config")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory-of", metavar="BASELINE", help="plan again with this baseline's peak memory as cap")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    known = sorted(path.parent.name for path in CONFIGS.glob("*/graph.yaml"))
    for name in given.names:
        if name not in known:
            parser.error(f"no config is called {name!r}; there are {', '.join(known)}")
    extra = ["--time-limit", f"{given.time_limit:g}"]
    extra += [] if given.seed is None else ["--seed", str(given.seed)]
    extra += [] if given.threads is None else ["--threads", str(given.threads)]

    figures: dict[str, dict[str, Any]] = {}
    for name in given.names or known:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures[name] = solve(CONFIGS / name, extra, given.time_limit + 60)
        cap = memory_of(figures[name], given.memory_of) if given.memory_of else None
        if cap:
            capped = f"{name}, memory of {given.memory_of}"
            print(f"{capped} ...", file=sys.stderr, flush=True)
            figures[capped] = solve(CONFIGS / name, [*extra, "--memory-cap", repr(cap)], given.time_limit + 60)
    show([COLUMNS, *(row(name, f) for name, f in figures.items())])
    print()
    show([BASELINE_COLUMNS, *(line for name, f in figures.items() for line in baseline_rows(name, f))])
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 1 if any("error" in f for f in figures.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
