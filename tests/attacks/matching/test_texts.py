"""Attacks on networks that read texts: what is recovered, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from attacks.contracts import StopReason
from attacks.dlg import DLG
from attacks.grnn import GRNN
from attacks.idlg import IDLG
from attacks.matching.words import Valued, Words, descend
from attacks.settings import DLGSettings, IDLGSettings
from fl_sim.errors import ConfigError
from fl_sim.records import CapturedUpdate
from fl_sim.tokens import one_hot, tokens_of
from tests import zoo

Victim = tuple[CapturedUpdate, Tensor, Tensor]


def victims(name: str, count: int = 1, batch: int = 1, length: int = 7) -> tuple[zoo.ZooEntry, list[Victim]]:
    """Return an entry of the zoo, and captures of it with the tokens (N, L) and labels (N,) of their clients."""
    entry = zoo.ZOO[name]
    entry = dataclasses.replace(entry, input=dataclasses.replace(entry.input, height=length))
    found = [zoo.capture_of(entry, seed, batch) for seed in range(count)]
    return entry, [
        (dataclasses.replace(capture, id=f"zoo/r001-c{seed:03d}"), tokens_of(inputs), labels)
        for seed, (capture, inputs, labels) in enumerate(found)
    ]


@pytest.mark.parametrize(
    "attack",
    [DLG(DLGSettings(iterations=20, victims_per_batch=1)), IDLG(IDLGSettings(iterations=20, victims_per_batch=1))],
    ids=["dlg", "idlg"],
)
def test_every_token_of_a_text_is_recovered(attack: DLG | IDLG) -> None:
    """With fewer slots than victims, whose tokens differ."""
    entry, known = victims("lstm_words", 2, length=5)
    with zoo.in_table(entry):
        answers = attack.reconstruct([capture for capture, _, _ in known], seed=0)
    for answer, (_, tokens, labels) in zip(answers, known, strict=True):
        assert answer.inputs.equal(one_hot(tokens, entry.input))
        assert answer.labels.equal(labels)
        assert answer.stop_reason is StopReason.CONVERGED
        assert answer.matching_loss < 1e-12


def test_two_texts_of_a_batch_are_recovered() -> None:
    entry, ((capture, tokens, labels),) = victims("small_gpt", batch=2, length=4)
    with zoo.in_table(entry):
        (answer,) = IDLG(IDLGSettings(iterations=30)).reconstruct([capture], seed=0)
    found = sorted(zip(tokens_of(answer.inputs).tolist(), answer.labels.tolist(), strict=True))
    assert found == sorted(zip(tokens.tolist(), labels.tolist(), strict=True))


def test_a_bag_of_words_gives_the_words_away_and_not_their_order() -> None:
    entry, ((capture, tokens, _),) = victims("bag_of_words")
    with zoo.in_table(entry):
        (answer,) = DLG(DLGSettings(iterations=15)).reconstruct([capture], seed=0)
    assert tokens_of(answer.inputs).sort().values.equal(tokens.sort().values)


def test_no_steps_give_the_guess() -> None:
    entry, ((capture, tokens, _),) = victims("lstm_words")
    with zoo.in_table(entry):
        one, again = (DLG(DLGSettings(iterations=0)).reconstruct([capture], seed=0)[0] for _ in range(2))
    assert one.inputs.equal(again.inputs)
    assert one.inputs.sum(-1).eq(1).all()
    assert not tokens_of(one.inputs).equal(tokens)
    assert set(tokens_of(one.inputs).flatten().tolist()) <= {0, *tokens.flatten().tolist()}


def test_a_batch_that_is_too_large_is_answered_by_a_text() -> None:
    entry, ((capture, _, labels),) = victims("lstm_words", batch=2)
    with zoo.in_table(entry):
        (answer,) = IDLG(IDLGSettings(most_examples=1)).reconstruct([capture], seed=0)
    assert answer.stop_reason is StopReason.NOT_ATTEMPTED
    assert answer.inputs.sum(-1).eq(1).all()
    assert sorted(answer.labels.tolist()) == sorted(labels.tolist())


def test_what_makes_no_texts_is_refused() -> None:
    entry, ((capture, _, _),) = victims("lstm_words")
    with zoo.in_table(entry):
        with pytest.raises(ConfigError, match=r"'grnn' makes images, and .* comes from texts"):
            GRNN().reconstruct([capture], seed=0)
        with pytest.raises(ConfigError, match=r"attack\.thresholding: expected 'none'"):
            DLG(DLGSettings(thresholding="post_optimisation")).reconstruct([capture], seed=0)
        with pytest.raises(ConfigError, match=r"attack\.range_weight: expected 0 for .* reads texts"):
            DLG(DLGSettings(range_weight=0.01)).reconstruct([capture], seed=0)


def test_steps_lead_to_the_only_words_of_loss_zero() -> None:
    """With a loss that counts what is wrong, a replacement or an exchange is always a step down."""
    tokens, labels = torch.tensor([[4, 1, 7], [2, 2, 0]]), torch.tensor([1, 0])

    def evaluate(words: Words) -> Valued:
        wrong = int((words.tokens != tokens).sum() + (words.labels != labels).sum())
        return Valued(float(wrong), torch.zeros(2, 3, 9), torch.zeros(2, 3))

    start = Words(torch.tensor([[1, 4, 0], [0, 2, 2]]), torch.tensor([0, 0]))
    allowed = torch.tensor([0, 1, 2, 4, 7])
    stream = torch.Generator().manual_seed(0)
    found = descend(start, evaluate, allowed, solved=0.0, budget=500, generator=stream)
    assert (found.loss, found.words.tokens.tolist(), found.words.labels.tolist()) == (0.0, tokens.tolist(), [1, 0])
    first = descend(start, evaluate, allowed, solved=0.0, budget=1, generator=stream)
    assert (first.evaluations, first.words) == (1, start)
    few = descend(start, evaluate, allowed, solved=0.0, budget=20, generator=stream)
    assert few.evaluations == 20
    assert few.loss < 6.0
