"""How often each class occurs in a batch, from the gradient of the last layer and the model's own probabilities.

With the mean cross-entropy of N examples, n_c of class c, the gradient at the bias of logit c is

    d loss / d bias_c = kappa (mean_i p_c(x_i) - n_c / N),    kappa = d logit_c / d bias_c,

so n_c = N (mean_i p_c(x_i) - g_c / kappa). Only the probabilities of the batch have to be estimated. They are those of
dummy inputs (Geng et al. 2021, arXiv 2110.09074), or those at the mean features of each class, which the ratio of the
gradients of weights and bias gives away (Ma et al., "Instance-wise Batch Label Restoration via Gradients in Federated
Learning", ICLR 2023), also with the features of all classes solved for together (`refined`). Of several estimates, that
one is taken whose whole counts explain the gradient best. How well they explain it does not tell whether they are
right: in trained models wrong counts often explain it exactly, at wrong probabilities. What tells is whether all
estimates give the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.reading.last_layer import LastLayer
from fl_sim.errors import ConfigError

MOST_VARIATION = 0.4
"""Share by which features may vary between inputs if there is no bias. In LeNets that vary less (sigmoids; ReLUs with
torch's init), all of 180 batches of up to 8 digits were read right; in those that vary more (ReLUs or spiking
neurons with uniform init), 63 of 120."""

CERTAIN = 0.5
"""Counts that miss the gradient by more are not the nearest whole numbers. Of 840 batches of 2 to 16 digits (the models
of tests/bench_labels.py, 20 batches for each cell) the counts were certain for 471, of which 469 were right."""

_BOUND, _RIDGE, _ROUNDS = 1e6, 1e-2, 6


class Counted(NamedTuple):
    """How often each class occurs in a batch.

    Attributes:
        counts: (classes,), int64.
        certain: whether every estimate of the model's probabilities gives these counts, and they miss the gradient by
            less than `CERTAIN` of an example.
    """

    counts: Tensor
    certain: bool


def count_labels(layer: LastLayer, gradient: Mapping[str, Tensor], count: int) -> Counted:
    """Return the counts of the classes in a batch, whose sum is `count`.

    Args:
        layer: the last layer.
        gradient: {parameter name: gradient} of the mean cross-entropy of the batch.
        count: N.

    Raises:
        ConfigError: the last layer has no bias and its features depend on the input, or no last layer was found.
    """
    usual = layer.logits.double().softmax(-1).mean(0)
    if not layer.bias:
        each = [Estimate(usual), *map(Estimate, layer.logits.double().softmax(-1))]
        found = [one.counts(_surplus_without_bias(layer, gradient), count) for one in each]
        return Counted(found[0].counts, _agree(found[0], found))
    surplus = (gradient[layer.bias].cpu() / layer.gain()).double()
    estimates = [Estimate(usual)]
    present = ((surplus < 0) & surplus.isfinite()).nonzero().flatten()  # and perhaps others, of large probability
    if layer.weight and len(present) > 0 and layer.is_affine():
        features = gradient[layer.weight].cpu().flatten(1)[present].double() / surplus[present, None]
        own = layer.logits_at(features).softmax(-1)
        estimates += [Estimate(surplus[present] @ own / surplus[present].sum()), Estimate(usual, present, own)]
    found = [one.counts(surplus, count) for one in estimates]
    if layer.weight and layer.is_affine():
        rows = gradient[layer.weight].cpu().flatten(1).double().nan_to_num(0.0, 0.0, 0.0)
        found += [refined(one.counts, layer, surplus.nan_to_num(0.0, 0.0, 0.0), rows) for one in found]
    best = min(found, key=lambda one: float(one.missed.norm()))
    return Counted(best.counts, _agree(best, found))


class Explained(NamedTuple):
    """Counts (classes,), int64, and by how many examples of each class they miss the gradient, (classes,)."""

    counts: Tensor
    missed: Tensor


def _agree(best: Explained, found: Sequence[Explained]) -> bool:
    """Return whether counts are certain: all estimates give them, and they are the nearest whole numbers."""
    return float(best.missed.abs().max()) < CERTAIN and all(one.counts.equal(best.counts) for one in found)


@dataclass(frozen=True)
class Estimate:
    """An estimate of the model's probabilities for the examples of a batch.

    Attributes:
        usual: (classes,), for examples of any class but those in `present`.
        present: (K,), classes whose own probabilities are known.
        own: (K, classes), the mean probabilities for examples of these classes.
    """

    usual: Tensor
    present: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    own: Tensor | None = None

    def counts(self, surplus: Tensor, count: int) -> Explained:
        """Return the counts, and by how much they miss the gradient.

        Args:
            surplus: (classes,), mean_i p_c(x_i) - n_c / N as the gradient has it.
            count: N.
        """
        usual, present = self.usual, self.present
        differences = usual.new_empty(0, len(usual)) if self.own is None else self.own - usual
        # n_c = N usual_c + sum_k n_k differences_kc - N surplus_c, solved for the classes k first.
        system = torch.eye(len(present), dtype=usual.dtype) - differences[:, present].T
        known = torch.linalg.lstsq(system, count * (usual - surplus)[present, None], driver="gelsd").solution[:, 0]
        found = whole(count * (usual - surplus) + known.clamp(0, count) @ differences, count)
        missed = found - count * (usual - surplus) - found[present].double() @ differences
        return Explained(found, missed)


def refined(counts: Tensor, layer: LastLayer, surplus: Tensor, rows: Tensor) -> Explained:
    """Return counts that agree with the mean features of each class that they give.

    With the mean features f_k of the examples of class k and their probabilities p_k, if these hardly differ within a
    class, the gradient at the weights is (1/N) sum_k n_k (p_k - e_k) f_k^T. Given counts and probabilities, it is
    solved for the features, which give new probabilities, and these new counts; this is repeated.

    Args:
        counts: (classes,), a first estimate.
        layer: the last layer, which is affine and has a bias.
        surplus: (classes,), mean_i p_c(x_i) - n_c / N as the gradient has it.
        rows: (classes, features), the gradient at the weights.
    """
    usual, dummies = layer.logits.double().softmax(-1).mean(0), layer.features().double()
    mean, total = dummies.mean(0), int(counts.sum())
    known: dict[int, Tensor] = {}
    found = Explained(counts, torch.full_like(surplus, torch.inf))
    for _ in range(_ROUNDS):
        present = found.counts.nonzero().flatten()
        own = torch.stack([known.get(label, usual) for label in present.tolist()])
        residuals = own.T.clone()
        residuals[present, torch.arange(len(present))] -= 1.0
        residuals *= found.counts[present] / total
        square = residuals.T @ residuals
        square.diagonal().add_(_RIDGE * square.diagonal().mean() + torch.finfo(square.dtype).tiny)
        wanted = residuals.T @ (rows - torch.outer(residuals.sum(1), mean))
        features = mean + torch.linalg.lstsq(square, wanted, driver="gelsd").solution
        if bool((dummies >= 0).all()):
            features = features.clamp(min=0.0)
        own = (own + layer.logits_at(features).softmax(-1)) / 2
        known |= dict(zip(present.tolist(), own, strict=True))
        found = Estimate(usual, present, own).counts(surplus, total)
    return found


def whole(numbers: Tensor, total: int) -> Tensor:
    """Return whole numbers (n,), int64, of at least 0 and with this sum, close to float64 numbers (n,).

    The numbers are first moved to the nearest point that is nowhere negative and has the sum, then rounded down; what
    is missing goes to the largest remainders.
    """
    numbers = numbers.nan_to_num(0.0, _BOUND * total, -_BOUND * total).clamp(-_BOUND * total, _BOUND * total)
    descending = numbers.sort(descending=True).values
    shifts = (descending.cumsum(0) - total) / torch.arange(1, len(numbers) + 1)
    quotas = (numbers - shifts[descending > shifts][-1]).clamp(min=0)
    found = quotas.long()
    first = (quotas - found).argsort(descending=True, stable=True)[: total - int(found.sum())]
    found[first] += 1
    return found


def _surplus_without_bias(layer: LastLayer, gradient: Mapping[str, Tensor]) -> Tensor:
    """Return mean_i p_c(x_i) - n_c / N (classes,), read off the weights at the mean features of the dummy inputs."""
    if not layer.weight:
        raise ConfigError(no_last_layer("counts", layer.logits.shape[1]))
    features = layer.features().double()
    mean = features.mean(0)
    square = mean.square().sum()
    variation = float((features @ mean / square - 1.0).abs().max())
    if not variation <= MOST_VARIATION:  # or it is NaN, if all features are 0
        found = "are all 0" if float(square) == 0.0 else f"vary by {100 * variation:.0f} % between dummy inputs"
        raise ConfigError(
            "attack.label_rule: 'counts' needs a last layer with a bias, or features before it that are almost the "
            f"same for all inputs (within {100 * MOST_VARIATION:.0f} %). The last layer '{layer.weight}' has no bias, "
            f"and its features {found}. Choose 'weights', which can be right only if no class occurs twice."
        )
    return gradient[layer.weight].cpu().flatten(1).double() @ mean / square


def no_last_layer(rule: str, classes: int) -> str:
    """Return the message for an update without the parameter that a rule reads."""
    kind = {"weights": "weights", "bias": "a bias", "counts": "a bias or weights"}[rule]
    return (
        f"attack.label_rule: '{rule}' needs {kind} of a last layer with {classes} outputs, and the update has none: no "
        "such parameter moves the logit of each class alone."
    )
