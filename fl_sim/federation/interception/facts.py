"""What the train config says of the clients' training, in the spellings that apps use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging import WARNING
from typing import Any

import pydantic
from flwr.common.logger import log

from fl_sim.client_training import BCE, CROSS_ENTROPY, MSE, NLL, ClientTraining
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.federation.messages import plain_key
from fl_sim.specs import Scalar

WEIGHTS, DELTA, MINUS_DELTA, GRADIENT = SHARES = "weights", "delta", "minus-delta", "gradient"
"""What a client replies with: its weights, the weights after training minus those before or the opposite, or the
gradient."""

_LOSSES = {
    "crossentropyloss": CROSS_ENTROPY, "crossentropy": CROSS_ENTROPY, "ce": CROSS_ENTROPY,
    "nllloss": NLL, "nll": NLL,
    "bcewithlogitsloss": BCE, "bcewithlogits": BCE,
    "mseloss": MSE, "mse": MSE,
}  # fmt: skip
_PRECISIONS = {
    "fp32": "float32", "float32": "float32", "32": "float32",
    "bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16", "float16": "float16", "half": "float16",
}  # fmt: skip


def _positive(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and 0 < value < math.inf else None


def _positive_integer(value: object) -> int | None:
    number = _positive(value)
    return int(number) if number is not None and number.is_integer() else None


def _last_word(value: object) -> str:
    """Return "sgd" of "torch.optim.SGD"; "" of what is not text."""
    return value.rpartition(".")[2].strip().lower() if isinstance(value, str) else ""


def _plain_word(value: object) -> str:
    return _last_word(value).replace("_", "").replace("-", "").replace(" ", "")


@dataclass(frozen=True)
class _Fact:
    """A fact of a capture, the keys under which apps state it, the most reliable first, and how a value is read."""

    keys: tuple[str, ...]
    read: Callable[[object], Any] = lambda value: value


_STEPS: Mapping[str, _Fact] = {
    "learning_rate": _Fact(
        ("learning-rate", "lr", "client-learning-rate", "client-lr", "local-learning-rate", "local-lr", "eta"),
        _positive,
    ),
    "local_steps": _Fact(
        ("local-steps", "num-local-steps", "local-iterations", "num-local-iterations", "local-iters", "num-steps",
         "train-steps", "max-steps", "steps"),
        _positive_integer,
    ),
    "batch_size": _Fact(
        ("batch-size", "local-batch-size", "train-batch-size", "client-batch-size", "batchsize", "bs"),
        _positive_integer,
    ),
    "epochs": _Fact(
        ("local-epochs", "num-local-epochs", "epochs", "num-epochs", "client-epochs", "train-epochs", "n-epochs",
         "max-epochs", "num-train-epochs", "local-ep"),
        _positive_integer,
    ),
}  # fmt: skip
"""Fields of a `CapturedUpdate`."""

_TRAINING: Mapping[str, _Fact] = {
    "loss": _Fact(("loss", "loss-function", "loss-fn", "criterion"), lambda value: _LOSSES.get(_plain_word(value))),
    "label_smoothing": _Fact(("label-smoothing",)),
    "optimiser": _Fact(("optimizer", "optimiser", "client-optimizer", "local-optimizer", "optim"), _last_word),
    "momentum": _Fact(("momentum", "sgd-momentum", "client-momentum", "local-momentum")),
    "dampening": _Fact(("dampening",)),
    "nesterov": _Fact(("nesterov", "use-nesterov")),
    "weight_decay": _Fact(("weight-decay", "wd", "l2-reg", "client-weight-decay")),
    "beta_1": _Fact(("beta-1", "beta1", "adam-beta1", "adam-beta-1")),
    "beta_2": _Fact(("beta-2", "beta2", "adam-beta2", "adam-beta-2")),
    "epsilon": _Fact(("adam-epsilon", "adam-eps")),
    "proximal_mu": _Fact(("proximal-mu", "prox-mu", "fedprox-mu")),
    "clip_norm": _Fact(("clip-norm", "grad-clip-norm", "gradient-clip-norm", "gradient-clip-val")),
    "precision": _Fact(("precision", "amp-dtype"), lambda value: _PRECISIONS.get(_plain_word(value))),
    "drop_last": _Fact(("drop-last",)),
}
"""Fields of a `ClientTraining`."""

_REPORTED: Mapping[str, _Fact] = {"num_examples": _Fact(("num-examples",), _positive_integer)}
"""What clients report themselves, and an operator may know better."""

_READ = {**_STEPS, **_TRAINING, **_REPORTED}
_STATED = {plain_key(name): name for name in ClientTraining.model_fields} | {
    key: name for name, fact in _READ.items() for key in fact.keys
}
"""An operator may also state every field by its own name; in a config, "mean" or "mode" can be about anything."""


@dataclass(frozen=True)
class Facts:
    """What the server knows of a client's training.

    Attributes:
        steps: the values of `CapturedUpdate.learning_rate`, `local_steps`, `batch_size` and `epochs` that are known.
        training: how each step is computed.
        share: what the client replies with, one of `SHARES`; None if nobody says so.
        num_examples: on how many it trains; None if only the client itself says so.
    """

    steps: Mapping[str, Any] = field(default_factory=dict)
    training: ClientTraining = field(default_factory=ClientTraining)
    share: str | None = None
    num_examples: int | None = None


class KnownFacts:
    """Reads the facts in a train config, and fills the gaps with what the operator knows.

    Args:
        client: facts that are not in the train config, by the names of the fields or by a usual spelling; "share", one
            of `SHARES`; and "num_examples", where clients report something else, such as their number of batches.

    Raises:
        ConfigError: a key is not known, or a value is not possible.
    """

    def __init__(self, client: Mapping[str, Scalar] | None) -> None:
        self._known: dict[str, Any] = {}
        for key, value in (client or {}).items():
            self._known |= _stated(key, value)
        self._share = self._known.pop("share", None)
        self._num_examples = self._known.pop("num_examples", None)
        try:
            _training(self._known)
        except pydantic.ValidationError as error:
            raise ConfigError(f"client: {error.errors()[0]['msg']}.") from error
        self._contradicted: set[str] = set()

    def of(self, config: Mapping[str, Scalar]) -> Facts:
        """Return the facts of a client that was sent this config, which wins over the operator's word."""
        sent = _read(config)
        for name in sorted(sent.keys() & self._known.keys() - self._contradicted):
            if sent[name] != self._known[name]:
                self._contradicted.add(name)
                log(
                    WARNING,
                    "Curious server: client says %s is %s, but the train config says %s; the config is recorded.",
                    *(name, self._known[name], sent[name]),
                )
        values = {**self._known, **sent}
        share = config.get("share")
        share = share if isinstance(share, str) and share in SHARES else self._share
        steps = {name: values[name] for name in _STEPS if name in values}
        return Facts(steps, _possible(values), share, self._num_examples)


def _read(config: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return {field: value} of the facts in a config; what cannot be the value of a field is left out."""
    plain = {plain_key(key): value for key, value in reversed(list(config.items()))}
    found: dict[str, Any] = {}
    for facts in (_STEPS, _TRAINING):
        for name, fact in facts.items():
            values = (fact.read(plain[key]) for key in fact.keys if key in plain)
            found[name] = next((value for value in values if value is not None and _fits(name, value)), None)
    return {name: value for name, value in found.items() if value is not None}


def _stated(key: str, value: Scalar) -> dict[str, Any]:
    """Return {field: value} of one fact as the operator states it.

    Raises:
        ConfigError: there is no such fact, or it cannot have this value.
    """
    plain = plain_key(key)
    if plain == "share":
        if value not in SHARES:
            raise ConfigError(f"client.share: expected one of {', '.join(SHARES)}, found {value!r}.")
        return {plain: value}
    name = _STATED.get(plain)
    if name is None:
        raise unknown_name("client", key, {*_READ, *ClientTraining.model_fields, "share"})
    fact = _READ.get(name)
    readings = [value] if fact is None else [fact.read(value), value]
    for reading in readings:
        if reading is not None and _fits(name, reading):
            return {name: reading}
    raise ConfigError(f"client.{key}: {value!r} is not a value of {name}.")


def _fits(name: str, value: object) -> bool:
    """Return whether a field can have a value."""
    if name not in ClientTraining.model_fields:
        return bool(_READ[name].read(value) == value)
    try:
        ClientTraining.model_validate({"momentum": 0.5, name: value} if name == "nesterov" else {name: value})
    except pydantic.ValidationError:
        return False
    return True


def _training(values: Mapping[str, Any]) -> ClientTraining:
    return ClientTraining.model_validate({name: value for name, value in values.items() if name not in _STEPS})


def _possible(values: Mapping[str, Any]) -> ClientTraining:
    """Return the training with these values, without those that are not possible together with the rest."""
    try:
        return _training(values)
    except pydantic.ValidationError:
        return _training({name: value for name, value in values.items() if name != "nesterov"})
