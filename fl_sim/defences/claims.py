"""What a defence claims: (epsilon, delta) for a unit of privacy and a reader, or why there is no sound claim.

Nothing here imports torch. The accountants are in `fl_sim.defences.accounting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fl_sim.plugins import located
from fl_sim.specs import Scalar, Settings

SERVER: Final = "the server"
READERS: Final = "readers of the global models"

EXAMPLE: Final = "example"
CLIENT: Final = "client"
"""Units of privacy: one example of a client in place of a null one, or all that a client shares in a round."""

DELTA = 1e-5
"""The delta of claims of defences that have no such setting."""


class Claim(Settings):
    """What a defence claims of a whole federation.

    Attributes:
        defence: name of the defence, or of the strategy that defends.
        against: whose view the claim is about, `SERVER` or `READERS`.
        epsilon, delta: of all releases of the federation together; None where no sound claim is made.
        unit: what is protected, `EXAMPLE` or `CLIENT`; "" without a claim.
        accountant: "rdp" or "prv", both Opacus'; "" without a claim.
        noise_multiplier: standard deviation of the noise, divided by the largest change that one unit can make.
        sampling_rate: probability with which a unit takes part in a release; 1 where no amplification is claimed.
        releases: number of releases that are composed.
        stated_epsilon, stated_delta: what the defence's own settings say of one release.
        stated_is_sound: whether that is proven; None where it states nothing.
        reason: what the claim rests on and does not cover, or why there is none, in sentences.
    """

    defence: str
    against: Literal["the server", "readers of the global models"] = "the server"
    epsilon: float | None = None
    delta: float | None = None
    unit: Literal["example", "client", ""] = ""
    accountant: Literal["rdp", "prv", ""] = ""
    noise_multiplier: float | None = None
    sampling_rate: float | None = None
    releases: int | None = None
    stated_epsilon: float | None = None
    stated_delta: float | None = None
    stated_is_sound: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Exposure:
    """How often a federation releases something of the unit that a defence protects.

    Attributes:
        rounds: number of rounds, in each of which a client shares at most one update.
        uses: largest number of local steps in which one example is used, over all rounds, where batches are cut from
            permutations.
        steps: number of a client's local steps, over all rounds; 0 where that is not set, as with passes.
        rate: largest probability with which an example is in a batch where each is drawn by itself.
        sampled: number of clients that are asked in a round.
        heaviest: largest weight that one client can have in the average of a round, in [0, 1].
        all_answer: whether all clients that are asked answer.
    """

    rounds: int
    uses: int
    steps: int = 0
    rate: float = 1.0
    sampled: int = 1
    heaviest: float = 1.0
    all_answer: bool = True


ClaimOf = Callable[[str, Mapping[str, Scalar], Exposure], Claim]
"""(name of the defence, its settings, the exposure) -> its claim."""


def claim_by(rule: str | ClaimOf, name: str, settings: Mapping[str, Scalar], exposure: Exposure) -> Claim:
    """Return the claim of a defence or strategy.

    Args:
        rule: a `ClaimOf` or its place "package.module:name"; any other text is the reason why there is no claim.
        name: name of the defence or strategy.
        settings: all of its settings.
        exposure: how often a unit is released.

    Raises:
        ConfigError: the rule cannot be imported.
    """
    if isinstance(rule, str) and not rule.startswith("fl_sim."):
        return Claim(defence=name, reason=rule)
    function: ClaimOf = located(rule, f"claim of '{name}'")
    return function(name, settings, exposure)
