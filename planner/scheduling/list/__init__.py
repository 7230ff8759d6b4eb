"""List scheduling: the compiled scheduler, its rules, and the search over them."""
