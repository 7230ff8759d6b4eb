"""Which strategy shares a model among the GPUs of a cluster best.

The way of the data: ``request`` (the question) -> ``space`` (all strategies) -> ``quick`` and ``evaluate`` (bounds and
plans of one, where the engine works) -> ``search`` (branch and bound) -> ``answer`` (the document), ``text`` and
``page`` (how it is shown), ``launch`` (files of the best).
"""
