"""The parts of the reference: the docstring convention, sentences, and how an entry tells its defaults."""

from __future__ import annotations

from judges.plans.keys import Entry, Use, descriptions, first_sentence


class Base:
    """A class.

    Attributes:
        one: of the base.
        low, high: the range, which may
            be (open). More of it.

    What follows is none of it: not this.
    """


class Derived(Base):
    """A class.

    Attributes:
        one: of the derived; see eq. 1 of `x`, e.g. A and B et al. 2020, up to 0.5. A second. A third.
        two: without a full stop
    """


def test_descriptions_are_read_by_the_convention() -> None:
    assert descriptions(Base) == {
        "one": "of the base.",
        "low": "the range, which may be (open). More of it.",
        "high": "the range, which may be (open). More of it.",
    }
    assert set(descriptions(Derived)) == {"one", "low", "high", "two"}
    assert descriptions(int) == {}


def test_the_first_sentence_ends_where_another_begins() -> None:
    described = descriptions(Derived)
    assert first_sentence(described["one"]) == "of the derived; see eq. 1 of `x`, e.g. A and B et al. 2020, up to 0.5."
    assert first_sentence(described["low"]) == "the range, which may be (open)."
    assert first_sentence(described["two"]) == "without a full stop."
    assert first_sentence("less than this. 1e-4 is a number.") == "less than this."
    assert first_sentence("") == ""


def test_an_entry_tells_whose_defaults_differ() -> None:
    uses = (Use("run", "a", "`1`", axis=True), Use("run", "b", "`1`", axis=True), Use("run", "c", "`2`", axis=False))
    entry = Entry("table.key", "integer", "it.", uses)
    assert entry.default == "`1` (c: `2`)"
    assert entry.owners == ["a", "b", "c"]
    assert entry.axis == "run"
    placed = Entry("key", "integer", "it.", (Use("run", "", "`1`", axis=False), Use("train", "", "`2`")))
    assert placed.default == "`1` (train: `2`)"
    assert placed.axis == "no"
