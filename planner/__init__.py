"""planner: operator-level plans for distributed deep learning, with a proven bound."""

__version__ = "0.1.0"
