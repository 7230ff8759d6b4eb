"""One config planned, explained, and what `explain` advises carried out: the commands of a user, one process each."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from case_studies.runs import GRACE, measured
from planner.explain.levers import FASTER, Lever, kind_of
from planner.files import read_cluster

ROOT = Path(__file__).resolve().parent.parent.parent
AT_MOST = 900
"""Seconds after which a command is given up; effort ends it before."""

TIMED = ("time", "work", "step")
"""The keys of an operator, and of its variants, whose values are times or work."""


@dataclass(frozen=True)
class Case:
    """A shipped config, with flags of ``solve``, and the effort of every search."""

    name: str
    config: str
    flags: tuple[str, ...] = ()
    effort: int = 300


@dataclass(frozen=True)
class Advice:
    """What `explain` says a change makes of the step, and how a user makes the change.

    ``predicted``: seconds of a step of ``microbatches``. ``flags``: of ``solve``, in place of the case's; or a
    ``cluster`` or ``graph`` of its own. ``at_least``: the figure is of the plan's order kept, planning again
    may do better.
    """

    key: str
    title: str
    how: str
    predicted: float
    microbatches: int
    flags: tuple[str, ...] = ()
    cluster: str | None = None
    graph: str | None = None
    at_least: bool = False


def run(case: Case, effort: int | None = None) -> dict[str, Any]:
    """Plan, explain, do what was advised: the row of a case; ``error`` where there is no plan or no explanation."""
    effort = effort or case.effort
    row: dict[str, Any] = {"config": case.config, "flags": list(case.flags), "effort": effort, "advice": []}
    folder = ROOT / "configs" / case.config
    graph, cluster = folder / "graph.yaml", folder / "cluster.yaml"
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        row |= _solved(graph, cluster, case.flags, effort, out / "plan.json")
        if "error" in row:
            return row
        began = time.perf_counter()
        command = ["explain", str(out / "plan.json"), "--graph", str(graph), "--cluster", str(cluster)]
        command += ["--format", "json", "--effort", str(effort), "--time-limit", str(8 * AT_MOST), "--quiet"]
        planner = str(Path(sys.executable).with_name("planner"))
        done = subprocess.run([planner, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        row["explain_seconds"] = time.perf_counter() - began
        if done.returncode:
            return row | {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        document = json.loads(done.stdout)
        row["planned_again"] = document["planned_again"]["makespan"]
        row["cut"] = sum(one["ended_by_time_limit"] for one in [document["planned_again"], *document["changes"]])
        for advice in advised(document, graph, cluster):
            files = [graph, cluster]
            for k, text in enumerate((advice.graph, advice.cluster)):
                if text is not None:
                    files[k] = out / f"changed-{k}.yaml"
                    files[k].write_text(text, encoding="utf-8")
            flags = (*case.flags, *advice.flags)
            found = _solved(files[0], files[1], flags, effort, out / "advised.json")
            kept = {key: getattr(advice, key) for key in ("title", "how", "predicted", "microbatches", "at_least")}
            row["advice"].append({"key": advice.key} | kept | found)
    return row


def _solved(graph: Path, cluster: Path, flags: Sequence[str], effort: int, out: Path) -> dict[str, Any]:
    """Makespan, bound, seconds of the command and whether the plan is valid; ``error`` where there is none."""
    out.unlink(missing_ok=True)
    effort_flags = ["--effort", str(effort), "--baselines", "none", "--quiet"]
    ran = measured(["solve", str(graph), str(cluster), *flags, *effort_flags, "-o", str(out)], AT_MOST)
    if not out.is_file():
        return {"error": ran["last_line"], "wall_seconds": ran["wall_seconds"]}
    plan = json.loads(out.read_text(encoding="utf-8"))
    checked = measured(["verify", str(out), "--graph", str(graph), "--cluster", str(cluster)], GRACE)
    return {
        "makespan": plan["makespan"],
        "lower_bound": plan["lower_bound"],
        "of_microbatches": plan["microbatches"],
        "wall_seconds": ran["wall_seconds"],
        "verified": checked["exit"] == 0,
    }


# -- what is advised ---------------------------------------------------------------------------------------------


def advised(document: dict[str, Any], graph: Path, cluster: Path) -> Iterator[Advice]:
    """The advice of an explanation that a user can carry out with these files.

    A split operator is left out: no user halves one without writing its code. So is perfect balance: nothing has it.
    """
    count = document["microbatches"]
    for change in document["changes"]:
        if change["how"] != "search" or change["makespan"] is None:
            continue
        advice = Advice(change["change"], change["title"], "", change["makespan"], change["microbatches"])
        if change["flags"]:
            yield replace(advice, how=" ".join(change["flags"]), flags=tuple(change["flags"]))
        elif change["change"] == "more_memory":
            yield replace(advice, how="memory in cluster.yaml", cluster=with_memory(cluster, more=4 * 2.0**30))
        elif change["change"] == "cap_lifted":
            yield replace(advice, how="no memory in cluster.yaml", cluster=with_memory(cluster, math.inf))
        elif change["change"] == "transfers_free":
            yield replace(advice, how="no network in cluster.yaml", cluster=without_network(cluster))
    least = document["least_memory"]
    if least is not None:
        yield from _least(least, document["planned_again"]["makespan"], count, cluster)
    fastest = next((one for one in document["faster"] if one["what"] == Lever.OPERATORS), None)
    if fastest is not None:
        kind, title = fastest["name"], f"operators {fastest['name']} {FASTER:.0%} faster"
        text = with_faster(graph, kind)
        yield Advice("faster", title, "times in graph.yaml", fastest["makespan"], count, graph=text, at_least=True)


def _least(least: dict[str, Any], undisturbed: float, count: int, cluster: Path) -> Iterator[Advice]:
    """The least memory that helps, and the most that was found not to."""
    factor, without, flags = least["factor"], least["no_shorter_plan_with_factor"], tuple(least["flags"])
    advice = Advice(
        "least_memory", f"{factor:.4g} times the memory", "memory in cluster.yaml", least["makespan"], count
    )
    if flags:
        yield replace(advice, how=" ".join(flags), flags=flags)
    else:
        yield replace(advice, cluster=with_memory(cluster, factor))
    if without > 1:
        title, text = f"{without:.4g} times the memory: no gain", with_memory(cluster, without)
        yield Advice("too_little", title, "memory in cluster.yaml", undisturbed, count, cluster=text)


def with_memory(path: Path, times: float = 1.0, more: float = 0.0) -> str:
    """A cluster with other memory on all devices that have a cap: so many times, or so many bytes more; inf: no cap."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    stated = {name: kind.memory for name, kind in read_cluster(path).types.items()}
    assert not any("memory" in entry for entry in document["devices"]), "no shipped cluster has it there"
    for name, entry in document["device_types"].items():
        memory = stated[name]
        entry.pop("memory", None)
        if memory is not None and not math.isinf(times):
            entry["memory"] = memory * times + more
    return yaml.safe_dump(document, sort_keys=False, width=10**6)


def without_network(path: Path) -> str:
    """A cluster whose transfers take no time."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document.pop("network", None)
    return yaml.safe_dump(document, sort_keys=False, width=10**6)


def with_faster(path: Path, kind: str) -> str:
    """A graph in which the operators of this kind take ten percent less time, in every version and in the step."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, operator in _operators(document["operators"], ""):
        if kind_of(name) == kind:
            for entry in (operator, *(operator.get("variants") or ())):
                for key in TIMED:
                    if key in entry:
                        entry[key] = {k: v if k == "gradient" else _less(v) for k, v in entry[key].items()}
    return yaml.safe_dump(document, sort_keys=False, width=10**6)


def _operators(entries: list[dict[str, Any]], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Operators by name, those of a block with a number in place of each of its repetitions."""
    for entry in entries:
        if "block" in entry:
            number = ".0" if "repeat" in entry else ""
            yield from _operators(entry["operators"], f"{prefix}{entry['block']}{number}.")
        else:
            yield prefix + entry["name"], entry


def _less(value: Any) -> Any:
    """Ten percent less of a number, of one with a unit, or of all in a map."""
    if isinstance(value, dict):
        return {key: _less(each) for key, each in value.items()}
    if isinstance(value, str):
        number, *unit = value.split()
        return " ".join([repr(float(number) * (1 - FASTER)), *unit])
    return None if value is None else value * (1 - FASTER)
