"""What a report on model inversion says first."""

from __future__ import annotations

from judges.report.model_inversion.answer import answer
from tests.judges.class_runs import Toy
from tests.judges.report.model_inversion.test_findings import pair


def test_the_best_attack_on_each_model_tells_what_leaked() -> None:
    told = answer(pair(9, 1).summary())
    assert (told.headline, told.tone) == ("Classes were recovered from 1 of 2 models.", "yes")
    lines = dict(told.shown)
    assert lines["Attacked"] == ["MNIST, ANN MLP, 10 epochs", "MNIST, SNN spiking MLP, 10 epochs"]
    assert lines["By"][0].startswith("MI-Face and BrainLeaks-v2: an adversary who has the trained model")
    started = (
        "MNIST, ANN MLP, 10 epochs: classes recovered by MI-Face: the judge recognises 9 of 10 answers, 95 % interval"
    )
    assert lines["Leaked"][0].startswith(started)
    assert "chance 10\N{NO-BREAK SPACE}%" in lines["Leaked"][0]


def test_no_class_and_no_attack() -> None:
    told = answer(pair(1, 1).summary())
    assert told.headline.startswith("No class was recovered: ")
    assert told.tone in ("no", "open")
    nothing = answer(Toy().summary())
    assert (nothing.headline, nothing.tone, nothing.shown) == ("No attack was scored in this run.", "open", [])
