"""The unknowns of texts: for each position the logits of the tokens that can be there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.tokens import tokens_in
from fl_sim.records import CapturedUpdate

_NEVER = -1e4
"""Logit of what is no token of a victim; its weight is exactly 0, and so is its derivative."""


class TextUnknowns:
    """Logits (N, L, k) for each victim, where k is the largest number of tokens among which a victim's are.

    Args:
        captures: one per victim.
        examples: N.
        precision: torch dtype of the inputs.
        device: where to compute.

    Attributes:
        shape: (N, L, k).
    """

    def __init__(
        self, captures: Sequence[CapturedUpdate], examples: int, *, precision: torch.dtype, device: str
    ) -> None:
        spec = captures[0].model.input
        self._vocabulary = spec.vocabulary
        every = torch.arange(spec.vocabulary)
        known = [every if found is None else found for found in tokens_in(captures)]
        most = max(map(len, known))
        tokens, offsets = torch.zeros(len(known), most, dtype=torch.int64), torch.full((len(known), most), _NEVER)
        for row, own in enumerate(known):
            tokens[row, : len(own)], offsets[row, : len(own)] = own, 0.0
        self._tokens, self._offsets = tokens.to(device), offsets.to(device=device, dtype=precision)
        self.shape = (examples, spec.height, most)

    def allowed(self, victim: int) -> Tensor:
        """Return the tokens (k,) that can be in a victim's texts."""
        return self._tokens[victim][self._offsets[victim] == 0].cpu()

    def inputs(self, logits: Tensor, victims: Tensor) -> Tensor:
        """Return inputs (R, N, 1, L, V) for logits (R, N*L*k) of the victims with these numbers (R,)."""
        tokens, offsets = (one[victims.to(one.device)].to(logits.device) for one in (self._tokens, self._offsets))
        weights = (logits.view(-1, *self.shape) + offsets.to(logits.dtype)[:, None, None]).softmax(-1)
        wide = weights.new_zeros(*weights.shape[:-1], self._vocabulary)
        return wide.scatter_add(-1, tokens[:, None, None].expand_as(weights), weights).unsqueeze(2)
