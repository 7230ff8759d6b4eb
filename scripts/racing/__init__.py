"""The race of the solver against rivals on many cases: `python scripts/race.py`."""
