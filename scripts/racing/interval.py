"""The rival for whole problems: an interval model in OR-Tools CP-SAT that chooses placement, split, order and times.

Optional intervals by device, no overlap on streams and channels, memory as a cumulative. Which copy a microbatch uses
is a variable, so every split is allowed. It is the judge of tests/exact/with_cpsat.py, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ortools.sat.python import cp_model

from racing.child import Reporter, arguments
from racing.cpsat import Listener

WORKERS = 1


class Model:
    """The model of the tables of ``racing.whole.Whole``."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole
        self.model = cp_model.CpModel()
        self.operators = range(len(whole["inputs"]))
        self.microbatches = range(whole["microbatches"])
        self.devices = range(len(whole["cap"]))
        self.horizon = max(1, self._longest() * whole["microbatches"])
        self.streams: dict[tuple[int, int], list[Any]] = {}
        self.channels: dict[tuple[int, int], list[Any]] = {}
        self.memory: dict[int, list[tuple[Any, int]]] = {}
        self._placement()
        self._parameters()
        self._tasks()
        self._precedences()
        self._transfers()
        self._activations()
        for those in (*self.streams.values(), *self.channels.values()):
            self.model.add_no_overlap(those)
        for d, held in self.memory.items():
            intervals, sizes = zip(*held, strict=True)
            self.model.add_cumulative(list(intervals), list(sizes), whole["cap"][d])
        makespan = self.model.new_int_var(0, self.horizon, "makespan")
        for end in self.end.values():
            self.model.add(makespan >= end)
        self.model.minimize(makespan)

    def _longest(self) -> int:
        """Ticks of a microbatch whose tasks and transfers run one after the other."""
        whole = self.whole
        tasks = sum(max(whole["lasts"][i][p][d] for d in whole["runs_on"][i]) for i in self.operators for p in range(3))
        hops = sum(max(map(max, whole["transfer"][i])) for i in self.operators)
        return int(tasks + 2 * hops * len(self.devices))

    def _bool(self) -> Any:
        return self.model.new_bool_var("")

    def _instant(self) -> Any:
        return self.model.new_int_var(0, self.horizon, "")

    def _placement(self) -> None:
        """``on[i, m, d]``: operator i runs microbatch m on device d, where the copy that m uses has it."""
        whole, model, copies = self.whole, self.model, range(self.whole["copies"])
        self.uses = {(m, c): self._bool() for m in self.microbatches for c in copies}
        for m in self.microbatches:
            model.add_exactly_one(self.uses[m, c] for c in copies)
        self.at: dict[tuple[int, int, int], Any] = {}
        for members in whole["groups"]:
            for c in copies:
                shared = {d: self._bool() for d in self.devices}
                model.add_exactly_one(shared.values())
                for d in self.devices:
                    if any(d not in whole["runs_on"][i] for i in members):
                        model.add(shared[d] == 0)
                    for i in members:
                        self.at[c, i, d] = shared[d]
        self.on = {(i, m, d): self._bool() for i in self.operators for m in self.microbatches for d in self.devices}
        for (i, m, d), here in self.on.items():
            for c in copies:
                model.add(here == self.at[c, i, d]).only_enforce_if(self.uses[m, c])

    def _parameters(self) -> None:
        """A device holds the parameters of what it runs all step long, once."""
        for i in self.operators:
            for d in self.devices:
                there = self._bool()
                for m in self.microbatches:
                    self.model.add_implication(self.on[i, m, d], there)
                always = self.model.new_optional_fixed_size_interval_var(0, self.horizon, there, "")
                self._holds(d, always, self.whole["parameters"][i])

    def _tasks(self) -> None:
        """An interval for every device that may run a task. Microbatches of a single copy are in order."""
        whole, model = self.whole, self.model
        self.start: dict[tuple[int, int, int], Any] = {}
        self.end: dict[tuple[int, int, int], Any] = {}
        for i in self.operators:
            for p in whole["passes"][i]:
                for m in self.microbatches:
                    start, end = self._instant(), self._instant()
                    self.start[i, p, m], self.end[i, p, m] = start, end
                    for d in whole["runs_on"][i]:
                        lasts = whole["lasts"][i][p][d]
                        here = model.new_optional_interval_var(start, lasts, end, self.on[i, m, d], "")
                        self.streams.setdefault((d, int(whole["on_comm"][i])), []).append(here)
                    if whole["copies"] == 1 and m:
                        model.add(self.start[i, p, m - 1] <= start)

    def _precedences(self) -> None:
        """Forward passes in the order of the graph, gradients back, weight gradients last."""
        model, start, end = self.model, self.start, self.end
        for i in self.operators:
            for m in self.microbatches:
                for j in self.whole["inputs"][i]:
                    model.add(start[i, 0, m] >= end[j, 0, m])
                    if self.whole["training"]:
                        model.add(start[j, 1, m] >= end[i, 1, m])
                if self.whole["training"]:
                    model.add(start[i, 1, m] >= end[i, 0, m])
                    if 2 in self.whole["passes"][i]:
                        model.add(start[i, 2, m] >= end[i, 1, m])

    def _transfers(self) -> None:
        """Outputs to every other device that reads them, gradients back."""
        self.sent: dict[tuple[int, int, int, int, int], tuple[Any, Any]] = {}
        self.leaves: dict[tuple[int, int, int], list[tuple[Any, Any]]] = {}  # (operator, microbatch, device)
        for i, readers in enumerate(self.whole["consumers"]):
            for m in self.microbatches:
                for d in self.devices:
                    for e in self.devices:
                        if d != e and readers:
                            self._between(i, m, d, e, readers)

    def _between(self, i: int, m: int, d: int, e: int, readers: list[int]) -> None:
        """Operator i on d, readers on e: its output from d to e, its gradient back."""
        whole, model = self.whole, self.model
        sent = self._bool()
        for j in readers:
            model.add_bool_or([sent, ~self.on[i, m, d], ~self.on[j, m, e]])
        model.add_implication(sent, self.on[i, m, d])
        model.add_bool_or([~sent, *(self.on[j, m, e] for j in readers)])
        for p, source, target in ((0, d, e), (1, e, d)) if whole["training"] else ((0, d, e),):
            lasts = whole["transfer"][i][source][target]
            if lasts == 0:
                continue
            start, end = self._instant(), self._instant()
            there = model.new_optional_interval_var(start, lasts, end, sent, "")
            self.sent[i, p, m, source, target] = sent, start
            self.channels.setdefault((source, target), []).append(there)
            for one in (source, target):
                if whole["exclusive"][one]:
                    self.streams.setdefault((one, 0), []).append(there)
            if p == 0:
                model.add(start >= self.end[i, 0, m]).only_enforce_if(sent)
                self.leaves.setdefault((i, m, d), []).append((sent, end))
                for j in readers:
                    model.add(self.start[j, 0, m] >= end).only_enforce_if(sent, self.on[j, m, e])
            else:
                model.add(self.start[i, 1, m] >= end).only_enforce_if(sent)
                for j in readers:
                    model.add(start >= self.end[j, 1, m]).only_enforce_if(sent, self.on[j, m, e])

    def _activations(self) -> None:
        """Held from the start of F to the end of I, in part to that of W; in inference until all have read it."""
        whole, model = self.whole, self.model
        for i in self.operators:
            size, late = whole["activation"][i], whole["held"][i]
            for m in self.microbatches if size else ():
                for d in whole["runs_on"][i]:
                    if whole["training"]:
                        self._until(i, m, d, self.end[i, 1, m], size - late)
                        if late:
                            self._until(i, m, d, self.end[i, 2, m], late)
                        continue
                    released = self._instant()
                    model.add(released >= self.end[i, 0, m])
                    for j in whole["consumers"][i]:
                        model.add(released >= self.end[j, 0, m]).only_enforce_if(self.on[j, m, d])
                    for sent, end in self.leaves.get((i, m, d), []):
                        model.add(released >= end).only_enforce_if(sent)
                    self._until(i, m, d, released, size)

    def _until(self, i: int, m: int, d: int, released: Any, size: int) -> None:
        lasts, begin = self._instant(), self.start[i, 0, m]
        self._holds(d, self.model.new_optional_interval_var(begin, lasts, released, self.on[i, m, d], ""), size)

    def _holds(self, d: int, interval: Any, size: int) -> None:
        if size > 0 and self.whole["cap"][d] is not None:
            self.memory.setdefault(d, []).append((interval, size))

    def found(self, solver: cp_model.CpSolver) -> dict[str, Any]:
        """The schedule, for ``racing.whole.timetable``."""
        value = solver.boolean_value
        copies = range(self.whole["copies"])
        return {
            "copy_of": [next(c for c in copies if value(self.uses[m, c])) for m in self.microbatches],
            "device_of": [
                [next(d for d in self.devices if value(self.at[c, i, d])) for i in self.operators] for c in copies
            ],
            "start": [[*task, solver.value(start)] for task, start in self.start.items()],
            "sent": [[*which, solver.value(start)] for which, (sent, start) in self.sent.items() if value(sent)],
        }


def main() -> None:
    """Solve a whole problem until the limit."""
    path, reporter, limit, _ = arguments()
    solve(json.loads(Path(path).read_text(encoding="utf-8")), reporter, limit)


def solve(whole: dict[str, Any], reporter: Reporter, limit: float) -> None:
    """Report plans, bounds, and at last the schedule."""
    tick = whole["tick"]
    built = Model(whole)
    reporter.news(built=len(built.start))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = WORKERS
    solver.parameters.max_time_in_seconds = max(0.1, limit - reporter.elapsed)
    solver.best_bound_callback = lambda bound: reporter.news(bound=bound * tick)
    status = solver.solve(built.model, Listener(reporter, tick))
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    reporter.news(
        solver.objective_value * tick if found else None,
        solver.best_objective_bound * tick if found else None,
        status=solver.status_name(status).lower(),
        whole=built.found(solver) if found else None,
    )


if __name__ == "__main__":
    main()
