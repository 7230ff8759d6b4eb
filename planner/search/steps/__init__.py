"""One file a step of the search; ``planner.search.programme`` says which comes when."""
