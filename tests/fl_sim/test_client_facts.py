"""What a train config says of the clients' training, in the spellings of many apps."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # typer 0.20 reads two names that click 8.5 deprecates; neither is ours.
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    import flwr.serverapp  # noqa: F401

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.client_training import ClientTraining
from fl_sim.errors import ConfigError
from fl_sim.federation.interception.facts import KnownFacts
from fl_sim.specs import Scalar


def steps(config: dict[str, Scalar], **client: Scalar) -> dict[str, object]:
    return dict(KnownFacts(client).of(config).steps)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"lr": 0.1}, {"learning_rate": 0.1}),
        ({"learning_rate": 1, "lr": 0.5}, {"learning_rate": 1.0}),
        ({"Local_Epochs": 2, "batch_size": 16}, {"epochs": 2, "batch_size": 16}),
        ({"num-epochs": 3, "local-steps": 4.0}, {"epochs": 3, "local_steps": 4}),
        ({"epochs": 1, "bs": 8, "server-round": 5}, {"epochs": 1, "batch_size": 8}),
        ({"lr": -1.0, "epochs": 0, "batch-size": "8", "steps": True}, {}),
        ({"lr": float("nan"), "epochs": 1.5, "max-steps": -1}, {}),
        ({"mu": 5.0, "clipping-norm": 1.0, "epsilon": 8.0}, {}),
    ],
)
def test_steps_are_read_in_usual_spellings(config: dict[str, Scalar], expected: dict[str, object]) -> None:
    assert steps(config) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"momentum": 0.9, "weight_decay": 1e-4}, {"momentum": 0.9, "weight_decay": 1e-4}),
        ({"optimizer": "torch.optim.SGD", "nesterov": True, "momentum": 0.5},
         {"optimiser": "sgd", "nesterov": True, "momentum": 0.5}),
        ({"optim": "AdamW"}, {}),
        ({"nesterov": True}, {}),
        ({"proximal-mu": 0.0}, {"proximal_mu": 0.0}),
        ({"criterion": "CrossEntropyLoss", "precision": "bf16-mixed"}, {"loss": "cross_entropy"}),
        ({"loss": 0.3, "momentum": 1.5, "mode": "fast", "mean": 3.0}, {}),
        ({"mu": 5.0, "epsilon": 8.0, "clipping-norm": 1.0}, {}),
    ],
)  # fmt: skip
def test_the_training_is_read_and_what_may_be_something_else_is_not(
    config: dict[str, Scalar], expected: dict[str, object]
) -> None:
    assert KnownFacts(None).of(config).training.known() == expected


def test_the_operator_fills_gaps_and_the_config_wins(caplog: pytest.LogCaptureFixture) -> None:
    known = KnownFacts({"epochs": 1, "lr": 0.1, "mean": "0.5 0.5", "share": "gradient"})
    for _ in range(2):
        facts = known.of({"learning-rate": 0.2, "momentum": 0.9})
        assert facts.steps == {"epochs": 1, "learning_rate": 0.2}
        assert facts.training == ClientTraining(mean="0.5 0.5", momentum=0.9)
        assert facts.share == "gradient"
    said = "client says learning_rate is 0.1, but the train config says 0.2; the config is recorded."
    assert caplog.text.count(said) == 1


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ({"epoch": 1}, "'epoch' is not known. Did you mean 'epochs'"),
        ({"lr": -1.0}, "client.lr: -1.0 is not a value of learning_rate"),
        ({"optimizer": "lion"}, "client.optimizer: 'lion' is not a value of optimiser"),
        ({"nesterov": True}, "nesterov: needs a momentum above 0"),
        ({"num_examples": 0}, "client.num_examples: 0 is not a value of num_examples"),
        ({"share": "logits"}, "expected one of weights, delta, minus-delta, gradient"),
    ],
)
def test_a_fact_that_cannot_be_is_refused_before_anything_is_sent(client: dict[str, Scalar], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        KnownFacts(client)
    assert reason in str(caught.value)


@given(st.dictionaries(st.sampled_from(["lr", "nesterov", "momentum", "loss", "optimizer", "epochs", "x", "share"]),
                       st.one_of(st.text(max_size=5), st.integers(), st.floats(), st.booleans())))  # fmt: skip
def test_no_config_breaks_the_reading(config: dict[str, Scalar]) -> None:
    facts = KnownFacts(None).of(config)
    assert isinstance(facts.training, ClientTraining)
