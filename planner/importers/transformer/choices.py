"""``--recompute choose``: what ``none`` gives as the operators, what the other settings give as their variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.importers.document import BlockDraft, EntryDraft, OperatorDraft, VariantDraft
from planner.importers.transformer.graph import TransformerGraph
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import Recompute, Setting

VARIANTS = (Recompute.SELECTIVE, Recompute.FULL)
"""The settings that become variants, in the file's order."""


def entries_of(model: Model, setting: Setting) -> list[EntryDraft]:
    """The entries of the graph under the setting."""
    if setting.recompute is not Recompute.CHOOSE:
        return TransformerGraph(model, setting).entries
    base, *others = (
        TransformerGraph(model, replace(setting, recompute=each)).entries for each in (Recompute.NONE, *VARIANTS)
    )
    return _with_variants(base, dict(zip(VARIANTS, others, strict=True)))


def _with_variants(base: Sequence[EntryDraft], others: Mapping[Recompute, Sequence[EntryDraft]]) -> list[EntryDraft]:
    """The entries of ``base`` with those of ``others`` as variants: recomputation changes figures, never structure."""
    return [_entry(entry, {which: entries[i] for which, entries in others.items()}) for i, entry in enumerate(base)]


def _entry(base: EntryDraft, others: Mapping[Recompute, EntryDraft]) -> EntryDraft:
    if isinstance(base, OperatorDraft):
        operators = {which: other for which, other in others.items() if isinstance(other, OperatorDraft)}
        return replace(base, variants=tuple(_variants(base, operators)))
    blocks = {which: other.operators for which, other in others.items() if isinstance(other, BlockDraft)}
    return replace(base, operators=_with_variants(base.operators, blocks))


def _variants(base: OperatorDraft, others: Mapping[Recompute, OperatorDraft]) -> list[VariantDraft]:
    """Those that change something."""
    found = [
        VariantDraft(which.value, other.times, other.activation, other.held_for_weight_grad)
        for which, other in others.items()
    ]
    same = VariantDraft("", base.times, base.activation, base.held_for_weight_grad)
    return [variant for variant in found if replace(variant, name="") != same]
