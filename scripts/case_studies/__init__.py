"""The bench at operator level: which cases, what the planner is compared with, and the page of results."""
