"""Queries of a model, each on several draws of its rate code and of dropped pixels.

The confidence p of a model in a candidate's label is kept as its log-odds, log p - log(1 - p), which is the logit
scaling of Carlini et al. (2022, eq. 4) and stays exact where p is 1 to the last digit of a float.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from attacks.contracts import Candidates
from attacks.membership.settings import MembershipSettings
from fl_sim.encoders import Encoder
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.records import ModelSpec
from fl_sim.seeding import derive_seed, torch_stream

_AT_ONCE = 250


def rebuilt(spec: ModelSpec, parameters: Mapping[str, Tensor], device: str) -> nn.Module:
    """Return a model with these parameters, in eval mode.

    Raises:
        ConfigError: the model reads texts.
        DataError: the parameters are not those of the model.
    """
    if spec.input.vocabulary:
        raise ConfigError(f"membership inference queries images and recordings; '{spec.architecture}' reads texts.")
    with torch.random.fork_rng(devices=[]):  # initial parameters are drawn and then replaced
        model = build_model(spec, parameters=parameters)
    model.load_state_dict({**model.state_dict(), **parameters})
    return model.eval().to(device)


def log_odds(
    model: nn.Module, candidates: Candidates, settings: MembershipSettings, *, seed: int, device: str = "cpu"
) -> Tensor:
    """Return the log-odds (n,), float64, of a model's mean posterior of each candidate's label over all draws.

    Args:
        model: returns logits (n, classes).
        candidates: n of them.
        settings: how often each is queried, and with which dropout.
        seed: of the draws, which are the same for every model, so that models are compared on the same spikes.
        device: where the model computes.
    """
    yes, no = [], []
    for draw in range(settings.draws):
        queries = queried(model, candidates, settings, draw, seed=seed, device=device)
        parts = [_label_and_rest(model(inputs), labels) for inputs, labels in queries]
        yes.append(torch.cat([part[0] for part in parts]))
        no.append(torch.cat([part[1] for part in parts]))
    mean = (torch.logsumexp(torch.stack(logs), dim=0) - math.log(settings.draws) for logs in (yes, no))
    return next(mean) - next(mean)


def queried(
    model: nn.Module,
    candidates: Candidates,
    settings: MembershipSettings,
    draw: int,
    *,
    seed: int,
    device: str,
    at_once: int = _AT_ONCE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and labels of one draw in pieces of at most `at_once`, with new spikes and dropped pixels for each.

    Args:
        model: whose encoders are given a seed for each piece.
        candidates, settings, seed, device: as for `log_odds`.
        draw: its number, from 0.
        at_once: examples of a piece.
    """
    axis = candidates.axis
    pieces = zip(torch.split(candidates.inputs, at_once, axis), torch.split(candidates.labels, at_once), strict=True)
    for number, (inputs, labels) in enumerate(pieces):
        own = inputs
        if settings.input_dropout:
            kept = torch.rand(inputs.shape, generator=torch_stream(seed, "dropout", draw, number))
            own = inputs * (kept >= settings.input_dropout)
        for module in model.modules():
            if isinstance(module, Encoder):
                module.seed = derive_seed(seed, "spikes", draw, number)
        yield own.to(device), labels.to(device)


@torch.no_grad()
def _label_and_rest(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p) (n,) of the labels' posteriors, without cancellation."""
    logs = torch.log_softmax(logits.detach().double().cpu(), dim=1)
    own = labels.cpu()[:, None]
    rest = logs.scatter(1, own, -math.inf).logsumexp(dim=1)
    return logs.gather(1, own)[:, 0], rest
