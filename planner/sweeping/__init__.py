"""Many solves of one graph and cluster: a grid of flags, what its points share, and the frontier that comes out.

``point`` is one solve, ``order`` says which points allow the plans of which, ``running`` solves them on an engine,
``share`` passes plans and bounds on, ``rows``, ``frontier`` and ``page`` write what is found.
"""

from planner.sweeping.point import Point
from planner.sweeping.rows import Row
from planner.sweeping.running import Sweep

__all__ = ["Point", "Row", "Sweep"]
