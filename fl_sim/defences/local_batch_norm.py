"""Batch normalisation kept local: what a client's normalisations have seen of its data never leaves it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fl_sim.defences.claims import Claim, Exposure
from fl_sim.normalisation import normalisations
from fl_sim.specs import Scalar


def local_batch_norm(model: nn.Module, *, local_affine: bool) -> frozenset[str]:
    """Return the names of the parameters and buffers that stay with each client, from round to round.

    Args:
        model: with batch or instance normalisations of torch's.
        local_affine: whether their weights and biases stay, as well as their statistics.

    Source: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021, where
    statistics and affine parameters are local; Andreux et al., "Siloed Federated Learning for Multi-Centric
    Histopathology Datasets" (SiloBN), DCL 2020, where the statistics alone are.
    """
    kept = set[str]()
    for prefix, module in normalisations(model):
        kept |= {f"{prefix}{name}" for name, _ in module.named_buffers(recurse=False)}
        if local_affine:
            kept |= {f"{prefix}{name}" for name, _ in module.named_parameters(recurse=False)}
    return frozenset(kept)


def misfit(model: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """Return why a model cannot have it, or ""."""
    del inputs, labels
    return "" if local_batch_norm(model, local_affine=True) else "it has no batch or instance normalisation"


def claim(name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return that nothing is claimed, and what an attack takes in place of what it does not see."""
    del exposure
    taken = "In eval mode" if not settings["local_affine"] else "From the second round on, and in eval mode,"
    return Claim(
        defence=name,
        reason="It adds no noise, so there is no finite epsilon; and the gradients of all other layers are shared as "
        f"they are. {taken} an attack has to assume what stays with the client, and takes it to be as in a new model.",
    )
