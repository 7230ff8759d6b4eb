"""The part of a plan that can be drawn: where a part of it is repeated, the step with that part run once."""

from __future__ import annotations

import math
from dataclasses import replace

from planner.plan.plan import DeviceFigures, Plan, PlanRepetition
from planner.report.facts import PlanFacts
from planner.report.words import percent, seconds


def excerpt(plan: Plan) -> Plan:
    """The step that tasks and transfers list, with its own makespan and bubbles; the plan itself if that is all."""
    if plan.repeated is None or not plan.tasks:
        return plan
    facts = PlanFacts(plan)
    makespan = max([*(task.end for task in facts.tasks), *(exchange.end for exchange in plan.exchanges)])
    devices = tuple(_device(plan, plan.repeated, device, makespan) for device in plan.devices)
    working = {task.device for task in facts.tasks}
    used = [device for device in devices if device.name in working]
    return replace(
        plan,
        microbatches=plan.listed_microbatches,
        makespan=makespan,
        lower_bound=None,
        placement_lower_bound=None,
        gap=None,
        status="feasible",
        bubble_ratio=_ratio(used, makespan),
        bubble_ratio_all=_ratio(devices, makespan),
        devices=devices,
        baselines=(),
        figures=(),
        repeated=None,
        throughput=None,
    )


def excerpt_note(plan: Plan) -> str | None:
    """What an excerpt leaves out; None where it is the whole plan."""
    repeated = plan.repeated
    if repeated is None:
        return None
    return (
        f"drawn with its steady state, {seconds(repeated.start)} to {seconds(repeated.start + repeated.length)}, once; "
        f"it runs {repeated.times} times more: {seconds(plan.makespan)} for {plan.microbatches} microbatches, "
        f"bubble {percent(plan.bubble_ratio)}"
    )


def not_in_full(plan: Plan, file: str = "PLAN") -> str | None:
    """Why a plan cannot be used by what needs all of its tasks, and what to do; None where it lists them all."""
    repeated = plan.repeated
    if repeated is None:
        return None
    some = min(repeated.times, -(-plan.listed_microbatches // repeated.microbatches))
    enough = plan.listed_microbatches + some * repeated.microbatches
    return (
        f"it lists its steady state once, to be run {repeated.times} times more, and this needs every task: "
        f"planner stretch {file} --graph GRAPH --cluster CLUSTER --microbatches {enough} -o FILE writes the same "
        f"schedule in full for {enough} microbatches"
    )


def _device(plan: Plan, repeated: PlanRepetition, device: DeviceFigures, makespan: float) -> DeviceFigures:
    own = [task for task in PlanFacts(plan).tasks if task.device == device.name and task.stream == "compute"]
    busy = math.fsum(task.end - task.start for task in own)
    span = max(task.end for task in own) - min(task.start for task in own) if own else 0.0
    at, end = device.peak_memory_at, repeated.start + repeated.length
    if at >= end:  # a device holds in every repetition what it holds in the one that is drawn
        turns = min(repeated.times, int((at - repeated.start) // repeated.length))
        at -= turns * repeated.length
    return replace(
        device,
        busy=busy,
        bubble=max(0.0, makespan - busy),
        span_bubble=max(0.0, span - busy),
        peak_memory_at=min(at, makespan),
    )


def _ratio(devices: tuple[DeviceFigures, ...] | list[DeviceFigures], makespan: float) -> float:
    time = len(devices) * makespan
    return math.fsum(device.bubble for device in devices) / time if time > 0 else 0.0
