"""The points from which a search by gradient matching starts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.matching.problem import MatchingProblem
from attacks.matching.search import Guess
from attacks.matching.victims import Victims
from attacks.settings import SQUARE, MatchingSettings
from fl_sim.seeding import torch_stream

LIKELY = 4.0
"""Lead of the logit of a likely label over the noise N(0, 1) of the others: about 0.75 of the probability among ten."""


def guesses(victims: Victims, settings: MatchingSettings, problem: MatchingProblem, *, seed: int, device: str) -> Guess:
    """Return the function from a victim and the number of an attempt to the point (unknowns,) where that begins."""
    precision = getattr(torch, settings.precision)

    def guess(victim: int, attempt: int) -> Tensor:
        generator = torch_stream(seed, "guess", victims.captures[victim].id, attempt)
        # A second grey guess would be close to the first and diverge like it, so restarts use another distribution.
        kind = settings.guess if attempt == 0 or settings.guess == "spikes" else "normal"
        point = initial_guess(kind, problem.input_size, problem.unknowns, generator)
        likely = victims.likely[victim] if victims.likely else None
        if likely is not None:
            point[problem.input_size :] += LIKELY * F.one_hot(likely.cpu(), problem.classes).flatten()
        if settings.positive == SQUARE:
            point[: problem.input_size] = point[: problem.input_size].abs().sqrt()
        return point.to(device=device, dtype=precision)

    return guess


def initial_guess(kind: str, input_size: int, unknowns: int, generator: torch.Generator) -> Tensor:
    """Return an initial point (unknowns,): inputs drawn according to `kind`, label logits from N(0, 1)."""
    if kind == "uniform":
        inputs = torch.rand(input_size, generator=generator) * 0.1 + 0.45
    elif kind == "spikes":
        inputs = torch.randn(input_size, generator=generator).abs() * 0.1
    else:
        inputs = torch.randn(input_size, generator=generator)
    return torch.cat([inputs, torch.randn(unknowns - input_size, generator=generator)])
