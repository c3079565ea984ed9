from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from attacks.contracts import Reconstruction
from fl_sim.records import SealedBatch
from judges.scoring import class_metrics
from judges.scoring.class_metrics import nearest
from judges.scoring.controls import NO_LABEL, class_means, class_samples, shuffled, swapped_answers
from tests.judges.toys import gestures, stripes


def test_a_remembered_example_is_found_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes()
    theirs, labels = data.train.batch(torch.tensor([17, 120]))
    moved = theirs + torch.tensor([0.0, 0.01])[:, None, None, None]
    monkeypatch.setattr(class_metrics, "AT_ONCE", 40 * theirs[0].numel())
    train, test = nearest(moved, data.train), nearest(moved, data.test)
    assert train.index.tolist() == [17, 120]
    assert torch.equal(train.label, labels)
    assert train.l2.tolist() == pytest.approx([0.0, 0.01 * math.sqrt(theirs[0].numel())], rel=1e-5)
    assert train.mse.tolist() == pytest.approx([0.0, 1e-4], rel=1e-5)
    assert (test.l2 > 10 * train.l2).all()
    everything = data.test.batch()[0].double()
    expected = ((moved[0].double() - everything).square().flatten(1).sum(1)).sqrt()
    assert test.l2[0].item() == pytest.approx(expected.min().item())
    assert test.index[0] == expected.argmin()


def test_recordings_are_compared_as_means_over_time() -> None:
    data = gestures()
    frames, _ = data.train.batch(torch.tensor([3, 8]))
    train = nearest(frames.flip(0).mean(0), data.train)
    assert train.index.tolist() == [3, 8]
    assert train.l2.tolist() == [0.0, 0.0]


def test_some_examples_are_spread_over_the_split() -> None:
    data = stripes()
    count = len(data.train) // 4
    inputs, _ = data.train.batch(torch.tensor([8, 9]))
    found = nearest(inputs, data.train, at_most=count)
    assert (found.index % 4 == 0).all()
    assert found.index[0] == 8
    assert found.l2[0] == 0.0
    assert found.l2[1] > 0


def test_shuffled_keeps_each_reconstructions_density() -> None:
    spikes = (torch.rand(4, 3, 1, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    spikes[:, 2] = 0.0
    mixed = shuffled(spikes, seed=0)
    assert mixed.shape == spikes.shape
    assert torch.equal(mixed.sum((0, 2, 3, 4)), spikes.sum((0, 2, 3, 4)))
    assert not torch.equal(mixed, spikes)
    assert torch.equal(shuffled(spikes[:, :2], seed=0), mixed[:, :2])
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(shuffled(images, seed=1).flatten(1).sort(1).values, images.flatten(1).sort(1).values)


def test_class_means_and_samples_are_of_their_class() -> None:
    data, classes = stripes(), torch.tensor([2, 0])
    inputs, labels = data.train.batch()
    means = class_means(data.train, classes)
    for mean, label in zip(means, (2, 0), strict=True):
        torch.testing.assert_close(mean, inputs[labels == label].mean(0))
    samples = class_samples(data.test, classes, seed=0)
    assert samples.shape == (2, 3, 9, 8)
    assert nearest(samples, data.test).label.tolist() == [2, 0]
    assert torch.equal(class_samples(data.test, classes.flip(0), seed=0), samples.flip(0))
    events = gestures()
    assert class_means(events.train, classes).shape == class_samples(events.test, classes, seed=0).shape
    with pytest.raises(ValueError, match="no example of class 7"):
        class_means(data.train, torch.tensor([7]))


def victims(*labels: Sequence[int], shapes: Sequence[int] | None = None) -> list[SealedBatch]:
    """Return batches with these labels, whose pictures show their places, of squares with these sides."""
    sides = shapes or [3] * len(labels)
    return [
        SealedBatch(f"v{place}", torch.full((len(own), 1, side, side), float(place)), torch.tensor(list(own)))
        for place, (own, side) in enumerate(zip(labels, sides, strict=True))
    ]


def whose(batches: Sequence[SealedBatch], answer: Callable[..., Reconstruction]) -> dict[str, int]:
    """Return {victim: place of the victim whose answer it is given}, if each victim is answered exactly."""
    truths = {batch.capture_id: batch for batch in batches}
    given = swapped_answers([answer(batch) for batch in batches], truths)
    return {one.capture_id: int(one.inputs.flatten()[0]) for one in given}


def test_victims_are_given_the_answer_to_the_next_one_with_another_label(answer: Callable[..., Reconstruction]) -> None:
    assert whose(victims([1], [2], [3]), answer) == {"v0": 1, "v1": 2, "v2": 0}
    assert whose(victims([1], [1], [2], [1]), answer) == {"v0": 2, "v1": 2, "v2": 3, "v3": 2}
    assert whose(victims([1], [1], [1]), answer) == {"v0": 1, "v1": 2, "v2": 0}
    assert whose(victims([1, 2], [1, 2], [2, 3]), answer) == {"v0": 2, "v1": 2, "v2": 0}
    assert whose(victims([1]), answer) == {}


def test_no_victim_is_given_its_own_example_or_one_of_another_shape(answer: Callable[..., Reconstruction]) -> None:
    twice = victims([1], [1], [1])
    twice[1] = SealedBatch("v1", twice[0].inputs.clone(), twice[0].labels)
    assert whose(twice, answer) == {"v0": 2, "v1": 2, "v2": 0}
    assert whose(twice[:2], answer) == {}
    assert whose(victims([1], [2], [3], shapes=[3, 4, 3]), answer) == {"v0": 2, "v2": 0}


def test_a_swapped_answer_cost_nothing_and_names_no_label(answer: Callable[..., Reconstruction]) -> None:
    batches = victims([1], [2])
    one, _ = swapped_answers([answer(batch) for batch in batches], {batch.capture_id: batch for batch in batches})
    assert (one.labels.tolist(), one.seconds, one.gradient_evaluations, one.iterations) == ([NO_LABEL], 0.0, 0, 0)
    assert (math.isnan(one.matching_loss), len(one.loss_history)) == (True, 0)
