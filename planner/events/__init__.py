"""The graph of events of a finished plan: what every task and transfer waits for. Replays and reports use it."""

from planner.events.build import Events, events_of, one_edge_each
from planner.events.edges import Wait
from planner.events.nodes import Nodes

__all__ = ["Events", "Nodes", "Wait", "events_of", "one_edge_each"]
