"""Give placeholders in prompts their own vectors, in the table of tokens of a text encoder or in its output."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional


@dataclass(eq=False)
class Vectors:
    """The vectors of one placeholder in one text encoder.

    ``inputs`` (n, D) are rows of the table of tokens. ``outputs`` (n, H), in float32, replace the encoder's output at the
    positions of the placeholder; the inputs are then zero.
    """

    uuid: str
    placeholder: str
    inputs: Parameter
    outputs: Parameter | None = None
    spread: float = field(init=False)
    """The mean standard deviation of the first outputs."""

    def __post_init__(self) -> None:
        self.spread = float("nan") if self.outputs is None else spread(self.outputs)

    @property
    def trained(self) -> Parameter:
        """Return the vectors that training changes."""
        return self.inputs if self.outputs is None else self.outputs

    @property
    def tokens(self) -> list[str]:
        """Return a word for each vector that is no other word. The tokenizer turns each into one token."""
        name = sha256(self.uuid.encode()).hexdigest()[:32]
        return [f"<{name}-{number}>" for number in range(len(self.inputs))]


def spread(vectors: Tensor) -> float:
    """Return the mean standard deviation of vectors (n, D)."""
    return float(vectors.detach().std(dim=1).mean())


def tables_of(encoder: Any) -> list[nn.Embedding]:
    """Return the modules of a text encoder that look up its tokens; T5 has two with the same weight."""
    table = encoder.get_input_embeddings().weight
    return [module for module in encoder.modules() if isinstance(module, nn.Embedding) and module.weight is table]


class TextEmbeddings:
    """All placeholders of one text encoder, in the order in which prompts are searched for them.

    The tokenizer is a copy with the new tokens, whose numbers follow those of ``original``, which files contain.
    """

    def __init__(self, original: Any, encoder: Any, vectors: Sequence[Vectors]) -> None:
        self.vectors = tuple(vectors)
        self.original = original
        self.tokenizer = copy.deepcopy(original)
        for one in vectors:
            self.tokenizer.add_tokens(one.tokens)
        self._known = len(original)
        tables = tables_of(encoder)
        self._weight = tables[0].weight
        with torch.no_grad():
            self._median_norm = float(self._weight.norm(dim=1).median())
        for table in tables:
            table.forward = self._looked_up  # type: ignore[method-assign, assignment]

    def expanded(self, prompt: str) -> str:
        """Return a prompt with each placeholder replaced by its tokens."""
        for one in self.vectors:
            prompt = prompt.replace(one.placeholder, "".join(one.tokens))
        return prompt

    def _looked_up(self, tokens_BL: Tensor) -> Tensor:
        """Return the rows of the table for original tokens, zeros where it has none, and the inputs of placeholders."""
        in_table_BL = tokens_BL < min(self._known, len(self._weight))
        rows_BLD = functional.embedding(tokens_BL.where(in_table_BL, 0), self._weight)
        inputs_ND = torch.cat([one.inputs for one in self.vectors])
        new_BL = tokens_BL >= self._known
        inputs_BLD = functional.embedding((tokens_BL - self._known).where(new_BL, 0), inputs_ND)
        return torch.where(new_BL[..., None], inputs_BLD, rows_BLD * in_table_BL[..., None])

    def with_outputs(self, tokens_BL: Tensor, hidden_BLD: Tensor) -> Tensor:
        """Return hidden states with the outputs of placeholders at their positions."""
        first = self._known
        for one in self.vectors:
            if one.outputs is not None:
                number_BL = (tokens_BL - first).to(hidden_BLD.device)
                there_BL = (number_BL >= 0) & (number_BL < len(one.outputs))
                outputs_BLD = functional.embedding(number_BL.where(there_BL, 0), one.outputs)
                hidden_BLD = torch.where(there_BL[..., None], outputs_BLD, hidden_BLD.float())
            first += len(one.inputs)
        return hidden_BLD

    @torch.no_grad()
    def preserve_norms(self) -> None:
        """Scale trained inputs to the median norm of the table, and trained outputs to the spread of the first ones."""
        for one in self._trained():
            if one.outputs is None:
                one.inputs.copy_(functional.normalize(one.inputs) * self._median_norm)
            else:
                one.outputs.mul_(one.spread / spread(one.outputs))

    def _trained(self) -> Iterator[Vectors]:
        return (one for one in self.vectors if one.trained.requires_grad)
