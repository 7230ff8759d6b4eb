"""The bench at operator level: the cases, the rivals of planner, and the page of results."""
