"""What frameworks can run of a plan, and how they run it: one module a runtime, listed in ``registry``."""
