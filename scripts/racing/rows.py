"""A MIP under construction, in the form that HiGHS takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import highspy
import numpy as np

Terms = list[tuple[int, float]]


@dataclass
class Rows:
    """Columns and rows of a MIP."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    start: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)

    def column(self, lower: float, upper: float, integer: bool = False) -> int:
        """Add a variable."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.integer.append(integer)
        return len(self.lower) - 1

    def at_least(self, terms: Terms, low: float) -> None:
        """Add the row sum of terms >= low. HiGHS takes each column once, so terms of one column are added up."""
        total: dict[int, float] = {}
        for column, value in terms:
            total[column] = total.get(column, 0.0) + value
        self.index += total.keys()
        self.value += total.values()
        self.start.append(len(self.index))
        self.low.append(low)

    def lp(self, minimised: int) -> highspy.HighsLp:
        """The model for HiGHS, which minimises one column."""
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.lower), len(self.low)
        cost = np.zeros(lp.num_col_)
        cost[minimised] = 1.0
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.array(self.lower, float), np.array(self.upper, float)
        lp.row_lower_, lp.row_upper_ = np.array(self.low), np.full(lp.num_row_, highspy.kHighsInf)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
        lp.a_matrix_.start_ = np.array(self.start)
        lp.a_matrix_.index_, lp.a_matrix_.value_ = np.array(self.index, np.int32), np.array(self.value)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[integer] for integer in self.integer]
        return lp
