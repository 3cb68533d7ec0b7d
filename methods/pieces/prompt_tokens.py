"""Prompts as tokens: vectors put before a model's own token embeddings, whatever the architecture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.models.backbone import LoadedBackbone

# No token has this id, so the embedding layer knows where a vector is to be put.
PLACE = -1


class PromptTokens:
    """A place before the tokens of a model's input.

    Of a ViT they stand before the class token, without a position of their own. Of a text they are tokens
    like others: a model with absolute positions numbers them first. Of a seq2seq model they stand in the
    encoder. Padding on the left stays on the left.

    Attributes:
        vectors: what is put there, `(p, width)` or one set a row `(n, p, width)`; None for nothing.
    """

    def __init__(self, backbone: LoadedBackbone, most: int, length: int) -> None:
        """Hook into the model's embeddings, and try.

        Args:
            backbone: of kind image, encoder, seq2seq or causal.
            most: the largest number of vectors that will be put there.
            length: the largest number of tokens of a text.

        Raises:
            UserError: the architecture cannot take so many.
        """
        self.backbone = backbone
        self.vectors: Tensor | None = None
        self._places: Tensor | None = None
        try:
            self._hook()
            self._try(most, length)
        except (AttributeError, IndexError, ValueError, RuntimeError, TypeError) as error:
            text = "" if backbone.kind == "image" else f" before {length} tokens of text"
            raise UserError(
                f"the backbone {type(backbone.module).__name__} cannot take {most} prompt tokens{text}: "
                f"{' '.join(str(error).split())}"
            ) from error

    def _hook(self) -> None:
        if self.backbone.kind == "image":
            embeddings: Any = self.backbone.module.embeddings
            embeddings.register_forward_hook(self._put_before)
            return
        words = self.words()
        words.register_forward_pre_hook(self._make_places)
        words.register_forward_hook(self._fill_places)

    def words(self) -> nn.Embedding:
        """Return a text model's embedding layer; a seq2seq model's decoder has one of its own."""
        module: Any = self.backbone.module
        return (module.get_encoder() if self.backbone.kind == "seq2seq" else module).get_input_embeddings()

    @torch.no_grad()
    def _try(self, most: int, length: int) -> None:
        """Run one row with as many vectors as there will ever be, and see that its tokens grow by them."""
        given = sample(self.backbone, length)
        if self.backbone.kind in ("image", "encoder"):
            plain = self.backbone.module(**given).last_hidden_state
            prompted = self.hidden(given, plain.new_zeros(1, most, plain.shape[2]))
            if prompted.shape[1] != plain.shape[1] + most:
                raise ValueError("its tokens do not grow by them")
            return
        weight = self.words().weight
        targets = torch.ones(1, 1, dtype=torch.int64, device=weight.device)
        with self.holding(weight.new_zeros(most, weight.shape[1])):
            batch = self.with_places(Batch(given, targets=targets, rows=[0]))
            labels = {"labels": targets} if self.backbone.kind == "seq2seq" else {}
            self.backbone.module(**batch.inputs, **labels)

    @contextmanager
    def holding(self, vectors: Tensor) -> Iterator[None]:
        """Within the context, put these vectors before every input that has places for them."""
        self.vectors = vectors
        try:
            yield
        finally:
            self.vectors = None

    def hidden(self, inputs: dict[str, Tensor], vectors: Tensor) -> Tensor:
        """Return the last states of prompts and tokens, `(n, p + length, width)`, of an image or encoder.

        Args:
            inputs: of the backbone, padded on the right.
            vectors: `(n, p, width)`.
        """
        with self.holding(vectors):
            batch = self.with_places(Batch(inputs))
            return self.backbone.module(**batch.inputs).last_hidden_state

    def with_places(self, batch: Batch) -> Batch:
        """Return a batch of texts with room for the vectors held before each row's first real token.

        While a causal model is trained, nothing is asked for at the new places.
        """
        if self.backbone.kind == "image" or self.vectors is None:
            return batch
        count = self.vectors.shape[-2]
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        rows, length = ids.shape
        padding = (mask == 0).sum(1, keepdim=True) if batch.left else mask.new_zeros(rows, 1)
        column = torch.arange(length + count, device=ids.device).expand(rows, -1)
        # Of a row with what is new behind it: padding as it was, then the new, then the tokens.
        source = torch.where(column < padding + count, length + column - padding, column - count)
        source = torch.where(column < padding, column, source)

        def put(values: Tensor, new: int) -> Tensor:
            return torch.cat([values, values.new_full((rows, count), new)], 1).gather(1, source)

        targets = batch.targets
        if batch.left and targets is not None and targets.shape == ids.shape:
            targets = put(targets, -100)
        inputs = {"input_ids": put(ids, PLACE), "attention_mask": put(mask, 1)}
        return replace(batch, inputs=batch.inputs | inputs, targets=targets)

    def _put_before(self, module: nn.Module, given: Any, embedded: Tensor) -> Tensor | None:
        if self.vectors is None:
            return None
        vectors = self.vectors.to(embedded).expand(len(embedded), -1, -1)
        return torch.cat([vectors, embedded], dim=1)

    def _make_places(self, module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        self._places = given[0] == PLACE
        return (given[0].masked_fill(self._places, 0),)

    def _fill_places(self, module: nn.Module, given: Any, embedded: Tensor) -> Tensor | None:
        places = self._places
        if self.vectors is None or places is None or not places.any():
            return None
        vectors = self.vectors.to(embedded).expand(len(embedded), -1, -1)
        return embedded.masked_scatter(places[..., None], vectors)


def sample(backbone: LoadedBackbone, length: int) -> dict[str, Tensor]:
    """Return one row of inputs to try an image or text model with: a blank image, or so many tokens."""
    module: Any = backbone.module
    first = next(module.parameters())
    if backbone.kind == "image":
        config = module.config
        return {"pixel_values": first.new_zeros(1, config.num_channels, config.image_size, config.image_size)}
    tokens = torch.ones(1, length, dtype=torch.int64, device=first.device)
    return {"input_ids": tokens, "attention_mask": tokens}
