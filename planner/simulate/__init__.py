"""Replays of a finished plan with disturbed times: how much longer the step takes."""

from planner.simulate.baselines import baseline_events, plan_events
from planner.simulate.disturb import Disturbance
from planner.simulate.replays import Outcome, replayed_makespans, simulate

__all__ = ["Disturbance", "Outcome", "baseline_events", "plan_events", "replayed_makespans", "simulate"]
