"""Rank strategies of a model under a runtime and under the device model as it is; write docs/runtime-strategies.md.

`python scripts/runtime_cases.py [--only NAME...] [--seconds S] [--missing] [--page-only]`: for every strategy of a case
the commands that a user would type: `planner import hf`, `planner solve --runtime megatron`, `planner solve` and, for
the best one, `planner export --to megatron`, each in a process of its own, and `planner verify` on every plan. After
each strategy the rows are written to docs/runtime-strategies.json.
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

from case_studies.rows import read
from case_studies.runs import GRACE, measured
from planner.files.whole import write_whole
from race import commit, machine

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs" / "models"
RUNTIMES = ("megatron", "any")
NODE = 8
"""GPUs of a node."""


@dataclass(frozen=True)
class Strategy:
    """Degrees of parallelism; what is left of the GPUs are data-parallel replicas."""

    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1

    @property
    def name(self) -> str:
        """``TP 4, PP 4, CP 2``."""
        return ", ".join(f"{key.upper()} {value}" for key, value in vars(self).items() if value > 1) or "one rank"


@dataclass(frozen=True)
class Case:
    """A model on so many H100, with a global batch (sequences) and sequences of so many tokens."""

    name: str
    config: str
    gpus: int
    batch: int
    sequence: int
    strategies: tuple[Strategy, ...]

    def data(self, strategy: Strategy) -> int:
        """Replicas of the pipeline."""
        return self.gpus // (strategy.tp * strategy.pp * strategy.cp)

    def flags(self, strategy: Strategy) -> str:
        """Of ``planner import hf``."""
        data = self.data(strategy)
        degrees = {"tp": strategy.tp, "cp": strategy.cp, "ep": strategy.ep, "dp": data, "pp": strategy.pp}
        return (
            " ".join(f"--{name} {degree}" for name, degree in degrees.items())
            + f" --cut layer --recompute choose --weight-grad never --sequence {self.sequence}"
            + f" --microbatches {self.batch // data} --interconnect 50GB/s --tensor-interconnect 450GB/s"
        )


CASES = (
    Case(
        "Llama-3.1-70B",
        "llama-3.1-70b",
        64,
        128,
        8192,
        (
            Strategy(tp=4, pp=4, cp=2),
            Strategy(tp=8, pp=2),
            Strategy(tp=8, pp=4),
            Strategy(tp=8, pp=8),
            Strategy(tp=4, pp=8),
            Strategy(tp=2, pp=8),
        ),
    ),
    Case(
        "Qwen3-30B-A3B",
        "qwen3-30b-a3b",
        16,
        256,
        4096,
        (
            Strategy(pp=2, ep=8),
            Strategy(pp=4, ep=4),
            Strategy(tp=2, pp=2, ep=4),
            Strategy(tp=4, pp=2, ep=2),
            Strategy(tp=2, pp=4, ep=2),
            Strategy(tp=2, ep=8),
        ),
    ),
)


def cluster(strategy: Strategy) -> str:
    """A device for each stage, on the node where its ranks are; rates as in configs/clusters/h100-8.yaml."""
    inside = strategy.tp * strategy.cp
    devices = "".join(f"  - {{name: gpu{s}, type: h100, node: n{s * inside // NODE}}}\n" for s in range(strategy.pp))
    return (
        f"schema: planner/cluster@1\nname: h100x{strategy.pp}\ndevice_types:\n"
        "  h100: {memory: 76 GiB, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, efficiency: 0.4}\n"
        f"devices:\n{devices}"
        "network:\n  within_node: {bandwidth: 450 GB/s, latency: 3 us}\n"
        "  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}\n"
    )


def run(case: Case, strategy: Strategy, seconds: float) -> dict[str, Any]:
    """The figures of a strategy under each runtime, and the flags that Megatron gets."""
    row: dict[str, Any] = {"import": f"planner import hf {case.config}.json {case.flags(strategy)}"}
    with tempfile.TemporaryDirectory() as folder:
        graph, machines = Path(folder) / "graph.yaml", Path(folder) / "cluster.yaml"
        machines.write_text(cluster(strategy), encoding="utf-8")
        config = str(CONFIGS / f"{case.config}.json")
        made = measured(["import", "hf", config, *case.flags(strategy).split(), "-o", str(graph)], GRACE)
        if made["exit"]:
            return row | {"error": made["last_line"]}
        for runtime in RUNTIMES:
            row[runtime] = _planned(graph, machines, runtime, seconds, Path(folder))
        plan = Path(folder) / "megatron.json"
        if plan.is_file():
            flags = Path(folder) / "flags.txt"
            files = ["--graph", str(graph), "--cluster", str(machines)]
            sent = measured(["export", str(plan), "--to", "megatron", *files, "-o", str(flags)], GRACE)
            row["export"] = flags.read_text(encoding="utf-8") if flags.is_file() else f"refused: {sent['last_line']}"
    return row


def _planned(graph: Path, machines: Path, runtime: str, seconds: float, folder: Path) -> dict[str, Any]:
    out = folder / f"{runtime}.json"
    flags = ["--runtime", runtime, "--time-limit", f"{seconds:g}", "--baselines", "none", "--quiet", "-o", str(out)]
    ran = measured(["solve", str(graph), str(machines), *flags], seconds + GRACE)
    if not out.is_file():
        return {"error": ran["last_line"]}
    checked = measured(["verify", str(out), "--graph", str(graph), "--cluster", str(machines)], GRACE)
    plan = json.loads(out.read_text(encoding="utf-8"))
    kept = {key: plan.get(key) for key in ("makespan", "lower_bound", "gap", "bubble_ratio", "throughput")}
    peak = max(device["peak_memory"] for device in plan["devices"])
    return kept | {"peak_memory": peak, "how": plan["notes"][0], "valid": checked["exit"] == 0, "limit": seconds}


# -- the page --------------------------------------------------------------------------------------------------


def rate(row: dict[str, Any], runtime: str) -> float:
    """Tokens a second and GPU; 0 where there is no plan."""
    throughput = row.get(runtime, {}).get("throughput")
    return float(throughput["tokens_per_second_per_gpu"]) if throughput else 0.0


def page(results: dict[str, Any]) -> str:
    """docs/runtime-strategies.md."""
    lines = [
        "# Strategies, as a runtime runs them",
        "",
        "Written by scripts/runtime_cases.py; do not edit.",
        "",
        "Which strategy is the best depends on who runs it. Each line is one strategy, planned twice: as",
        "[Megatron-LM runs it](runtimes.md) (`--runtime megatron`: whole stage passes, tensor, context and expert",
        "parallel collectives exposed) and by the device model as it is (`--runtime any`: every collective may hide",
        "behind another microbatch). Both answers are right for somebody. Times are rooflines at an efficiency of 0.4",
        "and collectives at their bandwidth: the ranking is of these times, not of measured ones.",
        "",
    ]
    for case in CASES:
        rows = results["rows"].get(case.name, {})
        lines += _case(case, rows)
    lines += ["## How each was run", ""]
    for case in CASES:
        for name, row in results["rows"].get(case.name, {}).items():
            lines.append(f"- {case.name}, {name}: `{row['import']}`; {row['date']}, commit {row['commit']}")
    if results["rows"]:
        last = next(iter(next(iter(results["rows"].values())).values()))
        lines += ["", f"Machine: {last['machine']}."]
    return "\n".join(lines) + "\n"


def _case(case: Case, rows: dict[str, Any]) -> list[str]:
    ranked = {
        runtime: sorted((name for name in rows if rate(rows[name], runtime)), key=lambda n: -rate(rows[n], runtime))
        for runtime in RUNTIMES
    }
    lines = [
        f"## {case.name} on {case.gpus} H100",
        "",
        f"Global batch {case.batch} sequences of {case.sequence} tokens; the plan decides what is recomputed.",
        "",
        "| strategy | megatron: tokens/s/GPU | rank | step | gap | peak | any: tokens/s/GPU | rank | step | gap |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for strategy in case.strategies:
        row = rows.get(strategy.name)
        if row is None:
            lines.append(f"| {strategy.name} | not run | | | | | | | | |")
            continue
        cells = [strategy.name]
        for runtime in RUNTIMES:
            found = row.get(runtime, {})
            if not rate(row, runtime):
                cells += ["none", "", "", "", ""][: 5 if runtime == "megatron" else 4]
                continue
            cells += [
                f"{rate(row, runtime):,.0f}",
                f"{ranked[runtime].index(strategy.name) + 1}",
                f"{found['makespan']:.4g} s",
                f"{found['gap']:.1%}",
            ]
            if runtime == "megatron":
                cells.append(f"{found['peak_memory'] / 2**30:.3g} GiB")
        lines.append("| " + " | ".join(cells) + " |")
    for runtime in RUNTIMES:
        if ranked[runtime]:
            best = ranked[runtime][0]
            lines += ["", f"Best under `{runtime}`: {best}, {rows[best][runtime]['how']}."]
    for name, row in rows.items():
        error = row.get("error") or row.get("megatron", {}).get("error")
        if error:
            lines += ["", f"{name}: {error}"]
    if ranked["megatron"]:
        best = ranked["megatron"][0]
        lines += ["", f"What `planner export --to megatron` writes for {best}:", "", "```"]
        lines += [*rows[best].get("export", "").splitlines(), "```", ""]
    return lines


def main() -> int:
    """Run the cases, keep the rows, write the page; exit code 1 if a plan is not valid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases by name")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="time limit of each solve")
    parser.add_argument("--missing", action="store_true", help="leave out strategies that have a row")
    parser.add_argument("--page-only", action="store_true", help="run nothing, only write the page")
    given = parser.parse_args()
    kept = ROOT / "docs" / "runtime-strategies.json"
    results = read(kept)
    for case in () if given.page_only else [case for case in CASES if not given.only or case.name in given.only]:
        rows = results["rows"].setdefault(case.name, {})
        for strategy in case.strategies:
            if given.missing and strategy.name in rows:
                continue
            print(f"{case.name}: {strategy.name} ...", file=sys.stderr, flush=True)
            now = datetime.now(UTC).strftime("%Y-%m-%d")
            rows[strategy.name] = run(case, strategy, given.seconds)
            rows[strategy.name] |= {"commit": commit(), "date": now, "machine": machine()}
            write_whole(kept, json.dumps(results, indent=1) + "\n")
    write_whole(ROOT / "docs" / "runtime-strategies.md", page(results))
    found = [row.get(runtime, {}) for rows in results["rows"].values() for row in rows.values() for runtime in RUNTIMES]
    return 0 if all(each.get("valid", True) for each in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
