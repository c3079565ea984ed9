"""Label recovery from the last layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks.labels import recover_labels
from fl_sim.errors import ConfigError
from fl_sim.models import build_model
from fl_sim.training import gradient
from tests.attacks.helpers import LENET, SMALL, SPIKING_LENET, captures_of, truth


@pytest.mark.parametrize("rule", ["weights", "bias"])
def test_both_rules_read_every_label_of_a_sigmoid_network(rule: str) -> None:
    inputs, labels = truth(20)
    for capture, expected in zip(captures_of(LENET, inputs, labels), labels, strict=True):
        assert recover_labels(capture.update, classes=4, count=1, rule=rule).equal(expected)  # type: ignore[arg-type]


def test_the_bias_rule_reads_labels_through_a_silent_last_layer() -> None:
    """With torch's init the last spiking layer is silent: its weight gradient is 0 and says nothing."""
    silent = replace(SPIKING_LENET, init="torch")
    inputs, labels = truth(12)
    captures = captures_of(silent, inputs * 0.05, labels)
    assert all(not capture.update["head.weight"].any() for capture in captures)
    found = [recover_labels(capture.update, classes=4, count=1, rule="bias") for capture in captures]
    assert torch.stack(found).equal(labels)
    assert not torch.stack([recover_labels(c.update, classes=4, count=1, rule="weights") for c in captures]).equal(
        labels
    )


def test_a_batch_with_all_labels_different() -> None:
    inputs, _ = truth(3)
    labels = torch.tensor([3, 0, 1])
    update = gradient(build_model(LENET, seed=0), inputs[:, 0], labels)
    assert recover_labels(update, classes=4, count=3, rule="weights").tolist() == [0, 1, 3]


def test_a_model_without_the_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="7 outputs"):
        recover_labels({"w": torch.zeros(3, 2)}, classes=7, count=1, rule="weights")
    assert SMALL.classes == 4
