"""Label recovery from the gradient of the last layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from fl_sim.errors import ConfigError

LabelRule = Literal["weights", "bias"]


def recover_labels(gradient: Mapping[str, Tensor], *, classes: int, count: int, rule: LabelRule) -> Tensor:
    """Return the labels (count,) recovered from the gradient of the last layer, in increasing order.

    With cross-entropy, the gradient at logit c is p_c - 1 for the true label and p_c > 0 for every other. The rule
    "weights" sums row c of the last weight gradient, which has that sign if the features are positive (Zhao, Mopuri
    and Bilen 2020, arXiv 2001.02610, eq. 3-4); "bias" reads it directly. For more than one example the `count` smallest
    entries are taken, which is correct if all labels differ (Yin et al. 2021, CVPR, section 3.2).

    Args:
        gradient: {parameter name: gradient}, in the order of the model's layers; the last suitable one is used.
        classes: number of classes.
        count: number of examples in the batch.
        rule: "weights" or "bias".

    Raises:
        ConfigError: the model has no last layer of the shape that the rule needs.
    """
    dimensions = 2 if rule == "weights" else 1
    last = [g for g in gradient.values() if g.dim() == dimensions and g.shape[0] == classes]
    if not last:
        raise ConfigError(
            f"attack.label_rule: '{rule}' needs a last layer with {classes} outputs; the update has none."
        )
    scores = last[-1].sum(1) if rule == "weights" else last[-1]
    chosen = scores.argsort(stable=True)[:count]
    return torch.sort(chosen.repeat(-(-count // len(chosen)))[:count]).values.cpu()
