"""Weights as other programs name and store them."""

from __future__ import annotations

import pytest

from fl_sim.foreign_weights import strip_common_prefix

NAMES = ["body.0.weight", "body.0.bias", "head.weight"]


@pytest.mark.parametrize("prefix", ["", "module.", "_module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("expected", [(), NAMES, NAMES[:2]])
def test_the_prefix_of_a_wrapper_is_taken_off(prefix: str, expected: list[str]) -> None:
    assert strip_common_prefix([prefix + name for name in NAMES], expected) == (prefix, NAMES)


def test_a_prefix_of_the_model_itself_stays() -> None:
    names = ["net.0.weight", "net.0.bias"]
    assert strip_common_prefix(names) == ("", names)
    assert strip_common_prefix(names, names) == ("", names)
    wrapped = ["module.net.0.weight", "module.net.0.bias"]
    assert strip_common_prefix(wrapped) == strip_common_prefix(wrapped, names) == ("module.", names)
    assert strip_common_prefix(["module.weight"], ["module.weight"]) == ("", ["module.weight"])


def test_any_prefix_is_taken_off_with_which_more_of_the_expected_names_are_there() -> None:
    """A name that is missing or too many is for the caller to report."""
    found = ["model.net.body.0.weight", "model.net.body.0.bias", "model.net.steps"]
    assert strip_common_prefix(found, NAMES) == ("model.net.", ["body.0.weight", "body.0.bias", "steps"])
    assert strip_common_prefix(found) == ("", found)


@pytest.mark.parametrize("expected", [(), NAMES])
def test_names_that_share_nothing_stay(expected: list[str]) -> None:
    names = ["module.weight", "encoder.weight"]
    assert strip_common_prefix(names, expected) == ("", names)
    assert strip_common_prefix([], expected) == ("", [])
    assert strip_common_prefix(["weight"], expected) == ("", ["weight"])
