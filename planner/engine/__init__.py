"""Many independent pieces of work, behind ``concurrent.futures.Executor``: processes, Dask, or one handed in.

``work`` says what a piece of work is and what comes of it, ``store`` keeps results, ``executors`` runs them somewhere,
``engine`` hands them out, does what a dead worker lost again, and says what has ended.
"""

from planner.engine.engine import Engine
from planner.engine.executors import ExecutorSource, cores, dask, handed, processes
from planner.engine.store import Store
from planner.engine.work import Limits, Outcome, Refused, Work, stop_event

__all__ = [
    "Engine",
    "ExecutorSource",
    "Limits",
    "Outcome",
    "Refused",
    "Store",
    "Work",
    "cores",
    "dask",
    "handed",
    "processes",
    "stop_event",
]
