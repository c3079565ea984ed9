"""The gradient cosine: an update points along minus the gradients of the examples that it was computed from.

The passive white-box signal of federated learning: of gradients (Nasr, Shokri and Houmansadr, IEEE S&P 2019), as the
cosine between a candidate's gradient and a client's update (Li, Li and Ribeiro, AsiaCCS 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.contracts import Background, Candidates, Observed
from attacks.membership.base import Inference
from attacks.membership.queries import queried, rebuilt
from attacks.membership.settings import GradientCosineSettings
from fl_sim.errors import ConfigError


class GradientCosine(Inference[GradientCosineSettings]):
    """Scores a candidate by the cosine between the observed update and minus the candidate's gradient before it."""

    name = "gradient_cosine"

    def scores(
        self,
        observed: Observed,
        candidates: Candidates,
        background: Background,  # noqa: ARG002 - knows the update only
        *,
        seed: int,
        device: str,
    ) -> Tensor:
        """Return the cosines (n,), in [-1, 1]; 0 where a gradient is 0. Each gradient is the mean over all draws.

        Raises:
            ConfigError: no update was observed.
        """
        if not observed.before:
            raise ConfigError("attack 'gradient_cosine': expected an update, and only a trained model was observed.")
        model = rebuilt(observed.model, observed.before, device)
        names = [name for name, _ in model.named_parameters() if name in observed.parameters]
        names = names[-2:] if self.settings.layers == "last" else names
        tensors = [parameter for name, parameter in model.named_parameters() if name in names]
        update = flat([(observed.parameters[name] - observed.before[name]).to(device) for name in names])
        every = [
            queried(model, candidates, self.settings, draw, seed=seed, device=device, at_once=1)
            for draw in range(self.settings.draws)
        ]
        cosines = torch.zeros(len(candidates.labels))
        for place in range(len(cosines)):
            gradients = [_gradient(model, tensors, *next(one)) for one in every]
            cosines[place] = F.cosine_similarity(-torch.stack(gradients).mean(0), update, dim=0)
        return cosines


def _gradient(model: nn.Module, tensors: Sequence[Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the loss of one example, flattened."""
    return flat(torch.autograd.grad(F.cross_entropy(model(inputs), labels), tensors))


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
