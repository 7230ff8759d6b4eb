"""The orders of a schedule: played, annealed, and improved by LNS windows."""
