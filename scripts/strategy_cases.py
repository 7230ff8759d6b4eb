"""Search for strategies of known models on known clusters; write docs/strategy-cases.md.

`python scripts/strategy_cases.py [--only NAME...] [--seconds S] [--missing] [--page-only] [--measured FILE]`: for every
case the command that a user would type, in a process of its own, then `planner verify` on the plan of the winner. After
each case the rows are written to docs/strategy-cases.json. `--measured` names a table of measured steps of nanotron
(../shared/data/measured/nanotron_dev.csv): how good the first picks are, measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from case_studies.runs import GRACE, measured
from measured_steps.picks import picks
from planner.files.whole import write_whole
from race import commit, machine

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
KEPT = ("space", "best_seconds", "lower_bound", "gap", "strategies", "neighbours", "unrestricted")

MIXED = """schema: planner/cluster@1
name: "h100 and a100"
device_types:
  h100: {memory: 76 GiB, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, efficiency: 0.4}
  a100: {memory: 76 GiB, peak_flops: 312 TFLOPS, memory_bandwidth: 2.039 TB/s, efficiency: 0.5}
devices:
  - {name: fast, type: h100, count: 8, node: n0}
  - {name: slow, type: a100, count: 8, node: n1}
network:
  within_node: {bandwidth: 300 GB/s, latency: 5 us}
  between_nodes: {bandwidth: 25 GB/s, latency: 10 us}
"""


@dataclass(frozen=True)
class Case:
    """One question. ``goal``: what was asked of it, in words; ``gap``: the largest gap that meets it."""

    name: str
    model: str
    cluster: str
    batch: int
    sequence: int
    seconds: float
    flags: str = ""
    goal: str = ""
    gap: float | None = None
    of: str = ""  # the case that it is compared with,
    ranked: bool = False  # and whether its rank there is asked

    @property
    def command(self) -> str:
        """As a user types it, but for -o."""
        text = f"{self.model} {self.cluster} --global-batch {self.batch} --sequence {self.sequence}"
        return f"planner strategy {text} {self.flags}".strip()


LLAMA = "llama-3.1-405b"
V3 = "deepseek-v3"
CASES = (
    Case("Llama-3.1-70B", "llama-3.1-70b", "h100:8x8", 512, 8192, 60, goal="60 s, gap at most 5 %", gap=0.05),
    Case("Llama-3.1-405B", LLAMA, "h100:2048x8", 2048, 8192, 180, goal="180 s, gap at most 8 %", gap=0.08),
    Case("  as its report chose (arXiv 2407.21783): 41 % MFU measured", LLAMA, "h100:2048x8", 2048, 8192, 60,
         "--fix tp=8,pp=16,dp=128,mbs=1", of="Llama-3.1-405B", ranked=True),
    Case("DeepSeek-V3", V3, "h800:256x8", 15360, 4096, 180, "--precision fp8", goal="180 s"),
    Case("  as DeepSeek chose, in Megatron's orders", V3, "h800:256x8", 15360, 4096, 60,
         "--precision fp8 --fix tp=1,cp=1,ep=64,pp=16,dp=128,mbs=1", of="DeepSeek-V3"),
    Case("  as DeepSeek chose, DualPipe", V3, "h800:256x8", 15360, 4096, 60,
         "--precision fp8 --runtime dualpipe --fix tp=1,cp=1,ep=64,pp=16,dp=128,mbs=1", of="DeepSeek-V3"),
    Case("Qwen3-30B-A3B", "qwen3-30b-a3b", "h100:2x8", 256, 4096, 60, goal="60 s"),
    Case("Mixtral-8x7B", "mixtral-8x7b", "a100:4x8", 256, 4096, 60, goal="60 s"),
    Case("Qwen2-VL-7B", "qwen2-vl-7b", "h100:2x8", 256, 4096, 60, "--images 4 --image-size 448", goal="60 s"),
    Case("GPT-2 XL", "gpt2-xl", "a100:1x8", 512, 1024, 60, goal="60 s"),
    Case("Llama-3-8B on 8 H100 and 8 A100", "llama-3-8b", "mixed.yaml", 128, 8192, 60,
         goal="better than either half, and than equal halves of the batch"),
    Case("  on the 8 H100 alone", "llama-3-8b", "h100:1x8", 128, 8192, 60, of="Llama-3-8B on 8 H100 and 8 A100"),
    Case("  on the 8 A100 alone", "llama-3-8b", "a100:1x8", 128, 8192, 60, of="Llama-3-8B on 8 H100 and 8 A100"),
    Case("  half of the batch on the 8 A100", "llama-3-8b", "a100:1x8", 64, 8192, 60,
         of="Llama-3-8B on 8 H100 and 8 A100"),
)  # fmt: skip


def run(case: Case, seconds: float) -> dict[str, Any]:
    """The figures of a case."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = case.cluster
        if cluster.endswith(".yaml"):
            cluster = str(Path(folder) / cluster)
            Path(cluster).write_text(MIXED, encoding="utf-8")
        out = Path(folder) / "found"
        arguments = ["strategy", case.model, cluster]
        arguments += ["--global-batch", str(case.batch), "--sequence", str(case.sequence)]
        arguments += [*case.flags.split(), "--time-limit", f"{seconds:g}", "--top", "3", "--quiet", "-o", str(out)]
        ran = measured(arguments, seconds + GRACE)
        row: dict[str, Any] = {"command": case.command, "limit": seconds, "wall_seconds": ran["wall_seconds"]}
        if not (out / "strategy.json").is_file():
            return row | {"error": ran["last_line"]}
        document = json.loads((out / "strategy.json").read_text(encoding="utf-8"))
        row |= {key: document[key] for key in KEPT}
        row |= _others(case, document["points"])
        row["launch"] = sorted(path.name for path in (out / "1").iterdir()) if (out / "1").is_dir() else []
        plan = out / "1" / "plan.json"
        if plan.is_file():
            inputs = ["--graph", str(out / "1" / "graph.yaml"), "--cluster", str(out / "1" / "cluster.yaml")]
            row["verified"] = measured(["verify", str(plan), *inputs], GRACE)["exit"] == 0
        return row


def _others(case: Case, points: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of the plans and, where there is none, bounds of all strategies but the one whose rank is asked."""
    for other in CASES:
        if other.of == case.name and other.ranked:
            fixed = {
                name: int(value) for name, value in (part.split("=") for part in other.flags.split()[-1].split(","))
            }
            some = [each for each in points if any(each[name] != value for name, value in fixed.items())]
            plans = sorted(each["seconds"] for each in some if each["seconds"] is not None)
            bounds = [each["lower_bound"] for each in some if each["seconds"] is None]
            return {"plans": plans, "bounds": sorted(round(bound, 4) for bound in bounds if bound is not None)}
    return {}


# -- the page --------------------------------------------------------------------------------------------------


def page(results: dict[str, Any]) -> str:
    """docs/strategy-cases.md."""
    rows = results["rows"]
    lines = [
        "# Strategies of known models",
        "",
        "Written by scripts/strategy_cases.py; do not edit. [strategy.md](strategy.md) says what the figures mean.",
        "",
        "Each line is one `planner strategy` on 2 cores. The gap is over the whole space: no strategy of it, whatever",
        "its schedule and what it recomputes, has a step shorter than (1 - gap) times the best. Indented lines are",
        "there to compare with.",
        "",
        "| model | GPUs | strategies | best | step | tokens/s/GPU | MFU | gap | asked | whole command |",
        "|---|---|--:|---|--:|--:|--:|--:|---|--:|",
    ]
    lines += [_line(case, rows[case.name]) for case in CASES if case.name in rows]
    lines += [line for case in CASES if case.ranked for line in _rank(case, rows)]
    lines += ["", "## What became of the spaces", ""]
    lines += ["| model | strategies | with a plan | pruned by bound | out of memory | invalid | left open |",
              "|---|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for case in CASES:
        space = rows.get(case.name, {}).get("space")
        if space and not case.of:
            keys = ("strategies", "solved", "pruned_by_bound", "out_of_memory", "invalid", "open")
            lines.append(f"| {case.name} | " + " | ".join(f"{space[key]:,}" for key in keys) + " |")
    if "picks" in results:
        lines += ["", "## Picks that were measured", "", *_picks(results["picks"])]
    lines += ["", "## How each was run", ""]
    for case in CASES:
        if case.name in rows:
            row = rows[case.name]
            lines.append(f"- {case.name.strip()}: `{row['command']}`; {row['date']}, commit {row['commit']}")
    if rows:
        lines += ["", f"Machine: {next(iter(rows.values()))['machine']}."]
    return "\n".join(lines) + "\n"


def _line(case: Case, row: dict[str, Any]) -> str:
    if "error" in row or not row["strategies"]:
        why = row.get("error", "no plan")
        return f"| {case.name} | {case.cluster} | | {why} | | | | | {case.goal} | {row['wall_seconds']:.0f} s |"
    best = row["strategies"][0]
    degrees = ", ".join(f"{k.upper()} {best[k]}" for k in ("tp", "cp", "ep", "pp", "dp") if best[k] > 1)
    more = [f"mbs {best['mbs']}", f"{best['schedule']}" + (f" x{best['vpp']}" if best["vpp"] > 1 else "")]
    more += [f"recompute {best['recompute']}"] if best["recompute"] != "none" else []
    mfu = "" if best["mfu"] is None else f"{best['mfu']:.1%}"
    valid = "" if row.get("verified", True) else " (not valid)"
    name = case.name if not case.of else "&nbsp;&nbsp;" + case.name.strip()
    return (
        f"| {name} | {case.cluster.removesuffix('.yaml')} | {row['space']['strategies']:,} | {degrees}, "
        f"{', '.join(more)}{valid} | {row['best_seconds']:.4g} s | {best['tokens_per_second_per_gpu']:,.0f} | {mfu} | "
        f"{row['gap']:.1%} | {_met(case, row)} | {row['wall_seconds']:.0f} s |"
    )


def _rank(case: Case, rows: dict[str, Any]) -> list[str]:
    """Between which ranks a strategy stands among all: those with a better plan, and those that may have one."""
    row, whole = rows.get(case.name), rows.get(case.of)
    if row is None or whole is None or "plans" not in whole:
        return []
    step, name = row["best_seconds"], case.name.strip().partition(" (")[0]
    better = sum(seconds < step for seconds in whole["plans"])
    maybe = sum(bound < step for bound in whole["bounds"])
    ranked = len(whole["plans"]) + len(whole["bounds"]) + 1
    return [
        "",
        f"{case.of} {name} ({step:.4g} s): {better} strategies have a better plan, and {maybe} were left without",
        f"one (pruned or open) and have a bound below that step. So it has rank {better + 1} at best and",
        f"{better + maybe + 1} at worst, of {ranked:,} strategies that fit in memory.",
    ]


def _met(case: Case, row: dict[str, Any]) -> str:
    if not case.goal:
        return ""
    if case.gap is None:
        return case.goal
    return f"{case.goal}: {'met' if row['gap'] <= case.gap else 'missed'}"


def _picks(found: dict[str, Any]) -> list[str]:
    return [
        f"nanotron's table of measured steps ({found['table']}): {found['groups']} choices of one model, number of",
        f"GPUs and batch, {found['strategies']:,} strategies as measured. The search ranks each by its best plan under",
        "`--runtime nanotron`. The best measured time of its first three picks over the best measured:",
        f"{found['three']:.3f} (geometric mean; worst {found['worst']:.3f}); of its first pick alone",
        f"{found['first']:.3f}.",
    ]


def main() -> int:
    """Run the cases, write rows and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--seconds", type=float, metavar="S", help="in place of each case's own limit")
    parser.add_argument("--missing", action="store_true", help="only cases without a row")
    parser.add_argument("--page-only", action="store_true", help="write the page of the rows that there are")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="the table of measured steps")
    given = parser.parse_args()
    store = DOCS / "strategy-cases.json"
    results = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {"rows": {}}
    for case in [] if given.page_only else CASES:
        if given.only and not any(name.lower() in case.name.lower() for name in given.only):
            continue
        if given.missing and case.name in results["rows"]:
            continue
        print(case.command, file=sys.stderr, flush=True)
        row = run(case, given.seconds or case.seconds)
        row |= {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), "machine": machine()}
        results["rows"][case.name] = row
        write_whole(store, json.dumps(results, indent=1) + "\n")
    if given.measured:
        results["picks"] = picks(given.measured)
        write_whole(store, json.dumps(results, indent=1) + "\n")
    write_whole(DOCS / "strategy-cases.md", page(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
