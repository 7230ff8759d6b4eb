"""Which strategy shares a model among the GPUs of a cluster best."""
