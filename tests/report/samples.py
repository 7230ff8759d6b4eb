"""Plans made by hand, as plain data: the report looks at nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from planner.plan.plan import (
    BaselineFigures,
    DeviceFigures,
    PlacedOperator,
    Plan,
    PlannedStepTask,
    PlannedTask,
    PlannedTransfer,
    Source,
)

GIB = 2.0**30


def pipeline(
    microbatches: int = 3, *, step: float = 1.0, names: tuple[str, str] = ("gpu0", "gpu1"), **more: Any
) -> Plan:
    """Two stages, all forwards, then all backwards, of ``step`` seconds each; a transfer of length 0.5 steps."""
    first, second = names
    m = microbatches
    tasks = []
    for k in range(m):
        tasks.append(task("layer.0.mlp", "F", k, first, k * step, step))
        tasks.append(task("layer.1.mlp", "F", k, second, (k + 1) * step, step))
        tasks.append(task("layer.1.mlp", "I", k, second, (m + 1 + k) * step, step))
        tasks.append(task("layer.0.mlp", "I", k, first, (m + 2 + k) * step, step))
    makespan = (2 * m + 2) * step
    plan = Plan(
        planner_version="0.1.0",
        origin="solve",
        graph=Source("tiny", "a" * 64),
        cluster=Source("pair", "b" * 64),
        options={"copies": 1, "microbatches": m},
        microbatches=m,
        objective="makespan",
        status="feasible",
        makespan=makespan,
        lower_bound=makespan / 2,
        placement_lower_bound=makespan * 0.75,
        gap=0.5,
        bubble_ratio=2 / (2 * m + 2),
        bubble_ratio_all=2 / (2 * m + 2),
        solve_seconds=1.25,
        placement=(PlacedOperator("layer.0.mlp", 0, first), PlacedOperator("layer.1.mlp", 0, second)),
        tasks=tuple(sorted(tasks, key=lambda t: (t.start, t.device))),
        transfers=(PlannedTransfer("layer.0.mlp", "F", 0, 0, first, second, step, 1.5 * step),),
        devices=(
            DeviceFigures(first, 2 * m * step, 2 * step, 2 * step, 3 * GIB, step, 4 * GIB),
            DeviceFigures(second, 2 * m * step, 2 * step, 0.0, 2 * GIB, step, 4 * GIB),
        ),
        baselines=(
            BaselineFigures("gpipe", makespan * 2, 0.5, 0.25, 8 * GIB, 1, False),
            BaselineFigures("dualpipe", reason="DualPipe needs an even number of microbatches"),
        ),
        notes=("found by hand",),
    )
    return replace(plan, **more)


def task(operator: str, pass_: str, k: int, device: str, start: float, seconds: float, **more: Any) -> PlannedTask:
    made = PlannedTask(operator, pass_, k, 0, device, "compute", start, start + seconds)
    return made._replace(**more)


def long_plan(n_tasks: int = 9000, devices: int = 8) -> Plan:
    """Many tasks of uneven lengths on both streams, without a common step."""
    tasks, ends = [], [0.0] * (2 * devices)
    for k in range(n_tasks):
        row = k % (2 * devices)
        seconds = 0.001 * (1 + (k * 7919) % 97 / 31.7)
        stream = "comm" if row % 2 else "compute"
        made = task(f"op.{k % 40}", "FIW"[k % 3], k // 40, f"gpu{row // 2}", ends[row], seconds, stream=stream)
        tasks.append(made._replace(copy=k % 2))
        ends[row] += seconds
    names = [f"gpu{d}" for d in range(devices)]
    makespan = max(ends)
    figures = tuple(DeviceFigures(n, makespan / 2, makespan / 2, makespan / 4, GIB, 0.0, None) for n in names)
    placement = tuple(PlacedOperator(f"op.{i}", c, names[i % devices]) for c in range(2) for i in range(40))
    return pipeline(
        n_tasks // 40 + 1, tasks=tuple(tasks), devices=figures, makespan=makespan, placement=placement, transfers=()
    )


def whole_step(**more: Any) -> Plan:
    """``pipeline`` with a reduction, an update and a gathering of both stages, the second one in another variant.

    The last microbatch ends at 8 s. gpu1 reduces from 7 s to 9 s, gpu0 from 8.5 s to 9.5 s; updates take until 10 s on
    gpu1 and until 11 s on gpu0; gathering takes another second on each. Half a second nothing runs.
    """
    plan = pipeline()
    rows = (
        ("layer.1.mlp", "R", "gpu1", 7.0, 9.0),
        ("layer.0.mlp", "R", "gpu0", 8.5, 9.5),
        ("layer.1.mlp", "U", "gpu1", 9.0, 10.0),
        ("layer.0.mlp", "U", "gpu0", 10.0, 11.0),
        ("layer.1.mlp", "G", "gpu1", 10.0, 11.0),
        ("layer.0.mlp", "G", "gpu0", 11.5, 12.5),
    )
    steps = tuple(
        PlannedStepTask(name, pass_, 0, device, "compute" if pass_ == "U" else "comm", start, end)
        for name, pass_, device, start, end in rows
    )
    placement = tuple(replace(placed, variant="full" if k else "base") for k, placed in enumerate(plan.placement))
    return replace(plan, makespan=12.5, step_tasks=steps, placement=placement, **more)
