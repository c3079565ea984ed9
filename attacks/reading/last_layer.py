"""The last layer of a captured model, found by how the model's output on dummy inputs answers to its parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fl_sim.losses import single_output
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate, InputSpec
from fl_sim.seeding import torch_stream
from fl_sim.tokens import as_read, random_texts

DUMMIES = 8
_BRIGHTEST_EVENTS = 0.1
"""Share of the pixels with an event in the fullest dummy recording."""

_ROUNDING = 1e-3
_HEAD, _UNEVEN, _UNDECIDED, _ELSEWHERE = 3, 2, 1, 0


class LastLayer:
    """The last layer of a captured model, and the model's output on D dummy inputs.

    A parameter of shape (classes, ...) belongs to the last layer if its entry c moves logit c and no other: the
    Jacobian of the logits with respect to it is diagonal. Two products of that Jacobian with random vectors show it.
    If several parameters do this, those are preferred that move all logits alike, then the one registered last. The
    entries of the vectors sum to 0, because a shift of all logits changes no probability; so models that return
    log-probabilities are read as well.

    Args:
        capture: what the server saw. The model is evaluated as it trains, with fixed seeds.

    Attributes:
        logits: (D, classes).
        bias: name of the bias, of shape (classes,); "" if there is none.
        weight: name of the weights, of shape (classes, features) or, for a convolution, (classes, features, 1, 1); ""
            if there are none.
    """

    def __init__(self, capture: CapturedUpdate) -> None:
        model, spec = served(capture), capture.model.input
        self._parameters = {
            name: parameter.requires_grad_()
            for name, parameter in model.named_parameters()
            if parameter.dim() > 0 and len(parameter) == spec.classes and name in capture.update
        }
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global stream
            torch.manual_seed(0)
            dummies = dummy_inputs(spec)
            answers = model(as_read(dummies, spec))
        count = dummies.shape[dummies.dim() - 4]
        self._outputs = single_output(answers, (count, spec.classes)).reshape(count, -1)
        self.logits = self._outputs.detach()
        self._probes = _directions(spec.classes)
        answers = [self._pulled_back(self._outputs, direction) for direction in self._probes]
        ranks = {name: self._rank(answers[0][name], answers[1][name]) for name in self._parameters}
        self.bias = _best(ranks, [name for name, parameter in self._parameters.items() if parameter.dim() == 1])
        self.weight = _best(ranks, [name for name, parameter in self._parameters.items() if parameter.dim() > 1])

    def gain(self) -> Tensor:
        """Return d logit_c / d bias_c (classes,), the mean over the dummy inputs.

        1 for an ordinary linear layer. (T+1)/2 for output neurons that integrate their current over T steps without
        leak or reset, if the logit is their mean potential.
        """
        return self._scaled(self._pulled_back(self._outputs, self._probes[0])[self.bias])[:, 0] / len(self.logits)

    def features(self) -> Tensor:
        """Return what the weights are multiplied with in the logits of each dummy input, (D, features)."""
        rows = [self._pulled_back(output, self._probes[0])[self.weight] for output in self._outputs]
        return torch.stack([self._scaled(row).mean(0) for row in rows])

    def logits_at(self, features: Tensor) -> Tensor:
        """Return the logits (n, classes) of an affine last layer for features (n, features)."""
        weight, bias = (_rows(self._parameters[name].detach()).to(features) for name in (self.weight, self.bias))
        return features @ weight.T + self.gain().to(features) * bias[:, 0]

    def is_affine(self) -> bool:
        """Return whether `logits_at` gives the logits of the dummy inputs, as it does not if output neurons fire."""
        given, true = (
            logits - logits.mean(1, keepdim=True) for logits in (self.logits_at(self.features()), self.logits)
        )
        return float((given - true).norm()) <= _ROUNDING * float(true.norm())

    def _pulled_back(self, outputs: Tensor, direction: Tensor) -> dict[str, Tensor]:
        """Return {parameter: (classes, n)}, the gradients of <direction, outputs>, summed over the inputs."""
        if not outputs.requires_grad:
            return {name: torch.zeros_like(_rows(parameter)) for name, parameter in self._parameters.items()}
        found = torch.autograd.grad(
            (outputs * direction).sum(),
            list(self._parameters.values()),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return {name: _rows(gradient) for name, gradient in zip(self._parameters, found, strict=True)}

    def _scaled(self, gradient: Tensor) -> Tensor:
        """Return a gradient (classes, n) along the first direction, divided by it."""
        return gradient / self._probes[0][:, None]

    def _rank(self, first: Tensor, second: Tensor) -> int:
        """Return how well gradients (classes, n) along the two directions fit a parameter of the last layer."""
        ours, theirs = first * self._probes[1][:, None], second * self._probes[0][:, None]
        size = float(ours.norm())
        if not 0.0 < size < torch.inf:
            return _UNDECIDED  # its features are all 0, or the parameters are not finite
        if float((ours - theirs).norm()) > _ROUNDING * size:
            return _ELSEWHERE
        scaled = self._scaled(first)
        even = float((scaled - scaled.mean(0)).norm()) <= _ROUNDING * float(scaled.norm())
        return _HEAD if even else _UNEVEN


def served(capture: CapturedUpdate) -> nn.Module:
    """Return the model that the server sent, in the mode in which it is built; no parameter requires a gradient."""
    model = build_model(capture.model, parameters=capture.parameters, partly=True)
    state = model.state_dict()
    model.load_state_dict(state | {name: capture.parameters[name] for name in state.keys() & capture.parameters})
    return model.requires_grad_(False)


def dummy_inputs(spec: InputSpec) -> Tensor:
    """Return D inputs, from empty to full: noise of increasing brightness, or recordings with ever more events.

    Images are (D, C, H, W), events (T, D, C, H, W). They are the same for all models with this input. Texts are of
    random tokens.
    """
    generator = torch_stream(0, "dummy inputs")
    if spec.vocabulary:
        return random_texts(spec, DUMMIES, generator)
    steps = (spec.timesteps,) if spec.timesteps else ()
    noise = torch.rand(*steps, DUMMIES, *spec.frame, generator=generator)
    level = torch.linspace(0.0, 1.0, DUMMIES).view(-1, 1, 1, 1)
    filled = (noise < _BRIGHTEST_EVENTS * level).float() if steps else noise * level
    return spec.low + (spec.high - spec.low) * filled


def _directions(classes: int) -> tuple[Tensor, Tensor]:
    """Return two random vectors (classes,) whose entries are far from 0 and sum to 0 (all 1 for a single class)."""
    generator = torch_stream(0, "directions", classes)
    if classes == 1:
        return torch.ones(1), torch.ones(1)
    return _direction(classes, generator), _direction(classes, generator)


def _direction(classes: int, generator: torch.Generator) -> Tensor:
    sizes = 0.5 + torch.rand(classes, generator=generator)
    positive = torch.randperm(classes, generator=generator) % 2 == 0
    return torch.where(positive, sizes / sizes[positive].sum(), -sizes / sizes[~positive].sum()) * classes / 2


def _rows(parameter: Tensor) -> Tensor:
    return parameter.reshape(len(parameter), -1)


def _best(ranks: dict[str, int], names: Iterable[str]) -> str:
    """Return the last of the names with the highest rank; "" if none may be the last layer's."""
    ranked = [(ranks[name], place, name) for place, name in enumerate(names) if ranks[name] > _ELSEWHERE]
    return max(ranked)[2] if ranked else ""
