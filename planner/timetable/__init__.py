"""When every task and transfer of a step starts, and what follows from it: memory, figures, the period."""
