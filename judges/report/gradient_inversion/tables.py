"""The table of attacks on still images, in the layout of the paper's Table IV."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fl_sim.records import Scalar
from judges.report.formats import interval, mse, mse_interval, named_shares, number, out_of_100, percent_interval
from judges.report.gradient_inversion.wording import (
    NOTES,
    attack_name,
    defence_name,
    family,
    guess_of,
    model_name,
    tone,
)
from judges.report.table import Cell, Column, Group, Section, Table
from judges.summaries.gradient_inversion import CellSummary, Summary
from judges.summaries.published import Published


@dataclass(frozen=True)
class ImageRow:
    """A line of Table IV: an attack on still images.

    Attributes:
        cell: our figures.
        held_out, chance: the judge's accuracy on examples that it never saw, and that of guessing; None without one.
        no_op: ASR of the attack's initial guess, no step taken; None without a judge.
    """

    cell: CellSummary
    held_out: float | None
    chance: float | None
    no_op: float | None

    @property
    def published(self) -> Published | None:
        """Return the paper's row; None where it has none."""
        return self.cell.published


def image_rows(summary: Summary) -> list[ImageRow]:
    """Return Table IV: every attack on victims that no thresholding was tried on.

    They are ordered by attack, data set, initialisation and model, so that networks that start alike stand together.
    """
    events = {cell.group for cell in summary.cells if cell.tau is not None}
    attacks = [cell for cell in summary.cells if not cell.control and cell.group not in events]
    keys: list[Callable[[CellSummary], str]] = [
        attack_name,
        lambda cell: cell.dataset,
        defence_name,
        lambda cell: cell.init,
        model_name,
    ]
    orders = [list(dict.fromkeys(map(key, attacks))) for key in keys]
    ranked = sorted(attacks, key=lambda cell: [order.index(key(cell)) for key, order in zip(keys, orders, strict=True)])
    rows = []
    for cell in ranked:
        guess = no_op_of(summary, cell)
        rows.append(ImageRow(cell, *judge_facts(summary, cell.dataset), guess.asr if guess else None))
    return rows


def image_sections(summary: Summary) -> Iterator[Section]:
    """Yield the section of Table IV, where there are attacks on still images."""
    rows = image_rows(summary)
    if not rows:
        return
    paper = any(row.published for row in rows)
    blocks = itertools.groupby(rows, key=lambda row: (attack_name(row.cell), row.cell.dataset))
    groups = []
    for (attack, dataset), block in blocks:
        own = list(block)
        facts = named_shares({"held-out": own[0].held_out, "chance": own[0].chance})
        groups.append(Group(own, f"{attack} on {dataset}", facts and f"judge, %: {facts}"))
    table = Table(
        "Table IV",
        list(_image_columns(paper=paper)),
        groups,
        grouped_by="Attack and data",
        note=f"{NOTES['images']} {NOTES['images_paper']}" if paper else NOTES["images"],
        apart=lambda row: row.cell.init,
    )
    title, layout = "Still images: success and similarity", "layout of Table IV of arXiv 2511.21181"
    yield Section("table-iv", title, [table], reference=layout)


def _image_columns(*, paper: bool) -> Iterator[Column[ImageRow]]:
    """Yield the columns of Table IV, those of the paper only where it has a row."""
    yield Column("Model", lambda row: Cell(model_name(row.cell), under=(defence_name(row.cell),)), under="Defence")
    yield Column("Init", lambda row: row.cell.init or "\N{EN DASH}", left=True)
    yield Column("n", lambda row: str(row.cell.n))
    measures: tuple[tuple[str, str, Callable[[ImageRow], Cell], Callable[[Published], str]], ...] = (
        ("ASR, %", "on truth, no-op", _asr, lambda told: out_of_100(told.asr)),
        ("MSE", "median", _mse, lambda told: number(told.mse)),
        ("SSIM", "median, last", _ssim, lambda told: number(told.ssim)),
        ("PSNR, dB", "median", _psnr, lambda told: number(told.psnr_db, 1)),
    )
    for span, under, ours, theirs in measures:
        heading = "ours" if paper else ""
        yield Column(heading, ours, unit="mean [95 %]", span=span, under=under, beside="in")
        if paper:
            yield Column("paper", _theirs(theirs), span=span, theirs=True)
    yield Column("Diverged", lambda row: str(row.cell.diverged))
    yield Column("Verdict", lambda row: Cell(row.cell.verdict, css=f"verdict {tone(row.cell.verdict)}"), left=True)


def _theirs(told: Callable[[Published], str]) -> Callable[[ImageRow], str]:
    """Return what a column of the paper says of a row: nothing where the paper has none."""
    return lambda row: told(row.published) if row.published else ""


def _asr(row: ImageRow) -> Cell:
    cell, beside = row.cell, named_shares({"truth": row.cell.ceiling, "no-op": row.no_op})
    return Cell(out_of_100(cell.asr), "" if cell.asr is None else percent_interval(cell.intervals["asr"]), (beside,))


def _mse(row: ImageRow) -> Cell:
    told = row.cell.mse
    return Cell(mse(told.mean), mse_interval(row.cell.intervals["mse"]), (f"median {mse(told.median)}",))


def _ssim(row: ImageRow) -> Cell:
    told, last = row.cell.ssim, number(row.cell.last_ssim)
    under = f"median {number(told.median)}, last {last}"
    return Cell(number(told.mean), interval(row.cell.intervals["ssim"]), (under,), "best")


def _psnr(row: ImageRow) -> Cell:
    told, bounds = row.cell.psnr_db, row.cell.intervals["psnr_db"]
    return Cell(number(told.mean, 1), interval(bounds, 1), (f"median {number(told.median, 1)}",))


def no_op_of(summary: Summary, cell: CellSummary) -> CellSummary | None:
    """Return the no-op control of a cell's victims at the cell's threshold.

    A control is named after the kind of guess, or after the attack where that has no choice of guesses.
    """
    same = [other for other in summary.cells if other.group == cell.group and other.tau == cell.tau]
    found = {kind: other for other in same if other.control and (kind := guess_of(other)) is not None}
    for kind in (family(cell), guess_of(cell)):
        if kind in found:
            return found[kind]
    attacks = {family(other) for other in same if not other.control}
    return next((control for kind, control in found.items() if kind not in attacks), None)


def judge_facts(summary: Summary, dataset: str) -> tuple[float | None, float | None]:
    """Return the judge's held-out accuracy and chance; None without a judge."""
    facts: Mapping[str, Scalar] = summary.judges.get(dataset, {})
    held_out, chance = (facts.get(name) for name in ("accuracy", "chance"))
    return (held_out if isinstance(held_out, float) else None), (chance if isinstance(chance, float) else None)


def ceilings(summary: Summary) -> dict[str, float | None]:
    """Return the judge's accuracy on the true inputs of all victims of a data set, where it was measured."""
    told: dict[str, float | None] = {}
    for name in summary.judges:
        own = [(cell.ceiling, cell.n) for cell in summary.cells if cell.dataset == name and cell.ceiling is not None]
        told[name] = sum(share * n for share, n in own) / sum(n for _, n in own) if own else None
    return told


def by_group(cells: Sequence[CellSummary]) -> dict[tuple[str, str, str, str], list[CellSummary]]:
    """Return cells by what was attacked, in their order."""
    return {group: [cell for cell in cells if cell.group == group] for group in dict.fromkeys(c.group for c in cells)}
