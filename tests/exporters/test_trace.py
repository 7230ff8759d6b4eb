"""``planner export --to trace``: read back as Perfetto reads it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from random_plans import plan_of, random_plan
from random_steps import random_whole_step, two_copies
from solver_problems import CONFIGS, chain, config, posed, unit_cluster

from planner.baselines import baseline_timetable
from planner.commands.app import main
from planner.exporters.trace import trace_json
from planner.plan.plan import Plan, PlannedExchange, PlannedStepTask, PlannedTask, PlannedTransfer, plan_to_json
from planner.problem import NetworkLevel, Problem


def read(text: str) -> dict[str, list[dict[str, Any]]]:
    """Events by phase; every one has what Perfetto needs of it, in the type that it needs."""
    document = json.loads(text)
    assert isinstance(document["traceEvents"], list)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in document["traceEvents"]:
        assert event["ph"] in ("X", "M", "s", "f", "C", "i")
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["name"], str)
        if event["ph"] != "M":
            assert isinstance(event["ts"], int | float) and event["ts"] >= 0
        found[event["ph"]].append(event)
    return found


def nanoseconds(microseconds: float) -> int:
    """As Perfetto stores instants; exact, for the trace is written to the nanosecond."""
    whole = round(microseconds * 1000)
    assert abs(whole - microseconds * 1000) < 1e-3
    return whole


def check(plan: Plan, problem: Problem | None) -> dict[str, list[dict[str, Any]]]:
    events = read(trace_json(plan, problem))
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events["M"] if e["name"] == "thread_name"}
    devices = {e["pid"]: e["args"]["name"] for e in events["M"] if e["name"] == "process_name"}
    assert set(devices.values()) == {d.name for d in plan.devices}
    check_slices(plan, events["X"], names, devices)
    check_flows(events["X"], events["s"], events["f"])
    return events


def check_slices(
    plan: Plan, slices: list[dict[str, Any]], names: dict[tuple[int, int], str], devices: dict[int, str]
) -> None:
    """Each task and transfer once, where it runs, as long as it takes; no two at once on a thread."""
    expected: Counter[tuple[Any, ...]] = Counter()
    rows: list[PlannedTask | PlannedStepTask | PlannedTransfer | PlannedExchange]
    rows = [*plan.tasks, *plan.step_tasks, *plan.transfers, *plan.exchanges]
    for row in rows:
        device, thread = (
            (row.source, f"to {row.target}")
            if isinstance(row, PlannedTransfer | PlannedExchange)
            else (row.device, row.stream)
        )
        microbatch = row.microbatch if isinstance(row, PlannedTask | PlannedTransfer) else None
        pass_ = "R" if isinstance(row, PlannedExchange) else row.pass_
        expected[device, thread, row.operator, pass_, microbatch, row.copy, row.start] += 1
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in slices:
        thread, args = (event["pid"], event["tid"]), event["args"]
        place = (devices[event["pid"]], names[thread])
        key = (*place, *(args[field] for field in ("operator", "pass", "microbatch", "copy", "start_s")))
        expected[key] -= 1
        start, length = nanoseconds(event["ts"]), nanoseconds(event["dur"])
        assert abs(start - args["start_s"] * 1e9) <= 0.51 and abs(length - args["seconds"] * 1e9) <= 1.01
        threads[thread].append((start, start + length))
    assert set(expected.values()) <= {0}
    for spans in threads.values():
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def check_flows(slices: list[dict[str, Any]], starts: list[dict[str, Any]], ends: list[dict[str, Any]]) -> None:
    """Every id once at each end, forward in time, from inside one slice to inside another of the same microbatch."""
    by_thread: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in slices:
        by_thread[event["pid"], event["tid"]].append(event)

    def enclosing(flow: dict[str, Any]) -> dict[str, Any]:
        (found,) = (e for e in by_thread[flow["pid"], flow["tid"]] if e["ts"] < flow["ts"] < e["ts"] + e["dur"])
        return found

    opened = {flow["id"]: flow for flow in starts}
    assert len(opened) == len(starts) == len(ends)
    for flow in ends:
        assert flow["bp"] == "e"
        begun = opened.pop(flow["id"])
        source, target = enclosing(begun), enclosing(flow)
        assert begun["ts"] <= flow["ts"] and source["ts"] + source["dur"] <= target["ts"] + 1e-3
        (sent,) = {source["cat"], target["cat"]} & {"transfer", "exchange"}
        assert source["args"]["microbatch"] == target["args"]["microbatch"] or sent == "exchange"


def published(problem: Problem, name: str = "1f1b") -> Plan:
    return plan_of(problem, baseline_timetable(name, problem))


def test_stages_with_transfers() -> None:
    """Two arrows for each transfer: from its maker, to its reader. Marks for makespan and bound."""
    problem = posed(*chain(4), devices=unit_cluster(4, None, NetworkLevel(None, 0.25)), microbatches=6)
    plan = replace(published(problem), lower_bound=20.0)
    for given in (problem, None):
        events = check(plan, given)
        assert len(events["s"]) == 2 * len(plan.transfers) == 2 * 36
        marks = {e["name"]: e["ts"] for e in events["i"]}
        assert marks == {"makespan": pytest.approx(plan.makespan * 1e6), "lower bound": 20e6}


@pytest.mark.parametrize("draw", [random_plan, random_whole_step])
def test_random_plans_and_both_streams(draw: Callable[[int], tuple[Problem, Plan] | None]) -> None:
    ran = flows = 0
    for seed in range(600, 640):
        made = draw(seed)
        if made is not None:
            problem, plan = made
            flows += len(check(plan, problem)["s"])
            check(plan, None)
            ran += 1
    assert ran > 15 and flows > 50


def test_whole_steps() -> None:
    """Step tasks by letter and operator, gradients of the weights on their channel with arrows at both ends."""
    problem, plan = two_copies()
    events = check(plan, problem)
    slices = {e["name"]: e for e in events["X"]}
    assert slices["R s0"]["cat"] == "R" and slices["U s1"]["args"]["microbatch"] is None
    sent = slices["weight gradient of s0, copy 1"]
    assert sent["cat"] == "exchange" and sent["args"]["copy"] == 1
    assert len(events["s"]) == 2 * (len(plan.transfers) + len(plan.exchanges))


def test_counters_of_memory() -> None:
    """The counter of a device starts with its parameters, peaks where the plan says, and ends with its parameters."""
    problem = config("dualpipe-4x8", copies=2)
    plan = published(problem, "dualpipe")
    counters = check(plan, problem)["C"]
    for pid, device in enumerate(plan.devices, start=1):
        held = [(e["ts"], e["args"]["bytes"]) for e in counters if e["pid"] == pid]
        assert max(amount for _, amount in held) == pytest.approx(device.peak_memory)
        assert next(at for at, amount in held if amount == device.peak_memory) == device.peak_memory_at * 1e6
        assert held == sorted(held, key=lambda pair: pair[0])
        assert held[-1][1] == pytest.approx(2.0)
    assert "C" not in check(plan, None)


@pytest.mark.parametrize("last", [1e11, 1e30, 1e308])
def test_instants_that_no_viewer_reads_are_refused(
    last: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, instead of Infinity in the file; in tasks, and where only the makespan says so."""
    path, plan = tmp_path / "plan.json", published(config("dualpipe-4x8"), "zb1p")
    late = (*plan.tasks[:-1], plan.tasks[-1]._replace(end=last))
    for changed in (replace(plan, tasks=late), replace(plan, makespan=last)):
        path.write_text(plan_to_json(changed), encoding="utf-8")
        assert main(["export", str(path), "--to", "trace", "-o", str(tmp_path / "trace.json")]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        if last > 1e30:
            assert f"is absurd: at most 1e+30 s (got {last:g})" in captured.err and "plan.json:" in captured.err
        else:
            assert f"it lasts {last:.3g} s, and a trace ends at 9.22e+09 s" in captured.err
        assert not (tmp_path / "trace.json").exists()


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """To a file and to stdout; what is missing is said on stderr; bad usage ends with 2."""
    monkeypatch.chdir(tmp_path)
    plan = published(config("dualpipe-4x8"), "zb1p")
    Path("plan.json").write_text(plan_to_json(plan), encoding="utf-8")
    inputs = [f"--{name}={CONFIGS / 'dualpipe-4x8' / name}.yaml" for name in ("graph", "cluster")]
    assert main(["export", "plan.json", "--to", "trace"]) == 0
    captured = capsys.readouterr()
    assert captured.out == trace_json(plan, None) and "memory" in captured.err
    assert main(["export", "plan.json", "--to", "trace", "-o", "trace.json", *inputs, "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    assert read(Path("trace.json").read_text(encoding="utf-8"))["C"]
    for bad in (["--to", "tracing"], ["--to", "trace", "-o", "plan.json"], ["--to", "trace", inputs[0]], []):
        assert main(["export", "plan.json", *bad]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
