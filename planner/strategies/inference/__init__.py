"""Which strategy serves a model best: prompts of one length, answers of another, at the least GPU time a token.

The way of the data: ``question`` -> ``phases`` (graphs of prefill and decode, as loads of layers) -> ``cuts`` (the best
stages, exactly) -> ``evaluate`` (figures of a strategy) -> ``search`` (all strategies) -> ``best`` (with plans of
the best) -> ``answer``, ``text``, ``folder`` (how it is shown and written).
"""
