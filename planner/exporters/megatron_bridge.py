"""A plan as overrides of a Megatron-Bridge recipe: a YAML file that is merged into its configuration.

Fields are those of ``ConfigContainer`` and the model providers at commit 067f987; ``process_config_with_overrides``
merges such a file over a recipe (``--config-file`` of the tutorials). Megatron-Bridge runs Megatron-Core: placement,
order and checks are those of ``--to megatron``.
"""

from __future__ import annotations

import json

import yaml

from planner.exporters import Exported
from planner.exporters.megatron import MegatronOptions, document_of, launch_of
from planner.exporters.megatron_settings import nested
from planner.plan.plan import Plan
from planner.problem import Problem

NOT_WITH_LAYOUT = {
    "num_layers_in_first_pipeline_stage": None,
    "num_layers_in_last_pipeline_stage": None,
    "account_for_embedding_in_pipeline_split": False,
    "account_for_loss_in_pipeline_split": False,
}
"""Fields of the model that recipes may set, and that Megatron-Core refuses beside a layout."""


class MegatronBridge:
    """The exporter."""

    name = "megatron-bridge"
    help = "Overrides of a Megatron-Bridge recipe, as YAML."
    options = MegatronOptions

    def export(self, plan: Plan, problem: Problem | None, options: MegatronOptions) -> Exported:
        """The YAML, and the layers beside it.

        Raises ``CannotExport`` where Megatron cannot run the plan, with the nearest plan that it can.
        """
        launch = launch_of(plan, problem, options.layers, options)
        document = nested(launch.settings)
        document["model"] |= NOT_WITH_LAYOUT
        head = f"# {launch.plan.graph.name} on {len(launch.placed.ranks)} pipeline ranks, as planned by planner.\n"
        text = head + yaml.safe_dump(document, sort_keys=False, width=1000)
        return Exported(text, {".json": json.dumps(document_of(launch), indent=1) + "\n"}, launch.notes)
