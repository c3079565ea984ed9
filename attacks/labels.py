"""Label recovery from the gradient of the last layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from attacks.label_counts import count_labels, no_last_layer
from attacks.last_layer import LastLayer
from fl_sim.errors import ConfigError
from fl_sim.observed import batch_size, observed_gradient
from fl_sim.records import CapturedUpdate

LabelRule = Literal["auto", "weights", "bias", "counts"]


def recover_labels(capture: CapturedUpdate, *, rule: LabelRule) -> Tensor:
    """Return the labels (N,) recovered from the gradient of the last layer, in increasing order.

    With cross-entropy, the gradient at logit c is p_c - 1 for the true label and p_c > 0 for every other. The rule
    "weights" sums row c of the last weight gradient, which has that sign if the features are positive (Zhao, Mopuri
    and Bilen 2020, arXiv 2001.02610, eq. 3-4); "bias" reads it directly. For N examples these two take the N smallest
    entries (Yin et al. 2021, CVPR, section 3.2), each once. That is wrong whenever a class occurs twice, and it may be
    wrong if all labels differ: entry c is the mean of p_c over the batch, less 1/N if the class occurs, so an absent
    class of small p_c may come before a present one of large p_c. "counts" reads how often each class occurs; see
    `attacks.label_counts`. "auto" is "weights" for one example and "counts" for more; for one text it is "bias" where
    there is one, since features of recurrent layers and transformers have both signs. attacks/README.md says how often
    each rule is right.

    Args:
        capture: what the server saw.
        rule: "auto", "weights", "bias" or "counts".

    Raises:
        ConfigError: the model has no last layer of the kind that the rule needs, or the capture is a delta without a
            learning rate.
    """
    count, classes = batch_size(capture), capture.model.input.classes
    gradient, layer = observed_gradient(capture), LastLayer(capture)
    if rule == "counts" or (rule == "auto" and count > 1):
        counts = count_labels(layer, gradient, count)
        return torch.repeat_interleave(torch.arange(classes), counts)
    if rule == "auto":
        rule = "bias" if layer.bias and capture.model.input.vocabulary else "weights"
    name = layer.bias if rule == "bias" else layer.weight
    if not name:
        raise ConfigError(no_last_layer(rule, classes))
    scores = gradient[name] if rule == "bias" else gradient[name].flatten(1).sum(1)
    chosen = scores.argsort(stable=True)[:count]
    return torch.sort(chosen.repeat(-(-count // len(chosen)))[:count]).values.cpu()
