"""What several packages need: budgets of time and effort, the solver, threads, lists of lists as arrays."""
