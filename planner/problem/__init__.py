"""What is to be planned: operators, graph, cluster, and the problem that they make up."""

from planner.problem.cluster import Cluster, Device, DeviceType, Link, NetworkLevel
from planner.problem.graph import (
    BASE,
    PASS_ORDER,
    STEP_ORDER,
    STEP_STREAMS,
    ByDevice,
    Graph,
    Mode,
    Operator,
    Origin,
    Pass,
    PassTime,
    Spot,
    Stream,
    Variant,
    Work,
)
from planner.problem.names import ProblemError
from planner.problem.placement import Placement, PlacementKey
from planner.problem.problem import Impossible, Problem
from planner.problem.step import Step, common_step

__all__ = [
    "BASE",
    "PASS_ORDER",
    "STEP_ORDER",
    "STEP_STREAMS",
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
    "PlacementKey",
    "Problem",
    "ProblemError",
    "Spot",
    "Step",
    "Stream",
    "Variant",
    "Work",
    "common_step",
]
