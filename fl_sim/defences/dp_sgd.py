"""DP-SGD at the client by Opacus' own code: each example's gradient is clipped, and noise is added to their sum."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fl_sim.defences.accounting import BESIDE, accounted
from fl_sim.defences.claims import EXAMPLE, Claim, Exposure
from fl_sim.defences.settings import POISSON
from fl_sim.specs import Scalar

_SAMPLES = "grad_sample"
"""Attribute of a parameter in which Opacus keeps the gradients of the examples."""

_SHUFFLED = (
    "Batches of a fixed size are no Poisson sample, so no amplification by sampling is claimed: as many releases are "
    "composed as there are steps with one example."
)
_POISSON = (
    "Each step draws each example by itself with probability B / n, and every step is a release. The server knows the "
    "mean size B of these batches and not the size of each, so no attack here looks for their inputs."
)
_TOLD = (
    "The server is told the sizes of the Poisson samples, so no amplification by sampling is claimed, and an example "
    "may be in every step."
)

_TOLERANCE = 1e-3
"""Relative; float32 leaves about 1e-6, and a wrong order of the examples differs by the size of a gradient."""


def dp_sgd(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    generator: Generator,
    clipping_norm: float,
    noise_multiplier: float,
    expected_batch_size: int | None = None,
    **_accounting: Scalar,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return (sum of the examples' gradients, each clipped to C, plus N(0, (sigma C)^2)) / B, and the mean loss.

    The gradients of the examples come from Opacus' `GradSampleModule`, clipping and noise from its `DPOptimizer`.

    Args:
        model: returns logits (N, classes).
        inputs: (N, C, H, W), or (T, N, C, H, W) for events.
        labels: (N,); of no examples the loss is 0, and the gradient is noise.
        generator: a CPU generator, from which the noise is drawn for the parameters in the order of the model.
        clipping_norm: C, above 0.
        noise_multiplier: sigma, at least 0.
        expected_batch_size: B, the mean size of Poisson samples; None for N.
        _accounting: what concerns the claim and the sampling only.

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1.
    """
    from opacus.optimizers import DPOptimizer

    samples, loss = per_example_gradients(model, inputs, labels)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        setattr(parameter, _SAMPLES, samples[name])
    optimiser = DPOptimizer(
        torch.optim.SGD(list(parameters.values()), lr=1.0),
        noise_multiplier=noise_multiplier,
        max_grad_norm=clipping_norm,
        expected_batch_size=expected_batch_size or len(labels),
        generator=generator,
    )
    optimiser.pre_step()
    found = {name: parameter.grad.clone() for name, parameter in parameters.items() if parameter.grad is not None}
    optimiser.zero_grad(set_to_none=True)
    return found, loss


def per_example_gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return {name: (N, ...)} the gradient of each example's cross-entropy, by Opacus' hooks, and the mean loss.

    A spiking network applies a layer to all T steps of N examples at once, so that Opacus finds T N gradients, whose
    sum over the steps is an example's own; `misfit` checks that.
    """
    from opacus.grad_sample import GradSampleModule

    if not len(labels):  # an empty sample, on which a model need not be defined
        none = {name: one.new_zeros((0, *one.shape)) for name, one in model.named_parameters()}
        return none, torch.zeros(())
    with warnings.catch_warnings():  # that no gradient of the inputs is asked for
        warnings.simplefilter("ignore")
        watched = GradSampleModule(model, loss_reduction="sum")
        try:
            losses = F.cross_entropy(watched(inputs), labels, reduction="none")
            losses.sum().backward()  # type: ignore[no-untyped-call]
            found = {name: _by_example(getattr(one, _SAMPLES), len(labels)) for name, one in model.named_parameters()}
        finally:
            watched.to_standard_module()
    model.zero_grad(set_to_none=True)
    return found, losses.detach().mean()


def poisson_draws(held: int, *, rate: float, steps: int, generator: Generator) -> list[Tensor]:
    """Return the places (N_s,) of the examples of each step, each of which is drawn with probability `rate` by itself.

    By Opacus' `UniformWithReplacementSampler`, on which its `DPDataLoader` rests.

    Args:
        held: n, number of examples to draw from.
        rate: q, in (0, 1].
        steps: number of samples, which may be empty.
        generator: a CPU generator.

    Source: Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", 2019, section 3.
    """
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    sampler = UniformWithReplacementSampler(num_samples=held, sample_rate=rate, generator=generator, steps=steps)
    return [torch.tensor(places, dtype=torch.int64) for places in sampler]


def misfit(model: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """Return why a model cannot be trained by DP-SGD; "" if it can.

    Opacus' own validator refuses layers that mix the examples of a batch, such as BatchNorm. Then its gradients of the
    examples are compared with torch's own, one example at a time, and no loss may depend on another example.

    Args:
        model: returns logits (N, classes).
        inputs, labels: a batch of two examples or more.
    """
    from opacus.validators import ModuleValidator

    problems = ModuleValidator.validate(model, strict=False)
    if problems:
        return f"Opacus refuses the model: {problems[0]}"
    try:
        found, _ = per_example_gradients(model, inputs, labels)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, TypeError) as error:
        return f"Opacus has no gradient of each example for this model ({type(error).__name__}: {error})"
    names, parameters = zip(*model.named_parameters(), strict=True)
    known = inputs.detach().requires_grad_()
    losses = F.cross_entropy(model(known), labels, reduction="none")
    for place, loss in enumerate(losses):
        if _reads_others(loss, known, place):
            return (
                "the loss of an example depends on the others of its batch, so that no clipping bounds what one changes"
            )
        for name, own in zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
            distance = float((found[name][place] - own).norm())
            if distance > _TOLERANCE * max(float(own.norm()), 1e-6):
                return (
                    f"the gradients that Opacus finds of each example are not its own: '{name}' is {distance:.2g} away"
                )
    return ""


def claim(name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return what DP-SGD at the client claims against the server, for one example in place of a null one.

    The batches of a client are cut from a permutation and have a fixed size, which is no Poisson sample, so that no
    amplification by sampling is claimed; each example is in one batch of a pass, so that as many releases are composed
    as there are steps with that example (Chua et al., "How Private are DP-SGD Implementations?", ICML 2024).

    Poisson samples are amplified: every step is a release of the sampled Gaussian mechanism at q = B / n, of the client
    with the fewest examples. A server that is told their sizes sees no Poisson sample, so that q is 1 against it.
    """
    rate, releases, reason = 1.0, exposure.uses, _SHUFFLED
    if settings["sampling"] == POISSON:
        told = bool(settings["tell_sizes"])
        rate, releases = (1.0 if told else exposure.rate), exposure.steps
        reason = _TOLD if told else _POISSON
    return accounted(
        Claim(
            defence=name,
            unit=EXAMPLE,
            delta=float(settings["delta"]),
            accountant="prv" if settings["accountant"] == "prv" else "rdp",
            noise_multiplier=float(settings["noise_multiplier"]),
            sampling_rate=rate,
            releases=releases,
            reason=f"{reason} {BESIDE}",
        )
    )


def _reads_others(loss: Tensor, inputs: Tensor, place: int) -> bool:
    """Return whether the loss of the example at a place of its batch depends on other examples."""
    found: Sequence[Tensor | None] = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
    slope = found[0]
    if slope is None:
        return False
    by_example = slope.movedim(slope.dim() - 4, 0)
    return bool(torch.cat([by_example[:place], by_example[place + 1 :]]).any())


def _by_example(samples: Tensor, examples: int) -> Tensor:
    """Return gradients (N, ...) of examples from those of all steps, (T N, ...) with time first."""
    if len(samples) == examples:
        return samples
    return samples.view(-1, examples, *samples.shape[1:]).sum(0)
