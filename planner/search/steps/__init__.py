"""The steps of the search, one file each; ``planner.search.programme`` has their order."""
