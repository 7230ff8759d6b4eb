"""The entries of ``graph.yaml`` for a transformer under a setting: embedding, towers, layers, head.

The file has the order of the model, so contiguous cuts of it are pipeline stages.
"""

from __future__ import annotations

from dataclasses import replace

from planner.importers.document import EntryDraft
from planner.importers.transformer.drafts import Counted, Drafts
from planner.importers.transformer.gathers import with_gathers
from planner.importers.transformer.layers import Layers, blocks, renamed
from planner.importers.transformer.model import Model, Vision
from planner.importers.transformer.parts import Batch, Parts
from planner.importers.transformer.setting import Setting, TiedEmbeddings

VOCABULARY = "vocabulary"


class TransformerGraph:
    """The entries of one model under one setting, and their costs."""

    def __init__(self, model: Model, setting: Setting) -> None:
        self.model, self.setting = model, setting
        self.drafts, self.parts = Drafts(setting), Parts(setting)
        self.entries: list[EntryDraft] = []
        self.decoder_batch = self._batch(setting.decoder_tokens if model.encoder else setting.tokens)
        shared = model.head.tied or model.encoder is not None
        self.label = VOCABULARY if shared and setting.tied is TiedEmbeddings.COLOCATE else None
        self._assemble()

    @property
    def counted(self) -> list[Counted]:
        """The costs of the entries."""
        return self.drafts.counted

    def _batch(self, tokens: int) -> Batch:
        return Batch(self.setting.micro_batch, tokens, self.setting.context, self.setting.cached or 0)

    def _state(self, hidden: int, batch: Batch) -> float:
        """Bytes of a hidden state on this rank."""
        return batch.tokens / self.setting.tensor * hidden * self.setting.elements.activation

    def _assemble(self) -> None:
        model = self.model
        inputs: tuple[str, ...] = ("embed",)
        encoder: tuple[str, Batch] | None = None
        if model.encoder is not None:
            encoder = self._encoder()
            inputs = ("decoder_embed",)
            self._embed("decoder_embed", self.decoder_batch, again=True)
        else:
            self._embed("embed", self.decoder_batch)
        if model.vision is not None:
            self._vision(model.vision)
            inputs = ("embed", "projector")
        stack = model.decoder.seen_at(max(self.decoder_batch.seen, self.setting.reserved or 0))
        builder = Layers(self.drafts, self.parts, stack.hidden, self.decoder_batch)
        base = "decoder" if encoder else "layer"
        self.entries += blocks(builder, stack.layers, base, inputs, encoder)
        last = self.entries[-1].name
        label = self.label if model.head.tied else None
        if model.mtp and self.setting.mtp:
            label = label or "head"
            self._multi_token_prediction(builder, last, label)
        self._head("head", (last,), label, counted=True)
        if self.setting.gathers:
            self.entries = list(with_gathers(self.entries))

    def _embed(self, name: str, batch: Batch, again: bool = False) -> None:
        """The embedding; ``again``: that of the decoder, which shares the encoder's table."""
        hidden = self.model.decoder.hidden
        cost = self.parts.embedding(self.model, hidden, batch.tokens)
        if again and self.label is not None:
            cost = replace(cost, vectors=cost.vectors - self._table(self.model.embedding_width))
        self.entries.append(
            self.drafts.compute(
                name, cost, self._state(hidden, batch), batch.tokens * 8, inputs=None, colocate=self.label
            )
        )

    def _encoder(self) -> tuple[str, Batch]:
        """T5's encoder; every layer of the decoder reads it."""
        stack = self.model.encoder
        assert stack is not None
        batch = self._batch(self.setting.tokens)
        self._embed("embed", batch)
        stack = stack.seen_at(batch.length)
        builder = Layers(self.drafts, self.parts, stack.hidden, batch)
        self.entries += blocks(builder, stack.layers, "encoder", ("embed",))
        state = self._state(stack.hidden, batch)
        cost = self.parts.normed(batch.tokens, stack.hidden, stack.final_norm)
        self.entries.append(self.drafts.compute("encoder_norm", cost, state, state, (self.entries[-1].name,)))
        return "encoder_norm", batch

    def _vision(self, vision: Vision) -> None:
        """The tower, image by image, and the projector. Images are not split by sequence parallelism."""
        setting, hidden = self.setting, vision.stack.hidden
        patches = image_patches(vision, setting)
        batch = Batch(setting.micro_batch * setting.images, patches + vision.class_token)
        state, frozen = self._state(hidden, batch), setting.freeze_vision
        pixels = batch.tokens * vision.patch_inputs * setting.elements.activation
        cost = self.parts.patches(vision, patches + vision.class_token, batch.tokens)
        self.entries.append(self.drafts.compute("patches", cost, state, pixels, inputs=(), frozen=frozen))
        stack = vision.stack.seen_at(batch.length)
        builder = Layers(self.drafts, self.parts, hidden, batch, frozen)
        self.entries += blocks(builder, stack.layers, "vision", ("patches",))
        tower = self.entries[-1].name
        tokens = setting.micro_batch * setting.images * patches / vision.merged
        projected = replace(batch, length=patches).tokens
        cost = self.parts.projector(vision, projected)
        output = tokens / setting.tensor * vision.projector[-1] * setting.elements.activation
        self.entries.append(self.drafts.compute("projector", cost, output, state, (tower,)))

    def _multi_token_prediction(self, builder: Layers, last: str, label: str) -> None:
        """DeepSeek-V3's further tokens (arXiv 2412.19437, section 2.2): a matrix, a layer and the shared head each.

        It reads the hidden states and the embeddings; its head is on the device of the model's head.
        """
        hidden, batch = self.model.decoder.hidden, self.decoder_batch
        state = self._state(hidden, batch)
        for number in range(self.model.mtp):
            prefix = "mtp_" if self.model.mtp == 1 else f"mtp{number}_"
            cost = self.parts.combined(hidden, batch.tokens)
            first = self.drafts.compute(f"{prefix}join", cost, state, 2 * state, (last, "embed"))
            layer = self.model.decoder.layers[-1]
            self.entries += [first, *renamed(builder.operators(layer), prefix, (first.name,))]
            last = self.entries[-1].name
            self._head(f"{prefix}head", (last,), label, counted=False)

    def _head(self, name: str, inputs: tuple[str, ...], label: str | None, counted: bool) -> None:
        """The head. One that is not ``counted`` shares the matrix of another head on its device; a tied and colocated
        one shares that of the embedding."""
        model, batch, setting = self.model, self.decoder_batch, self.setting
        hidden, own = model.decoder.hidden, self._state(model.decoder.hidden, batch)
        tokens = batch.sequences if setting.last_logits else batch.tokens
        cost = self.parts.head(model, hidden, tokens, loss=setting.training)
        if not counted or (model.head.tied and self.label is not None):
            cost = replace(cost, vectors=cost.vectors - self._table(model.head.width))
        logits = tokens * model.vocabulary / setting.tensor * setting.elements.activation
        output = 0.0 if setting.training else logits
        self.entries.append(self.drafts.compute(name, cost, output, own, inputs, colocate=label))

    def _table(self, width: int | None) -> float:
        """Weights of this rank's part of the vocabulary."""
        return (width or self.model.decoder.hidden) * self.model.vocabulary / self.setting.tensor


def image_patches(vision: Vision, setting: Setting) -> int:
    """Patches of one image."""
    edge = (setting.image_pixels or vision.image_pixels or 0) // vision.patch_pixels
    return edge * edge
