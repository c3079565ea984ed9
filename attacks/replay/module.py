"""The client's module as a function of its parameters, twice differentiable and without random draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from attacks.replay.lookups import Text
from fl_sim.client_steps import mixed, reset_state, stateful, trainable
from fl_sim.losses import client_loss, normalised
from fl_sim.models import build_model
from fl_sim.records import CapturedUpdate

Tensors = dict[str, Tensor]

_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")


class ClientModule:
    """A module whose loss is a function of parameters, inputs and targets.

    Args:
        capture: says which module, and with which parameters and buffers the server sent it.
        device: where to compute.
        dtype: of parameters and inputs.

    Attributes:
        trained: {name: tensor}, the parameters that the client trains, as they were sent.
        tracked: names of the batch normalisations whose running statistics the client's update shares.
    """

    def __init__(self, capture: CapturedUpdate, *, device: str, dtype: torch.dtype) -> None:
        with torch.random.fork_rng(devices=[]):  # initial parameters are drawn and then replaced
            module = build_model(capture.model, parameters=capture.parameters, partly=True)
        self._training = capture.training.taken()
        self._module = silenced(module.to(device=device, dtype=dtype)).train(self._training.mode == "train")
        self._device, self._dtype = device, dtype
        self._keeps_state = bool(stateful(module))
        self._is_recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
        self._reads_text = capture.model.input.vocabulary > 0
        names = dict.fromkeys([*dict(module.named_parameters()), *dict(module.named_buffers())])
        state = module.state_dict(keep_vars=True) | dict(module.named_buffers())
        self._sent: Tensors = {
            name: self._placed(capture.parameters.get(name, state[name].detach()), state[name].dtype) for name in names
        }
        self.trained = {name: self._sent[name] for name in trainable(module, self._training)}
        self._norms = {
            name: part
            for name, part in module.named_modules()
            if isinstance(part, _BatchNorm) and part.running_mean is not None and self._training.mode == "train"
        }
        self.tracked = [name for name in self._norms if f"{name}.running_mean".lstrip(".") in capture.update]

    def _placed(self, tensor: Tensor, kind: torch.dtype) -> Tensor:
        """Return a tensor on the device, in the dtype of the computation unless it counts."""
        return tensor.detach().to(device=self._device, dtype=self._dtype if kind.is_floating_point else kind)

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Put other sent parameters and buffers in place of those sent."""
        for name, tensor in parameters.items():
            if name in self._sent:
                self._sent[name] = self._placed(tensor, self._sent[name].dtype)
        self.trained = {name: self._sent[name] for name in self.trained}

    def loss(self, trained: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensors]:
        """Return the loss of a batch, and the mean and variance that each tracked norm sees, with graph.

        Args:
            trained: {name: tensor}, values of the trained parameters.
            inputs: (N, C, H, W) in the range of the InputSpec, or (T, N, C, H, W) for events; of texts (N, 1, L, V),
                for each position the weights of the tokens.
            targets: (N, K), see `fl_sim.losses`.

        Returns:
            the loss, a scalar; {"NORM.running_mean": (C,), "NORM.running_var": (C,)}, the variance unbiased as torch
            stores it.
        """
        # Modules write running statistics in place, so they get copies.
        fixed = {name: tensor.clone() for name, tensor in self._sent.items() if name not in trained}
        seen: Tensors = {}
        if self._keeps_state:
            reset_state(self._module)
        text = Text(inputs) if self._reads_text else None
        read = normalised(self._training, inputs) if text is None else text.tokens
        with contextlib.ExitStack() as stack:
            for context in (without_draws(), twice_differentiable(recurrent=self._is_recurrent), self._watched(seen)):
                stack.enter_context(context)
            stack.enter_context(contextlib.nullcontext() if text is None else text.read())
            stack.enter_context(mixed(self._training, self._device))
            outputs = functional_call(self._module, {**fixed, **trained}, (read,))
        if self._keeps_state:  # the graph of a state would hold on to the batch
            reset_state(self._module)
        return client_loss(self._training, outputs, targets), seen

    def statistics(self, name: str) -> Tensor:
        """Return a running statistic as it was sent."""
        return self._sent[name]

    def momentum(self, name: str, number: int) -> float:
        """Return the weight of batch `number`, from 1, in the statistics of a norm; torch's None is the mean of all."""
        norm = self._norms[name]
        if norm.momentum is not None:
            return float(norm.momentum)
        batches = self._sent.get(f"{name}.num_batches_tracked")
        return 1.0 / (number + float(batches if batches is not None else 0))

    @contextlib.contextmanager
    def _watched(self, seen: Tensors) -> Iterator[None]:
        """Put into `seen` what the tracked norms see while the context is open."""

        def watch(name: str) -> torch.utils.hooks.RemovableHandle:
            norm = self._norms[name]

            def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
                rows = _channels_first(norm, arguments[0])
                seen[f"{name}.running_mean"] = rows.mean(1)
                seen[f"{name}.running_var"] = rows.var(1) if rows.shape[1] > 1 else torch.zeros_like(rows[:, 0])

            return norm.register_forward_pre_hook(hook)

        handles = [watch(name) for name in self.tracked]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def silenced(module: nn.Module) -> nn.Module:
    """Return a module whose recurrent and attention layers have no dropout, which the server could not know."""
    for part in module.modules():
        if isinstance(part, nn.RNNBase | nn.MultiheadAttention):
            part.dropout = 0.0
    return module


@contextlib.contextmanager
def without_draws() -> Iterator[None]:
    """Let torch's dropout functions, which all of its dropout layers call, pass their input on."""
    originals = {name: getattr(F, name) for name in _DROPOUTS}

    def passed_on(inputs: Tensor, *_: object, **__: object) -> Tensor:
        return inputs

    try:
        for name in _DROPOUTS:
            setattr(F, name, passed_on)
        yield
    finally:
        for name, original in originals.items():
            setattr(F, name, original)


@contextlib.contextmanager
def twice_differentiable(*, recurrent: bool = False) -> Iterator[None]:
    """Write out what torch computes by kernels without a second derivative: attention, and the hard sigmoid.

    Args:
        recurrent: whether there are recurrent layers; those of cuDNN have none either.
    """
    originals = {name: getattr(F, name) for name in _WRITTEN_OUT}
    cudnn = torch.backends.cudnn.enabled
    try:
        torch.backends.cudnn.enabled = cudnn and not recurrent
        for name, written_out in _WRITTEN_OUT.items():
            setattr(F, name, written_out)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        for name, original in originals.items():
            setattr(F, name, original)


def _hard_sigmoid(inputs: Tensor, *_: object, **__: object) -> Tensor:
    return F.relu6(inputs + 3.0) / 6.0


_WRITTEN_OUT = {"hardsigmoid": _hard_sigmoid}


def _channels_first(norm: _BatchNorm, inputs: Tensor) -> Tensor:
    """Return the input of a norm as (C, everything else); SpikingJelly's layers get time steps as a further axis."""
    channels = 1 if inputs.shape[1] == norm.num_features and inputs.dim() < 5 else 2
    if inputs.shape[channels] != norm.num_features:
        channels = 1
    return inputs.transpose(0, channels).flatten(1)
