"""Defences: their formulas, and their contract."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from fl_sim.defences import DEFENCES, UPDATE, DefenceEntry, build_defence, build_entry
from fl_sim.defences.functional import Update, clip, global_norm, noise, prune, quantise
from fl_sim.defences.settings import ClipSettings, PruneSettings
from fl_sim.errors import ConfigError
from fl_sim.seeding import torch_stream
from fl_sim.testing import DEFENCE_PROMISES, check_defence

FINITE = st.floats(-1e6, 1e6, width=32)
UPDATES = st.dictionaries(
    st.sampled_from(["a.weight", "a.bias", "b.weight"]),
    st.lists(FINITE, min_size=1, max_size=9).map(lambda values: torch.tensor(values)),
    min_size=1,
)
ROUNDING = 1e-6
"""Relative; float32 has 6e-8 an operation."""


def of(**tensors: Any) -> dict[str, Tensor]:
    return {name: torch.tensor(values) for name, values in tensors.items()}


def equal(first: Update, second: Update) -> bool:
    return list(first) == list(second) and all(tensor.equal(second[name]) for name, tensor in first.items())


# Clipping


def test_clipping_scales_the_norm_of_all_tensors_together() -> None:
    update = of(a=[3.0, 0.0], b=[[4.0]])  # of norm 5
    assert equal(clip(update, clipping_norm=2.5), of(a=[1.5, 0.0], b=[[2.0]]))
    assert equal(clip(update, clipping_norm=5.0), update)
    assert equal(clip(update, clipping_norm=7.0), update)
    assert equal(clip(of(a=[0.0]), clipping_norm=1.0), of(a=[0.0]))


@given(UPDATES, st.floats(1e-3, 1e6))
def test_a_clipped_update_is_no_longer_than_told_points_the_same_way_and_is_clipped_once(
    update: dict[str, Tensor], norm: float
) -> None:
    clipped = clip(update, clipping_norm=norm)
    assert global_norm(clipped) <= norm * (1 + ROUNDING)
    if global_norm(update) <= norm:
        assert equal(clipped, update)
        return
    assert global_norm(clipped) == pytest.approx(norm, rel=1e-5)
    for name, again in clip(clipped, clipping_norm=norm).items():
        torch.testing.assert_close(again, clipped[name], rtol=ROUNDING, atol=0)
        torch.testing.assert_close(clipped[name], update[name] * (norm / global_norm(update)), rtol=1e-5, atol=1e-30)


# Noise


@pytest.mark.parametrize(("clipping_norm", "noise_multiplier"), [(2.0, 0.5), (0.1, 4.0)])
def test_the_noise_has_the_standard_deviation_that_was_told(clipping_norm: float, noise_multiplier: float) -> None:
    """Of n draws the standard deviation strays by 1/sqrt(2 n) of itself, the mean by 1/sqrt(n); five of those here."""
    n = 200_000
    update = {"a": torch.full((n // 2,), 7.0), "b": torch.full((n // 2,), -3.0)}
    told = {"clipping_norm": clipping_norm, "noise_multiplier": noise_multiplier}
    shared = noise(update, **told, generator=torch_stream(3, "noise"))
    clipped = clip(update, clipping_norm=clipping_norm)
    drawn = torch.cat([shared[name] - clipped[name] for name in update]).double()
    deviation = noise_multiplier * clipping_norm
    assert float(drawn.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))
    assert abs(float(drawn.mean())) < 5 * deviation / math.sqrt(n)
    inside = float((drawn.abs() < deviation).double().mean())
    assert inside == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.006)  # Gaussian, not of another kind


def test_no_entry_and_no_tensor_gets_the_noise_of_another() -> None:
    update = {"a": torch.zeros(50), "b": torch.zeros(50)}
    shared = noise(update, clipping_norm=1.0, noise_multiplier=1.0, generator=torch_stream(0))
    assert len(torch.unique(torch.cat(list(shared.values())))) == 100


def test_noise_of_nothing_is_clipping() -> None:
    update = of(a=[3.0], b=[4.0])
    shared = noise(update, clipping_norm=1.0, noise_multiplier=0.0, generator=torch_stream(0))
    assert equal(shared, clip(update, clipping_norm=1.0))


def test_the_order_in_which_an_update_holds_its_tensors_changes_no_noise() -> None:
    update = {"a": torch.ones(3), "b": torch.ones(2)}
    turned = {name: update[name] for name in ("b", "a")}
    one, other = (noise(each, clipping_norm=1.0, noise_multiplier=1.0, generator=torch_stream(0)) for each in
                  (update, turned))  # fmt: skip
    assert list(other) == ["b", "a"]
    assert all(one[name].equal(other[name]) for name in one)


# Pruning


def test_pruning_sets_the_smallest_of_each_tensor_to_0() -> None:
    update = of(a=[[0.1, -5.0], [3.0, -0.2]], b=[100.0, 200.0])
    assert equal(prune(update, prune_ratio=0.5), of(a=[[0.0, -5.0], [3.0, 0.0]], b=[0.0, 200.0]))
    assert equal(prune(update, prune_ratio=0.0), update)
    assert equal(prune(update, prune_ratio=1.0), of(a=[[0.0, 0.0], [0.0, 0.0]], b=[0.0, 0.0]))


def test_of_equal_entries_the_first_are_pruned_and_a_ratio_is_taken_as_it_is_written() -> None:
    assert prune(of(a=[2.0, -2.0, 2.0]), prune_ratio=0.4)["a"].tolist() == [0.0, -2.0, 2.0]
    assert int((prune({"a": torch.ones(100)}, prune_ratio=0.29)["a"] == 0).sum()) == 29


@given(UPDATES, st.floats(0, 1))
def test_the_share_that_is_pruned_is_the_one_told_and_what_is_left_is_untouched(
    update: dict[str, Tensor], ratio: float
) -> None:
    for name, kept in prune(update, prune_ratio=ratio).items():
        before = update[name]
        count = math.floor(ratio * before.numel() + 1e-9)
        gone = kept != before
        assert int((kept == 0).sum()) == max(count, int((before == 0).sum()))
        assert int(gone.sum()) <= count
        assert not kept[gone].any()
        if kept.any():
            assert float(kept[kept != 0].abs().min()) >= float(before[gone].abs().max() if gone.any() else 0)


# Quantisation


def test_quantising_to_three_bits_leaves_seven_values() -> None:
    """From -6 to 6 in steps of 2: 6 / (2^2 - 1)."""
    update = {"a": torch.tensor([-6.0, -2.9, -1.1, 0.9, 1.0, 2.9, 3.0, 5.1, 4.9])}
    assert quantise(update, bits=3)["a"].tolist() == [-6.0, -2.0, -2.0, 0.0, 0.0, 2.0, 4.0, 6.0, 4.0]


@given(UPDATES, st.integers(2, 16))
def test_quantising_moves_no_entry_by_more_than_half_a_step(update: dict[str, Tensor], bits: int) -> None:
    for name, found in quantise(update, bits=bits).items():
        before = update[name].double()
        largest = float(before.abs().max())
        step = largest / (2 ** (bits - 1) - 1)
        assert float((found.double() - before).abs().max()) <= step / 2 + ROUNDING * largest
        assert float(found.abs().max()) == pytest.approx(largest, rel=ROUNDING)
        assert len(torch.unique(found.abs())) <= 2 ** (bits - 1)


# The table and the contract


@pytest.mark.parametrize("promise", DEFENCE_PROMISES)
@pytest.mark.parametrize("name", [name for name, entry in DEFENCES.items() if entry.works_on == UPDATE])
def test_a_defence_keeps_its_promise(name: str, promise: str) -> None:
    check_defence(name, only=[promise])


@pytest.mark.parametrize(
    ("name", "settings"),
    [("clip", {"clipping_norm": 1e9}), ("prune", {"prune_ratio": 0.0})],
)
def test_a_defence_may_be_told_to_do_nothing(name: str, settings: Mapping[str, Any]) -> None:
    check_defence(name, settings=settings, changes=False)
    with pytest.raises(AssertionError, match="expected a large update to be changed, but the result is the same"):
        check_defence(name, settings=settings)


def sharing(update: Update, **_: Any) -> dict[str, Tensor]:
    return dict(update)


def adding(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: tensor.add_(1).clone() for name, tensor in update.items()}


def forgetting(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: 2 * tensor for name, tensor in update.items() if name != "bias"}


def flattening(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: 2 * tensor.flatten() for name, tensor in update.items()}


def halving(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: tensor.half() for name, tensor in update.items()}


def dividing(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: tensor / tensor.abs().max() for name, tensor in update.items()}


def drawing(update: Update, *, generator: Generator, **_: Any) -> dict[str, Tensor]:
    return {name: tensor + torch.randn(tensor.shape, generator=generator) for name, tensor in update.items()}


def drawing_elsewhere(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: tensor + torch.randn(tensor.shape, dtype=tensor.dtype) for name, tensor in update.items()}


def doubling(update: Update, **_: Any) -> dict[str, Tensor]:
    return {name: 2 * tensor for name, tensor in update.items()}


@pytest.mark.parametrize(
    ("defence", "draws", "sentence"),
    [
        (sharing, False, r"it changed its argument, or shares its memory"),
        (adding, False, r"it changed its argument"),
        (forgetting, False, r"expected the names \['conv.weight', 'head.weight', 'bias', 'scale'\]"),
        (flattening, False, r"'conv.weight': expected \(4, 1, 5, 5\), found \(100,\)"),
        (halving, False, r"expected torch.float32, found torch.float16"),
        (dividing, False, r"not finite for an update of size 0"),
        (drawing_elsewhere, False, r"it draws from another generator, or keeps a state"),
        (
            doubling,
            True,
            r"got an unexpected keyword|its entry says that it draws, but another seed gives the same result",
        ),
        (drawing, False, r"missing 1 required keyword-only argument: 'generator'"),
        ("fl_sim.defences.functional:gone", False, r"could not be imported: AttributeError"),
    ],
)
def test_a_broken_defence_is_found_with_a_sentence(defence: Any, draws: bool, sentence: str) -> None:
    entry = DefenceEntry(defence, ClipSettings, summary="broken", draws=draws)
    with pytest.raises(AssertionError, match=rf"'defence' \(.*\): .*({sentence})"):
        check_defence(entry)


def test_a_name_that_is_in_no_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'prune'"):
        check_defence("prun")
    with pytest.raises(ConfigError, match=r"defence.name: 'none' is not known"):
        build_defence("none")


def test_a_defence_is_built_with_its_defaults_and_refuses_the_rest() -> None:
    update = of(a=[30.0, 40.0])
    assert equal(build_defence("clip")(update, generator=torch_stream(0)), clip(update, clipping_norm=4.0))
    with pytest.raises(ConfigError, match=r"^defence 'clip': bits: unknown key\. Known: clipping_norm\.$"):
        build_defence("clip", {"bits": 3})
    with pytest.raises(
        TypeError, match=r"DefenceEntry\.settings: expected a class derived from fl_sim\.specs\.Settings"
    ):
        DefenceEntry("a:b", dict, summary="s")  # type: ignore[arg-type]


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, fl_sim.config.defence; sys.exit(bool({'torch', 'flwr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_entry_beside_the_table_is_built_too() -> None:
    entry = DefenceEntry(doubling, PruneSettings, summary="doubles")
    assert equal(build_entry("twice", entry)(of(a=[1.0]), generator=torch_stream(0)), of(a=[2.0]))
