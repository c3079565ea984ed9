"""One module with V models, each with its own parameters, side by side along the channel axis.

Gradient matching needs, for each of V victims, the gradient of that victim's loss with respect to its own model's
parameters, and then a second derivative through it. A fold processes all victims in one pass: activations are
(N, V*C, H, W), convolutions become grouped convolutions and linear layers batched products, and layers that work
channel by channel (activations, pooling, spiking neurons) are unchanged. The weight gradients are written as explicit
products of a layer's input and the loss's derivative at its output, so that the second derivative never involves the
weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from attacks.folding.captured import Targets
from attacks.folding.neurons import SequenceNeurons, dynamics_of
from attacks.folding.taps import FoldedConv2d, FoldedLinear, Tap
from fl_sim.encoders import Encoder
from fl_sim.errors import ConfigError, lack_of_memory
from fl_sim.models import build_model
from fl_sim.specs import ModelSpec

Gradients = dict[str, Tensor]


class Fold:
    """V models of one spec, each with its own parameters.

    Args:
        spec: specification of the victims' model.
        parameters: {name: tensor} of each victim, as the server sent them.
        device: where to compute.
        dtype: float32, or float64 to compare results bit for bit.

    Raises:
        ConfigError: the model has a layer with parameters other than Conv2d and Linear, uses one of them twice,
            fails on many victims at once, or mixes channels elsewhere (for example by a softmax over features), so that
            victims would affect each other.
        DataError: the parameters are not those of the model.
    """

    def __init__(
        self,
        spec: ModelSpec,
        parameters: Sequence[Mapping[str, Tensor]],
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.victims = len(parameters)
        self.classes = spec.input.classes
        stacked = {
            name: torch.stack([victim[name] for victim in parameters]).to(device=device, dtype=dtype)
            for name in parameters[0]
        }
        self._device, self._dtype = device, dtype
        # The server cannot know the masks of dropout, so that turning it off is the best it can do.
        self._module = build_model(spec, parameters=parameters[0]).eval().to(device=device, dtype=dtype)
        self._taps: dict[str, Tap] = {}
        for name, layer in list(self._module.named_modules()):
            dynamics = dynamics_of(layer)
            if dynamics is not None:
                _put(self._module, name, SequenceNeurons(dynamics))
            elif next(layer.parameters(recurse=False), None) is not None:
                self._taps[name] = _replace(self._module, name, layer, stacked, self.victims)
        self._share_encoders()
        self._check(spec, parameters[-1], self.victims - 1)

    def keep(self, rows: Tensor) -> None:
        """Drop all victims but those at indices `rows`."""
        self.victims = len(rows)
        for tap in self._taps.values():
            tap.keep(rows)
        self._share_encoders()

    def replace(self, row: int, parameters: Mapping[str, Tensor]) -> None:
        """Replace the parameters at index `row` by those of another victim."""
        for name, tap in self._taps.items():
            tap.replace(row, parameters[f"{_prefix(name)}weight"], parameters.get(f"{_prefix(name)}bias"))

    def parameters(self) -> Gradients:
        """Return {parameter name: (V, ...)}."""
        return {
            f"{_prefix(name)}{kind}": tensor
            for name, tap in self._taps.items()
            for kind, tensor in (("weight", tap.weight), ("bias", tap.bias))
            if tensor is not None
        }

    def train_at(self, parameters: Mapping[str, Tensor]) -> None:
        """Put parameters {name: (V, ...)} in place of those of the victims, so that `logits` has a graph for them too.

        `gradients` and `distances`, whose graphs leave the weights out, are then wrong.
        """
        for name, tap in self._taps.items():
            tap.trains = True
            tap.weight = parameters[f"{_prefix(name)}weight"]
            tap.bias = parameters.get(f"{_prefix(name)}bias")

    def ranks(self, examples: int) -> dict[str, int]:
        """Return {parameter name: rank} of the gradients that `Targets` may store as factors, for N = `examples`."""
        linear = {name: tap for name, tap in self._taps.items() if isinstance(tap, FoldedLinear)}
        return {f"{_prefix(name)}weight": rank for name, tap in linear.items() if (rank := tap.rank(examples)) > 0}

    def _share_encoders(self) -> None:
        """Let all victims share the draws of a random encoder, so that they do not depend on the batch."""
        for module in self._module.modules():
            if isinstance(module, Encoder):
                module.models = self.victims

    def _check(self, spec: ModelSpec, parameters: Mapping[str, Tensor], victim: int) -> None:
        """Compare the fold with one victim's own model on a random input; raise ConfigError if they differ."""
        alone = build_model(spec).eval().to(self._device, self._dtype)
        alone.load_state_dict({**alone.state_dict(), **parameters})
        shape = (spec.input.timesteps,) * bool(spec.input.timesteps) + (1, *spec.input.frame)
        inputs = torch.rand(self.victims, *shape, generator=torch.Generator().manual_seed(victim))
        inputs = inputs.to(self._device, self._dtype)
        with torch.no_grad():
            expected = alone(inputs[victim])
            try:
                folded = self.logits(inputs)[victim]
            except Exception as error:  # the module works alone; folded, it may fail in any way
                if lack_of_memory(error):
                    raise
                raise ConfigError(
                    f"model: '{spec.architecture}' cannot be folded over victims ({type(error).__name__}: {error})."
                ) from error
        scale = float(expected.abs().max()) + 1.0
        repeated = [name for name, tap in self._taps.items() if tap.calls != 1]
        if repeated or float((folded - expected).abs().max()) > 1e-3 * scale:
            raise ConfigError(
                f"model: '{spec.architecture}' cannot be folded over victims: "
                + (f"layer '{repeated[0]}' is not used exactly once." if repeated else "a layer mixes channels.")
            )

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits (V, N, classes) for inputs (V, N, C, H, W), or (V, T, N, C, H, W) for events."""
        folded = inputs.movedim(0, -4).flatten(-4, -3)
        order = itertools.count()
        for tap in self._taps.values():
            tap.calls, tap.order = 0, order
        logits: Tensor = self._module(folded)
        return logits.view(-1, self.victims, self.classes).transpose(0, 1)

    def gradients(self, losses: Tensor) -> Gradients:
        """Return {parameter name: (V, ...)}, each victim's gradient of its own loss; differentiable.

        Args:
            losses: (V,), computed from the last call of `logits`; the loss of victim v depends on victim v only.
        """
        result: Gradients = {}
        for (name, tap), delta in zip(self._taps.items(), self._deltas(losses), strict=True):
            weight, bias = tap.gradients(delta)
            result[f"{_prefix(name)}weight"] = weight
            if bias is not None:
                result[f"{_prefix(name)}bias"] = bias
        return result

    def frozen_gradients(self, losses: Tensor, names: Collection[str]) -> Gradients:
        """Return {parameter name: (V, ...)}, gradients of weights whose graph leaves the derivatives at outputs out.

        Only the input of each layer has a graph, so that nothing is differentiated twice.

        Args:
            losses: as for `gradients`.
            names: of weights.
        """
        taps = {f"{_prefix(name)}weight": tap for name, tap in self._taps.items()}
        outputs = [taps[name].output for name in names]
        deltas = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
        return {name: taps[name].gradients(delta)[0] for name, delta in zip(names, deltas, strict=True)}

    def weights(self) -> list[str]:
        """Return the names of the weights of convolutions and linear layers, in the order of their use."""
        return [f"{_prefix(name)}weight" for name in sorted(self._taps, key=lambda name: self._taps[name].place)]

    def last_layer(self) -> Tap:
        """Return the layer with parameters that was used last; it stores what it read and returned."""
        return max(self._taps.values(), key=lambda tap: tap.place)

    def distances(self, losses: Tensor, targets: Targets) -> Tensor:
        """Return (V,), the squared distances of all `gradients(losses)` to the targets; differentiable once."""
        pairs = zip(self._taps.items(), self._deltas(losses), strict=True)
        return torch.stack([tap.distance(_prefix(name), delta, targets) for (name, tap), delta in pairs]).sum(0)

    def _deltas(self, losses: Tensor) -> tuple[Tensor, ...]:
        """Return the losses' derivatives at the output of each layer."""
        outputs = [tap.output for tap in self._taps.values()]
        return torch.autograd.grad(losses.sum(), outputs, create_graph=True)


def _prefix(name: str) -> str:
    return f"{name}." if name else ""


def _replace(module: nn.Module, name: str, layer: nn.Module, stacked: Mapping[str, Tensor], victims: int) -> Tap:
    """Replace `layer` by its folded counterpart and return that."""
    prefix = _prefix(name)
    weight, bias = stacked.get(f"{prefix}weight"), stacked.get(f"{prefix}bias")
    if weight is None or not isinstance(layer, nn.Conv2d | nn.Linear):
        raise ConfigError(
            f"model: layer '{name}' ({type(layer).__name__}) has parameters and is neither "
            "Conv2d nor Linear; the matching attacks cannot fold it over victims."
        )
    tap: Tap
    if isinstance(layer, nn.Conv2d):
        tap = FoldedConv2d(victims, layer, weight, bias)
    else:
        tap = FoldedLinear(victims, weight, bias)
    _put(module, name, tap)
    return tap


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Make `layer` the submodule called `name`."""
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, layer)
