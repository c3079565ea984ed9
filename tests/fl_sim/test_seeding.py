"""Named random streams: each consumer has its own, and nobody's depends on another's."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.seeding import derive_seed, numpy_stream, torch_stream

NAMES = st.lists(st.text(alphabet="abc012", min_size=1, max_size=3) | st.integers(0, 9), max_size=4)


@given(st.integers(), NAMES)
def test_a_seed_repeats_and_fits_every_generator(root: int, names: list[str | int]) -> None:
    seed = derive_seed(root, *names)
    assert seed == derive_seed(root, *names)
    assert 0 <= seed < 2**63


@given(st.integers(0, 5), NAMES, st.integers(0, 5), NAMES)
def test_seeds_are_equal_for_equal_names_in_the_same_order_only(
    root: int, names: list[str | int], other_root: int, others: list[str | int]
) -> None:
    same = (root, *map(str, names)) == (other_root, *map(str, others))
    assert (derive_seed(root, *names) == derive_seed(other_root, *others)) is same


def test_a_seed_depends_on_each_name_their_order_and_where_one_ends() -> None:
    seeds = [
        derive_seed(0),
        derive_seed(1),
        derive_seed(0, "guess"),
        derive_seed(0, "guess", "a"),
        derive_seed(0, "a", "guess"),
        derive_seed(0, "guess", "b"),
        derive_seed(0, "guessa"),
        derive_seed(0, "guess", "a", 0),
        derive_seed(0, "guess", "a", 1),
        derive_seed(0, 1, 2),
        derive_seed(0, 12),
        derive_seed(0, ""),
    ]
    assert len(set(seeds)) == len(seeds)


def test_a_seed_is_the_first_63_bits_of_a_sha_256() -> None:
    """Whatever changes the derivation changes every published number."""
    digest = hashlib.sha256(b"7\x1fguess\x1f3").hexdigest()
    assert derive_seed(7, "guess", 3) == int(digest[:16], 16) // 2


def test_streams_of_the_same_name_repeat_and_of_another_differ() -> None:
    draws = [torch.rand(1000, generator=torch_stream(0, name)) for name in "aab"]
    assert draws[0].equal(draws[1])
    assert abs(float(torch.corrcoef(torch.stack([draws[0], draws[2]]))[0, 1])) < 0.1  # 3 standard errors
    numbers = [numpy_stream(0, name).random(1000) for name in "aab"]
    assert np.array_equal(numbers[0], numbers[1])
    assert abs(np.corrcoef(numbers[0], numbers[2])[0, 1]) < 0.1


def test_drawing_from_one_stream_moves_no_other() -> None:
    untouched = torch.rand(5, generator=torch_stream(3, "client", 1))
    neighbour, stream = torch_stream(3, "client", 0), torch_stream(3, "client", 1)
    torch.rand(100, generator=neighbour)
    assert torch.rand(5, generator=stream).equal(untouched)


def test_the_global_generators_are_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what is looked at
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = torch.rand(3, generator=torch_stream(0, "a")), numpy_stream(0, "a").random(3)
    after = torch.get_rng_state(), np.random.get_state()[1]  # type: ignore[index]  # noqa: NPY002
    assert before[0].equal(after[0])
    assert np.array_equal(before[1], after[1])
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert torch.rand(3, generator=torch_stream(0, "a")).equal(first[0])
    assert np.array_equal(numpy_stream(0, "a").random(3), first[1])


def test_streams_are_drawn_on_the_cpu() -> None:
    assert torch_stream(0, "a").device.type == "cpu"
