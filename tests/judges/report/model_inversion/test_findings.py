"""What the page says was found, for each way in which a run can come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from judges.report.model_inversion.findings import Followed, Headline, Kept, NoCopies, Pair, Remembered, find
from judges.report.model_inversion.sentences import findings
from judges.summaries.class_verdicts import FAILED, FOOLED
from tests.judges.class_runs import Toy, central_run, federated_run


def told(toy: Toy) -> list[str]:
    return findings(toy.summary())


def one_of(sentences: Iterable[str], *words: str) -> str:
    """Return the only sentence that has all of these words."""
    (found,) = [sentence for sentence in sentences if all(word in sentence for word in words)]
    return found


def pair(ann: int, snn: int, **changes: Any) -> Toy:
    """Return a run in which the judge recognises so many of ten answers of each network."""
    toy = Toy()
    toy.attack(toy.target("mnist", "mlp", accuracies=(0.9,)), "mi_face", ann, picture=False)
    toy.attack(toy.target("mnist", "spiking_mlp", accuracies=(0.9,)), "brainleaks_v2", snn, picture=False, **changes)
    return toy


def test_the_values_behind_the_sentences() -> None:
    headline, first, copies = find(pair(9, 10).summary())
    assert isinstance(first, Pair)
    assert headline == Headline((first,))
    assert (first.dataset, first.family) == ("mnist", "")
    assert (first.comparable, first.safer, first.no_safer) == (True, False, True)
    assert [cell.attack for cell in first.cells] == ["mi_face", "brainleaks_v2"]
    assert first.controls[0] == {"shuffled": 0.0, "class mean": 1.0, "real": 0.9, "chance": 0.1}
    assert copies == NoCopies(0.5, 0.5)


def test_what_kept_its_classes_is_told_with_its_verdict() -> None:
    (fooled,) = [one for one in find(pair(9, 1).summary()) if isinstance(one, Kept)]
    assert (fooled.verdict, len(fooled.cells)) == (FOOLED, 1)
    (failed,) = [one for one in find(pair(9, 1, target_confidence=0.2).summary()) if isinstance(one, Kept)]
    assert (failed.verdict, [cell.attack for cell in failed.cells]) == (FAILED, ["brainleaks_v2"])
    (near,) = [one for one in find(pair(9, 10, nearer_train=True).summary()) if isinstance(one, Remembered)]
    assert [cell.attack for cell in near.cells] == ["brainleaks_v2"]


def test_each_attack_is_followed_from_the_first_round_to_the_last() -> None:
    lines = [one for one in find(federated_run().summary()) if isinstance(one, Followed)]
    assert [(one.cells[0].attack, *(target.round for target in one.targets)) for one in lines] == [
        ("mi_face", 1, 5), ("brainleaks_v2", 1, 5),
    ]  # fmt: skip


def test_recovered_classes_are_the_main_result() -> None:
    first, *rest = told(pair(9, 10))
    assert first.startswith("Classes came back from the SNN (MNIST) and from the ANN (MNIST).")
    assert "The SNN is no safer than the ANN on MNIST." in first
    sentence = one_of(rest, "MNIST: the judge recognises")
    assert "90\u00a0% [70, 100] of the answers of MI-Face on the ANN (DAA 90\u00a0%" in sentence
    assert "shuffled 0\u00a0%, real 90\u00a0%, chance 10\u00a0%" in sentence
    assert "The SNN is no safer: it gave away as much or more, though the intervals meet." in sentence


def test_an_snn_that_gives_more_away_is_no_safer() -> None:
    first, *rest = told(pair(2, 10))
    assert "no safer than the ANN on MNIST" in first
    assert "No classes" not in first
    assert one_of(rest, "MNIST: the judge").endswith("The SNN is no safer: it gave away as much or more.")


def test_an_snn_that_gives_less_away_is_safer_against_these_attacks() -> None:
    first, *rest = told(pair(10, 1))
    assert first.startswith("Classes came back from the ANN (MNIST); none came back from the SNN (MNIST).")
    assert "The SNN is safer against these attacks on MNIST." in first
    assert "gave away less to these attacks than the ANN" in one_of(rest, "MNIST: the judge")


def test_a_difference_within_the_intervals_proves_nothing() -> None:
    first, *rest = told(pair(7, 5))
    assert "The SNN is not shown to be safer on MNIST." in first
    assert "does not follow" in one_of(rest, "MNIST: the judge")


def test_nothing_follows_from_an_attack_that_failed() -> None:
    first, *rest = told(pair(9, 1, target_confidence=0.2))
    assert first == (
        "Classes came back from the ANN (MNIST); none came back from the SNN (MNIST). Nothing follows about the SNN "
        "(MNIST)."
    )
    assert one_of(rest, "MNIST: the judge").endswith("Nothing follows about the SNN.")
    failed = one_of(rest, "nothing follows about these models")
    assert "BrainLeaks-v2 on MNIST (SNN; target convinced by 0\u00a0% of the answers" in failed
    assert "DAA 10\u00a0%" in failed
    assert not any("safer" in sentence for sentence in (first, *rest))


def test_an_attack_that_diverged_says_nothing_either() -> None:
    sentences = told(pair(9, 0, stop_reason="diverged"))
    assert "BrainLeaks-v2 on MNIST" in one_of(sentences, "Diverged, so nothing follows")
    assert one_of(sentences, "MNIST: the judge").endswith("Nothing follows about the SNN.")


def test_fooling_the_target_is_no_proof_of_privacy() -> None:
    sentences = told(pair(9, 1))
    assert "BrainLeaks-v2 on MNIST (SNN; target convinced by 100\u00a0%" in one_of(sentences, "Only fools the target")


def test_traces_and_a_blind_judge_are_told() -> None:
    sentences = told(pair(9, 1, distinctive=True))
    assert "DAA 100\u00a0%" in one_of(sentences, "Not recognised, but answers of different classes are told apart")
    blind = Toy()
    target = blind.target("mnist", "spiking_mlp", classes=3, accuracies=(0.9,))
    blind.attack(target, "brainleaks_v2", 1, picture=False)
    assert "BrainLeaks-v2 on MNIST" in one_of(told(blind), "so it cannot tell")


def test_memorisation_is_told_of_what_came_back_only() -> None:
    same = one_of(told(pair(9, 10)), "Nothing points to copies")
    assert "in 50\u00a0% of cases" in same
    near = one_of(told(pair(9, 10, nearer_train=True)), "Nearer to training examples than")
    assert "BrainLeaks-v2 on MNIST (SNN) in 100\u00a0% [69, 100]" in near
    assert "MI-Face" not in near
    nothing = told(pair(1, 1))
    assert not any("copies" in sentence for sentence in nothing)


def test_the_strongest_attack_speaks_for_a_network() -> None:
    sentences = told(central_run())
    assert "BrainLeaks-v2 on the SNN" in one_of(sentences, "MNIST: the judge recognises")
    assert "BrainLeaks-v1" not in one_of(sentences, "MNIST: the judge recognises")
    assert sentences[0].startswith(
        "Classes came back from the SNN in 2 of 4 cases (MNIST, AT&T faces (split 8:9)) and from the"
    )
    assert "no safer than the ANN on MNIST; safer against these attacks on AT&T faces (split 8:9)" in sentences[0]


def test_accuracy_never_stands_without_daa() -> None:
    for sentence in (*told(central_run()), *told(federated_run())):
        if "attack accuracy" in sentence or "the judge recognises" in sentence:
            assert "DAA" in sentence


def test_the_rounds_of_a_federation_are_told() -> None:
    sentences = told(federated_run())
    assert "(digits in the federation)" in sentences[0]
    rounds = one_of(sentences, "from round 1 to round 5", "BrainLeaks-v2")
    assert "test accuracy goes from 19\u00a0% to 95\u00a0%" in rounds
    assert "goes from 0\u00a0% to 88\u00a0% (DAA goes from 0\u00a0% to 88\u00a0%)" in rounds


def test_two_architectures_on_one_data_set_are_told_apart() -> None:
    toy = pair(9, 10)
    toy.attack(toy.target("mnist", "lenet", accuracies=(0.9,)), "mi_face", 1, picture=False)
    first, *rest = told(toy)
    assert "from the ANN in 1 of 2 cases (MNIST, MLP)" in first
    assert one_of(rest, "MNIST, LeNet: the judge")


def test_a_run_without_attacks() -> None:
    toy = Toy()
    toy.target("mnist", "mlp")
    assert told(toy) == ["No attack was scored in this run."]
