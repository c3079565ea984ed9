"""Defences, which change a client's update before it is shared: a table name -> function, without importing torch.

Other packages add defences by the entry point `spikeleak.defences`; see `fl_sim.plugins`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pydantic

from fl_sim.defences.claims import ClaimOf
from fl_sim.defences.settings import POISSON as POISSON
from fl_sim.defences.settings import (
    ClipSettings,
    DpSgdSettings,
    LocalBatchNormSettings,
    LocalDpSettings,
    NoiseSettings,
    PruneSettings,
    QuantiseSettings,
    SentClippingSettings,
    SignSettings,
    SoteriaSettings,
    TopKSettings,
)
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.plugins import Table, located, refuse_class, refuse_place, refuse_switch, refuse_text
from fl_sim.specs import Settings
from fl_sim.validation import explain

if TYPE_CHECKING:
    from torch import Generator, Tensor

NO_DEFENCE = "none"

UPDATE, GRADIENT, MESSAGE, SHARING = "update", "gradient", "message", "sharing"
"""What a defence works on: the update that is shared, the gradient of each local step, Flower's messages, or which
parts of the model are shared at all."""


class Defence(Protocol):
    """A defence of updates with its settings."""

    def __call__(
        self, update: Mapping[str, Tensor], *, generator: Generator, memory: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return the update to share in place of `update`, which is not modified.

        Args:
            update: {parameter name: tensor}, a gradient or the difference of weights.
            generator: a CPU generator, the only source of randomness of the defence.
            memory: what the defence has kept of this client's earlier rounds, and then of this one too; None for {}.
        """


@dataclass(frozen=True)
class DefenceEntry:
    """A line of the table of defences.

    Attributes:
        defence: a function with the settings as keywords, or its import path ("package.module:name"). By `works_on`:
            "update": takes a named update and, if it `draws`, a `generator`; returns a named update of the same shapes
            and dtypes; if it `remembers`, takes and returns its memory as well.
            "gradient": takes a model, inputs, labels and a `generator`; returns the gradient of a step and the loss.
            "message": returns a Flower mod.
            "sharing": takes a model; returns the names of the parameters and buffers that stay with each client.
        settings: class of its settings.
        summary: one line for `spikeleak list defences`.
        draws: whether the function draws random numbers and so takes a generator.
        works_on: what it changes, see `defence`.
        remembers: whether it keeps something of each client from round to round.
        strategy: the only strategy with which it works; "" for any.
        static_only: why spiking networks cannot have it; "" if they can.
        extra: what must be installed for it, see `fl_sim.extras`; "" for nothing.
        misfit: a function (model, inputs, labels) that returns why the model cannot have it, or "", or its import path;
            None if any model can.
        claim: what it claims of differential privacy, a `ClaimOf` or its import path; or why it claims nothing.
    """

    defence: str | Callable[..., Any]
    settings: type[Settings]
    summary: str
    draws: bool = False
    works_on: Literal["update", "gradient", "message", "sharing"] = "update"
    remembers: bool = False
    strategy: str = ""
    static_only: str = ""
    extra: str = ""
    misfit: str | Callable[..., str] | None = None
    claim: str | ClaimOf = "Its entry in the table claims nothing."

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
        refuse_place(self, "defence")
        refuse_class(self, "settings", Settings)
        refuse_text(self, "summary")
        refuse_switch(self, "draws", "remembers")


_NO_NOISE = "It adds no noise, so there is no finite epsilon: two updates that differ stay apart for certain."

_OWN = {
    "clip": DefenceEntry(
        "fl_sim.defences.functional:clip",
        ClipSettings,
        "the update is scaled down to an l2 norm of at most C",
        claim=_NO_NOISE,
    ),
    "noise": DefenceEntry(
        "fl_sim.defences.functional:noise",
        NoiseSettings,
        "clipped to C, then Gaussian noise of standard deviation sigma C is added to every entry",
        draws=True,
        claim="fl_sim.defences.accounting:noise_claim",
    ),
    "prune": DefenceEntry(
        "fl_sim.defences.functional:prune",
        PruneSettings,
        "the smallest entries of each tensor by magnitude are set to 0",
        claim=_NO_NOISE,
    ),
    "quantise": DefenceEntry(
        "fl_sim.defences.functional:quantise",
        QuantiseSettings,
        "each tensor is rounded to b bits, uniform and symmetric",
        claim=_NO_NOISE,
    ),
    "sign": DefenceEntry(
        "fl_sim.defences.sign:sign",
        SignSettings,
        "of each entry its sign, times the mean magnitude of its tensor",
        claim=_NO_NOISE,
    ),
    "top_k": DefenceEntry(
        "fl_sim.defences.top_k:top_k",
        TopKSettings,
        "the k largest entries of the whole update; the rest is added to the next round's (error feedback)",
        remembers=True,
        claim=_NO_NOISE,
    ),
    "soteria": DefenceEntry(
        "fl_sim.defences.soteria:soteria",
        SoteriaSettings,
        "the gradient of the last linear layer lacks the features that tell most of the input",
        works_on="gradient",
        static_only="it perturbs one representation of each example, and a spiking network has one for each time step",
        claim="Its bound is on the distance of a reconstruction, not on epsilon, and it adds no noise.",
    ),
    "local_batch_norm": DefenceEntry(
        "fl_sim.defences.local_batch_norm:local_batch_norm",
        LocalBatchNormSettings,
        "the running statistics of batch normalisations stay with the client (FedBN with local_affine, else SiloBN)",
        works_on="sharing",
        misfit="fl_sim.defences.local_batch_norm:misfit",
        claim="fl_sim.defences.local_batch_norm:claim",
    ),
    "dp_sgd": DefenceEntry(
        "fl_sim.defences.dp_sgd:dp_sgd",
        DpSgdSettings,
        "DP-SGD by Opacus: each example's gradient is clipped to C, and noise of sigma C is added to their sum",
        draws=True,
        works_on="gradient",
        extra="dp",
        misfit="fl_sim.defences.dp_sgd:misfit",
        claim="fl_sim.defences.dp_sgd:claim",
    ),
    "flower_local_dp": DefenceEntry(
        "fl_sim.defences.flower:local_dp",
        LocalDpSettings,
        "Flower's LocalDpMod: clipped to C, and noise by its formula for epsilon and delta",
        draws=True,
        works_on="message",
        claim="fl_sim.defences.flower:local_dp_claim",
    ),
    "flower_fixed_clipping": DefenceEntry(
        "fl_sim.defences.flower:fixed_clipping",
        SentClippingSettings,
        "Flower's fixedclipping_mod: clipped to the norm that its strategy sends",
        works_on="message",
        strategy="DifferentialPrivacyClientSideFixedClipping",
        claim="The client clips and adds no noise; the strategy adds noise after the server has seen the update.",
    ),
    "flower_adaptive_clipping": DefenceEntry(
        "fl_sim.defences.flower:adaptive_clipping",
        SentClippingSettings,
        "Flower's adaptiveclipping_mod: clipped to the norm of the round, and tells whether it was",
        works_on="message",
        strategy="DifferentialPrivacyClientSideAdaptiveClipping",
        claim="The client clips and adds no noise; the strategy adds noise after the server has seen the update.",
    ),
}
DEFENCES = Table("spikeleak.defences", DefenceEntry, _OWN)


def build_defence(name: str, settings: Mapping[str, Any] | None = None) -> Defence:
    """Return the defence of updates called `name` with `settings`; missing ones have their defaults.

    Raises:
        ConfigError: the defence is not known, or it does not have or accept a setting.
    """
    return build_entry(name, known_entry(name), settings)


def known_entry(name: str) -> DefenceEntry:
    """Return the entry of a defence; a ConfigError if it is not known."""
    if name not in DEFENCES:
        raise unknown_name("defence.name", name, DEFENCES, addable=True)
    return DEFENCES[name]


def bound(name: str, entry: DefenceEntry, settings: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """Return the function of an entry, which need not be in the table, with its settings.

    Args:
        name: name of the defence in error messages.
        entry: an entry of the table, or any other.
        settings: of the defence; missing ones have their defaults.

    Raises:
        ConfigError: the defence does not have or accept a setting, or its function cannot be imported.
    """
    function = located(entry.defence, f"defence '{name}'")
    try:
        arguments = entry.settings(**(settings or {})).model_dump()
    except pydantic.ValidationError as error:
        raise ConfigError(f"defence '{name}': {explain(entry.settings, error)}") from error
    return functools.partial(function, **arguments)


def build_entry(name: str, entry: DefenceEntry, settings: Mapping[str, Any] | None = None) -> Defence:
    """Return the defence of an entry that works on updates; arguments and errors are those of `bound`.

    Raises:
        ConfigError: also if it works on something else.
    """
    if entry.works_on != UPDATE:
        raise ConfigError(f"defence '{name}': works on the {entry.works_on} and not on the update alone.")
    function = bound(name, entry, settings)

    def defence(
        update: Mapping[str, Tensor], *, generator: Generator, memory: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        drawn = {"generator": generator} if entry.draws else {}
        if not entry.remembers:
            return dict(function(update, **drawn))
        shared, left = function(update, {} if memory is None else dict(memory), **drawn)
        if memory is not None:
            memory.update(left)
        return dict(shared)

    return defence
