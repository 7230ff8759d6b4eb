"""Plans: what ``plan.json`` holds, and how a timetable becomes one."""
