"""What every task and transfer of a finished plan waits for: a graph of events, for replays and for reports."""

from planner.events.build import Events, events_of, one_edge_each
from planner.events.edges import Wait
from planner.events.nodes import Nodes

__all__ = ["Events", "Nodes", "Wait", "events_of", "one_edge_each"]
