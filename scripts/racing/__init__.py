"""The race of planner against rivals on many cases: `python scripts/race.py`."""
