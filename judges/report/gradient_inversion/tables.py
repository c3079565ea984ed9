"""The table of attacks on still images, in the layout of the paper's Table IV."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from judges.report.formats import DASH, Form, grouped, interval, mse, named_shares, number, out_of_100, tenths
from judges.report.gradient_inversion import NOTES
from judges.report.judges import judge_share
from judges.report.table import Cell, Column, Group, Section, Table, share_cell
from judges.report.words import verdict_cell
from judges.runs.identity import NO_OP
from judges.runs.identity import Group as Victims
from judges.runs.names import attack_name, defence_name, in_words, model_name
from judges.summaries.gradient_inversion import CellSummary, Summary

_MEASURES: tuple[tuple[str, str, Form, Form], ...] = (
    ("MSE", "mse", mse, number),
    ("SSIM", "ssim", number, number),
    ("PSNR, dB", "psnr_db", tenths, tenths),
)
"""Heading, column of the summary, and formats of our numbers and of the paper's."""


class ImageRow(NamedTuple):
    """A line of Table IV: an attack on still images, beside what the judge, if any, makes of other pictures."""

    cell: CellSummary
    held_out: float | None  # accuracy on examples that the judge never saw
    chance: float | None
    no_op: float | None  # ASR of the attack's initial guess, no step taken


def image_rows(summary: Summary) -> list[ImageRow]:
    """Return Table IV: every attack on victims that no thresholding was tried on.

    They are ordered by attack, data set, initialisation and model, so that networks that start alike stand together.
    """
    plain = [cell for own in plain_groups(summary).values() for cell in own]
    attacks = [cell for cell in plain if not cell.is_control and cell.token_accuracy is None]

    def names(cell: CellSummary) -> tuple[str, ...]:
        return attack_name(cell), cell.dataset, defence_name(cell), cell.init, model_name(cell)

    orders = [list(dict.fromkeys(column)) for column in zip(*map(names, attacks), strict=True)]

    def places(cell: CellSummary) -> list[int]:
        return [order.index(name) for order, name in zip(orders, names(cell), strict=True)]

    rows = []
    for cell in sorted(attacks, key=places):
        guess = no_op_of(summary, cell)
        rows.append(ImageRow(cell, *judge_facts(summary, cell.dataset), guess.asr if guess else None))
    return rows


def image_section(summary: Summary) -> Section:
    """Return the section of Table IV."""
    rows = image_rows(summary)
    groups = []
    for (attack, dataset), block in itertools.groupby(rows, lambda row: (attack_name(row.cell), row.cell.dataset)):
        own = list(block)
        facts = named_shares({"held-out": own[0].held_out, "chance": own[0].chance})
        groups.append(Group(own, f"{attack} on {in_words(dataset)}", facts and f"judge, %: {facts}"))
    paper = any(row.cell.published for row in rows)
    notes = {"images": True, "images_paper": paper, "protocol": any(row.cell.as_published for row in rows)}
    table = Table(
        "Table IV",
        list(_image_columns(paper=paper)),
        groups,
        grouped_by="Attack and data",
        note=" ".join(NOTES[name] for name, applies in notes.items() if applies),
        apart=lambda row: row.cell.init,
    )
    title, layout = "Still images: success and similarity", "layout of Table IV of arXiv 2511.21181"
    return Section("table-iv", title, [table], reference=layout)


def _image_columns(*, paper: bool) -> Iterator[Column[ImageRow]]:
    """Yield the columns of Table IV, those of the paper only where it has a row."""
    ours, unit = "ours" if paper else "", "mean [95 %]"
    yield Column("Model", _model, under="Defence")
    yield Column("Init", lambda row: row.cell.init or DASH, left=True)
    yield Column("n", lambda row: str(row.cell.n))
    yield Column(ours, _asr, unit=unit, span="ASR, %", under="on truth, no-op, last", beside="in")
    if paper:
        yield Column("paper", partial(_of_paper, measure="asr", form=out_of_100), span="ASR, %", theirs=True)
    for span, name, form, theirs in _MEASURES:
        measured = partial(_measured, measure=name, form=form)
        yield Column(ours, measured, unit=unit, span=span, under="median, last", beside="in")
        if paper:
            yield Column("paper", partial(_of_paper, measure=name, form=theirs), span=span, theirs=True)
    yield Column("Diverged", lambda row: str(row.cell.diverged))
    yield Column("Verdict", lambda row: verdict_cell(row.cell.verdict), left=True)


def _model(row: ImageRow) -> Cell:
    return Cell(model_name(row.cell), under=("" if row.cell.defence == "none" else defence_name(row.cell),))


def _asr(row: ImageRow) -> Cell:
    """Return the judge's verdict, beside those on the truth, on the initial guess and on the last iterate."""
    under = named_shares({"truth": row.cell.ceiling, "no-op": row.no_op, "last": row.cell.last["asr"]})
    return share_cell(row.cell.asr, row.cell.intervals["asr"], under)


def _measured(row: ImageRow, measure: str, form: Form) -> Cell:
    """Return the mean, the interval and the median of a measure, and its mean over the last iterates.

    It is a dash where the measure is not defined, and where no input was looked for.
    """
    values, bounds = getattr(row.cell, measure), row.cell.intervals[measure]
    if values is None or not row.cell.is_attempted:
        return Cell(DASH)
    last = row.cell.last[measure]
    under = f"median {form(values.median)}, last {DASH if last is None else form(last)}"
    return Cell(form(values.mean), interval(bounds, form), (under,), "main" if measure == "ssim" else "")


def _of_paper(row: ImageRow, measure: str, form: Form) -> str:
    return form(getattr(row.cell.published, measure)) if row.cell.published else ""


def no_op_of(summary: Summary, cell: CellSummary) -> CellSummary | None:
    """Return the no-op control on the victims of a cell that has the same guess and threshold."""
    key = cell.group, cell.guess, cell.tau
    controls = (other for other in summary.cells if other.control == NO_OP)
    return next((other for other in controls if (other.group, other.guess, other.tau) == key), None)


def judge_facts(summary: Summary, dataset: str) -> tuple[float | None, float | None]:
    """Return the judge's held-out accuracy and chance; None without a judge."""
    facts = summary.judges.get(dataset, {})
    return judge_share(facts, "accuracy"), judge_share(facts, "chance")


def ceilings(summary: Summary) -> dict[str, float | None]:
    """Return the judge's accuracy on the true inputs of all victims of a data set, where it was measured."""
    shares: dict[str, float | None] = {}
    for name in summary.judges:
        own = [(cell.ceiling, cell.n) for cell in summary.cells if cell.dataset == name and cell.ceiling is not None]
        shares[name] = sum(share * n for share, n in own) / sum(n for _, n in own) if own else None
    return shares


def by_group(cells: Iterable[CellSummary]) -> dict[Victims, list[CellSummary]]:
    """Return cells by what was attacked."""
    return grouped(cells, lambda cell: cell.group)


def plain_groups(summary: Summary) -> dict[Victims, list[CellSummary]]:
    """Return the cells of each group on which no thresholding was tried."""
    return {group: own for group, own in by_group(summary.cells).items() if all(cell.tau is None for cell in own)}
