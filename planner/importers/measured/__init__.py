"""Tables of measured operators: PipeDream, MSR, profiles."""
