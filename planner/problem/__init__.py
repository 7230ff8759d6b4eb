"""What is to be planned: operators, graph, cluster, and the problem that they make up."""

from planner.problem.cluster import Cluster, Device, DeviceType, Link, NetworkLevel
from planner.problem.graph import (
    PASS_ORDER,
    ByDevice,
    Graph,
    Mode,
    Operator,
    Origin,
    Pass,
    PassTime,
    Spot,
    Stream,
    Work,
)
from planner.problem.placement import Placement
from planner.problem.problem import Impossible, Problem, ProblemError
from planner.problem.step import Step, common_step

__all__ = [
    "PASS_ORDER",
    "ByDevice",
    "Cluster",
    "Device",
    "DeviceType",
    "Graph",
    "Impossible",
    "Link",
    "Mode",
    "NetworkLevel",
    "Operator",
    "Origin",
    "Pass",
    "PassTime",
    "Placement",
    "Problem",
    "ProblemError",
    "Spot",
    "Step",
    "Stream",
    "Work",
    "common_step",
]
