"""A thin layer over highspy's arrays: build a model row by row, pass it at once, read what is proven.

HiGHS specifics, so that they stand in one place: statuses are never trusted without solution and bound; the
scheduler of its threads belongs to the thread that solves; a deadline and a stop reach into the solver through its
interrupt callbacks; 1.14.0 returns wrong optima on small MIPs (the dependencies exclude it, and a test keeps a case).
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.common.threads import side_by_side

INFINITY = float(highspy.kHighsInf)
WITHOUT_PRESOLVE = 5_000
"""Columns up to which a second solve can do without presolve; larger models get another seed."""

SOON = 5_000
"""Columns up to which a linear program is solved before a stop matters. It is not asked for one, since it would ask at
each iteration, and wait each time until other threads leave it Python's lock."""

NODES_AT_MOST = 2**31 - 1
"""The largest limit of nodes that HiGHS takes."""


class _InUse(threading.local):
    """How many threads HiGHS was last told to use, by the thread that asks: each has a scheduler of its own."""

    threads: int | None = None


_in_use = _InUse()


@dataclass(frozen=True)
class Outcome:
    """What a solve has shown. ``bound`` is proven for the model; ``values`` is its best solution or None."""

    infeasible: bool
    optimal: bool
    values: npt.NDArray[np.float64] | None
    objective: float
    bound: float
    iterations: int = 0  # of the simplex method: what the solve cost, the same every time
    nodes: int = 0  # of the branch-and-bound tree; at least 1 where anything was solved


@dataclass
class Model:
    """A minimisation model under construction: columns with bounds and costs, rows with two sides."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    row_start: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def variable(self, lower: float = 0.0, upper: float = INFINITY, cost: float = 0.0, integer: bool = False) -> int:
        """Add a column; its number."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.cost.append(cost)
        self.integer.append(integer)
        return len(self.cost) - 1

    def binary(self, cost: float = 0.0) -> int:
        """Add a 0-1 column."""
        return self.variable(0.0, 1.0, cost, True)

    def row(
        self, columns: Sequence[int], values: Sequence[float], lower: float = -INFINITY, upper: float = INFINITY
    ) -> None:
        """Add lower <= sum of values x columns <= upper; a column that occurs twice counts with the sum."""
        if len(set(columns)) == len(columns) == len(values):
            self.index.extend(columns)
            self.value.extend(values)
        else:
            total: dict[int, float] = {}
            for column, value in zip(columns, values, strict=True):
                total[column] = total.get(column, 0.0) + value
            self.index.extend(total)
            self.value.extend(total.values())
        self.row_start.append(len(self.index))
        self.row_lower.append(lower)
        self.row_upper.append(upper)

    def keep_rows(self, those: Sequence[int], first: int) -> None:
        """Leave out all rows from number ``first`` on but those."""
        rows = [
            (
                self.index[self.row_start[k] : self.row_start[k + 1]],
                self.value[self.row_start[k] : self.row_start[k + 1]],
                self.row_lower[k],
                self.row_upper[k],
            )
            for k in those
        ]
        begin = self.row_start[first]
        del self.index[begin:], self.value[begin:], self.row_start[first + 1 :]
        del self.row_lower[first:], self.row_upper[first:]
        for columns, values, lower, upper in rows:
            self.row(columns, values, lower, upper)

    def activity(self, row: int, values: npt.NDArray[np.float64]) -> float:
        """The sum of values x columns of a row."""
        begin, end = self.row_start[row], self.row_start[row + 1]
        return float(values[self.index[begin:end]] @ np.array(self.value[begin:end]))

    def solve(
        self,
        control: Control,
        *,
        threads: int = 1,
        gap: float = 0.0,
        nodes: int | None = None,
        start: Sequence[float] | None = None,
        certify: bool = False,
    ) -> Outcome:
        """Solve before the control's deadline, within ``nodes`` and its effort; ``start``: a solution to begin with.

        The nodes are for the caller to spend: this may run on a thread beside others. One thread a solve: more would
        hardly be faster, and what a limit of nodes leaves could depend on their number.

        HiGHS 1.15.1 now and then calls a feasible model infeasible (big-M rows with fractions; a test keeps a case).
        Where what it says is to be a proof, ``certify`` solves again by another route, without presolve, and claims
        only what both have shown; a solve that was cut off then proves nothing.
        """
        plain = len(self.cost) <= WITHOUT_PRESOLVE
        routes: list[dict[str, Any]] = [{}, {"random_seed": 1, **({"presolve": "off"} if plain else {})}]

        def solved(route: Mapping[str, Any]) -> Outcome:
            return self._solve(control, threads, gap, nodes, start, route)

        if certify and any(self.cost) and not any(self.integer):  # the second will hardly be for nothing
            first, second = side_by_side(solved, routes, control.threads)
        else:
            first, second = solved(routes[0]), None
        if not certify or (first.values is not None and not any(self.cost)):
            return first  # a solution of a feasibility question needs no certificate
        if not (first.infeasible or first.optimal):
            return replace(first, bound=-math.inf)
        second = solved(routes[1]) if second is None else second
        if not (second.infeasible or second.optimal):
            return replace(first, infeasible=False, optimal=False, bound=-math.inf)
        best = first if first.objective <= second.objective else second
        return replace(
            best,
            infeasible=first.infeasible and second.infeasible,
            bound=min(first.bound, second.bound),
            nodes=first.nodes + second.nodes,
        )

    def _solve(
        self,
        control: Control,
        threads: int,
        gap: float,
        nodes: int | None,
        start: Sequence[float] | None,
        options: Mapping[str, Any],
    ) -> Outcome:
        budget = control.remaining
        if budget <= 0:
            return Outcome(False, False, None, math.inf, -math.inf)
        solver = _solver(threads)
        for name, value in options.items():
            solver.setOptionValue(name, value)
        solver.setOptionValue("time_limit", budget)
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("mip_abs_gap", 1e-9)
        if nodes is not None or math.isfinite(control.effort):
            solver.setOptionValue("mip_max_nodes", control.at_most(NODES_AT_MOST if nodes is None else nodes))
        self._pass_to(solver)
        if start is not None:
            solution = highspy.HighsSolution()
            solution.col_value = [float(v) for v in start]
            solution.value_valid = True
            solver.setSolution(solution)

        def stop(event: Any) -> None:
            if control.over:
                event.interrupt()

        if any(self.integer) or len(self.cost) > SOON:
            solver.cbMipInterrupt.subscribe(stop)
            solver.cbSimplexInterrupt.subscribe(stop)
        try:
            status = solver.run()
        except ValueError as error:  # seen of 1.15.1 on an integer program with cuts: "vector::reserve"
            warnings.warn(f"HiGHS gave up on a model ({error})", RuntimeWarning, stacklevel=2)
            return Outcome(False, False, None, math.inf, -math.inf)
        if status == highspy.HighsStatus.kError:
            warnings.warn(f"HiGHS gave up on a model ({solver.getModelStatus()})", RuntimeWarning, stacklevel=2)
        return self._outcome(solver)

    def _pass_to(self, solver: Any) -> None:
        """Hand the model over as arrays: element by element it would often take longer than the solve."""
        kinds = (int(highspy.HighsVarType.kContinuous), int(highspy.HighsVarType.kInteger))
        shape = (len(self.cost), len(self.row_lower), len(self.index))
        columns = (np.array(self.cost), np.array(self.lower), np.array(self.upper))
        rows = (np.array(self.row_lower), np.array(self.row_upper))
        matrix = (np.array(self.row_start[:-1], dtype=np.int32), np.array(self.index, dtype=np.int32))
        integer = np.array([kinds[each] for each in self.integer], dtype=np.int32)
        form, sense = int(highspy.MatrixFormat.kRowwise), int(highspy.ObjSense.kMinimize)
        solver.passModel(*shape, form, sense, 0.0, *columns, *rows, *matrix, np.array(self.value), integer)

    def _outcome(self, solver: Any) -> Outcome:
        status = solver.getModelStatus()
        info = solver.getInfo()
        feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        infeasible = status == highspy.HighsModelStatus.kInfeasible
        bound = -math.inf
        if any(self.integer):
            bound = float(info.mip_dual_bound)
        elif status == highspy.HighsModelStatus.kOptimal:
            bound = float(info.objective_function_value)
        return Outcome(
            infeasible=infeasible,
            optimal=status == highspy.HighsModelStatus.kOptimal,
            values=np.array(solver.getSolution().col_value) if feasible and not infeasible else None,
            objective=float(info.objective_function_value) if feasible else math.inf,
            bound=math.inf if infeasible else bound,
            iterations=max(0, int(info.simplex_iteration_count)),
            nodes=max(1, int(info.mip_node_count)),
        )


class Growing:
    """A linear model that is solved again and again while rows are added, each time from where the last solve ended.

    A solve that was cut off, and one whose end is no optimum, shows nothing.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.solver = _solver(1)
        self.solver.setOptionValue("presolve", "off")  # it would forget where the last solve ended
        model._pass_to(self.solver)
        self.passed = len(model.row_lower)

    def solve(self, control: Control) -> Outcome:
        """Solve the model with the rows that it has by now, on one thread, before the control's deadline."""
        if control.remaining <= 0:
            return Outcome(False, False, None, math.inf, -math.inf)
        self._pass_rows()
        use_threads(1)
        clock = self.solver.getRunTime()  # the limit counts from the first solve on
        self.solver.setOptionValue("time_limit", clock + control.remaining)
        self.solver.run()
        found = self.model._outcome(self.solver)
        return found if found.optimal else replace(found, infeasible=False, values=None, bound=-math.inf)

    def _pass_rows(self) -> None:
        model, first, last = self.model, self.passed, len(self.model.row_lower)
        if first == last:
            return
        begin = model.row_start[first]
        self.solver.addRows(
            last - first,
            np.array(model.row_lower[first:]),
            np.array(model.row_upper[first:]),
            len(model.index) - begin,
            np.array(model.row_start[first:last], dtype=np.int32) - begin,
            np.array(model.index[begin:], dtype=np.int32),
            np.array(model.value[begin:]),
        )
        self.passed = last


def use_threads(threads: int) -> None:
    """HiGHS's scheduler belongs to the calling thread; where its number of threads changes, it has to be reset.

    Otherwise HiGHS solves nothing and says so in the status of ``run`` only.
    """
    if _in_use.threads not in (None, threads):
        highspy.Highs.resetGlobalScheduler(True)
    _in_use.threads = threads


def _solver(threads: int) -> Any:
    """A silent solver."""
    use_threads(threads)
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", threads)
    solver.setOptionValue("random_seed", 0)
    return solver
