"""What a strategy leaves on disk: graph.yaml, cluster.yaml, plan.json, and the files that launch it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from planner.common.budget import Control
from planner.engine import Limits, Refused, stop_event
from planner.exporters import CannotExport
from planner.exporters.registry import EXPORTERS
from planner.files.plan_file import plan_of_text
from planner.files.whole import write_whole
from planner.objectives.as_run import plan_of_way
from planner.objectives.options import NoPlan
from planner.objectives.registry import OBJECTIVES
from planner.objectives.solving import Solving
from planner.plan.plan import Plan, plan_to_json
from planner.problem import Impossible, Problem
from planner.runtimes.names import ANY
from planner.search.as_run import RuntimeSearch
from planner.search.ways import Way
from planner.strategies.evaluate import options_of
from planner.strategies.made import inputs_of, problem_of
from planner.strategies.request import Request
from planner.strategies.space import Candidate

FORMATS: Mapping[str, Mapping[str, str]] = {
    "megatron": {"megatron": "megatron.args", "megatron-bridge": "megatron_bridge.txt"},
    "torchtitan": {"torchtitan": "torchtitan.toml"},
    "torch": {"torch-csv": "schedule.csv"},
}
"""The formats that launch the plans of a runtime, each with the name of its file."""

NO_PLAN = 4


@dataclass(frozen=True)
class PlanWork:
    """The verified plan of a candidate: of the way that the search has found, or of a search of its own."""

    request: Request
    candidate: Candidate
    seconds: float
    way: Way | None
    bound: float  # seconds: proven for the candidate
    launch: bool  # whether to make the files that launch it

    @property
    def key(self) -> Mapping[str, object]:
        """The question, the candidate, what was found and the limit."""
        which = {"candidate": self.candidate.key, "seconds": self.seconds}
        return {"what": "plan", "request": self.request.key, "way": repr(self.way), "bound": self.bound, **which}

    @property
    def label(self) -> str:
        """The candidate's name."""
        return f"the plan of {self.candidate.name}"

    def run(self, limits: Limits) -> dict[str, Any]:
        """``plan``: the text of plan.json, in the compact form; its figures; ``files`` by name, ``remarks``."""
        in_full = self.way is not None  # its order need not repeat as a short step does
        solving = _solving(self.request, self.candidate, self.seconds, self.request.runs.name, limits, in_full)
        try:
            if self.way is None:
                plan = OBJECTIVES["makespan"].solve(solving)
            else:
                plan = plan_of_way(solving, self.way, self.bound)
        except (Impossible, NoPlan) as reason:
            raise Refused(str(reason), NO_PLAN, keep=False) from reason
        files, remarks = _exported(self.request, plan, solving.problem) if self.launch else ({}, [])
        return {
            "plan": plan_to_json(plan, compact=True),
            "seconds": plan.makespan,
            "lower_bound": plan.lower_bound or 0.0,
            "peak_bytes": max(device.peak_memory for device in plan.devices),
            "bubble_ratio": plan.bubble_ratio,
            "files": files,
            "remarks": remarks,
        }


@dataclass(frozen=True)
class FreeWork:
    """What a candidate would take if every plan could be run: a search from the way that was found."""

    request: Request
    candidate: Candidate
    seconds: float
    way: Way

    @property
    def key(self) -> Mapping[str, object]:
        """The question, the candidate and the limit."""
        which = {"candidate": self.candidate.key, "seconds": self.seconds}
        return {"what": "free", "request": self.request.key, "way": repr(self.way), **which}

    @property
    def label(self) -> str:
        """The candidate's name."""
        return f"{self.candidate.name} with any schedule"

    def run(self, limits: Limits) -> dict[str, Any]:
        """``seconds`` and ``lower_bound`` of the step."""
        solving = _solving(self.request, self.candidate, self.seconds, ANY, limits)
        found = RuntimeSearch(
            solving.problem, self.request.runs, solving.incumbent_of(solving.problem, solving.control)
        )
        ran = found.ran(self.way)
        solving.begin_with(f"as {self.request.runs.name} runs it", [] if ran is None else [ran.timetable])
        try:
            plan = OBJECTIVES["makespan"].solve(solving)
        except (Impossible, NoPlan) as reason:
            raise Refused(str(reason), NO_PLAN, keep=False) from reason
        return {"seconds": plan.makespan, "lower_bound": plan.lower_bound}


def _solving(
    request: Request, candidate: Candidate, seconds: float, runtime: str, limits: Limits, in_full: bool = False
) -> Solving:
    """``in_full``: a very long step as a whole, and without the replays of baselines."""
    copies = problem_of(request, candidate).copies
    problem = inputs_of(request, candidate).problem(copies)
    options = options_of(problem, request, seconds, limits.threads, runtime)
    control = Control(seconds, stop_requested=stop_event())
    return Solving(problem, control, options, {}, ()) if in_full else Solving.of(problem, control, options)


def _exported(request: Request, plan: Plan, problem: Problem) -> tuple[dict[str, str], list[str]]:
    """The files that launch a plan, and a remark on each format that cannot express it as it stands.

    What can be repaired is, and the remark says at what cost.
    """
    files: dict[str, str] = {}
    remarks: list[str] = []
    for name, file in FORMATS.get(request.runs.name, {}).items():
        exporter = EXPORTERS[name]
        try:
            found = exporter.export(plan, problem, exporter.options())
        except CannotExport as reason:
            try:
                found = exporter.export(plan, problem, exporter.options(repair=True))
            except (CannotExport, TypeError):
                remarks.append(f"{file} is not there: {name} cannot express the plan: {reason}")
                continue
            costs = "; ".join(found.notes)
            remarks.append(f"{file} is repaired, since {name} cannot express the plan ({reason}): {costs}")
        text = found.text if found.naming is None else found.naming(file)
        files |= {file: text} | {f"{file}{ending}": content for ending, content in found.beside.items()}
    return files, remarks


@dataclass(frozen=True)
class Planned:
    """A whole plan and what launches it, as texts."""

    text: str
    files: Mapping[str, str]
    remarks: Sequence[str]

    @cached_property
    def plan(self) -> Plan:
        """The plan."""
        return plan_of_text(self.text, "plan.json")


def planned_in(result: Mapping[str, Any]) -> Planned:
    """What a result of ``PlanWork`` has."""
    return Planned(result["plan"], result["files"], result["remarks"])


def write_folder(folder: Path, request: Request, candidate: Candidate, planned: Planned | None) -> Iterator[str]:
    """Write graph.yaml, cluster.yaml, plan.json and launch files; yield remarks. Raises ``InputError``."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = inputs_of(request, candidate)
    texts = {"graph.yaml": inputs.graph, "cluster.yaml": inputs.cluster}
    if planned is None:
        yield f"{folder}: no plan was made in the time that was left: planner solve makes one of its two files"
    else:
        texts |= {"plan.json": planned.text, **planned.files}
        yield from (f"{folder}: {remark}" for remark in planned.remarks)
    for name, text in texts.items():
        write_whole(str(folder / name), text)
