"""The pictures of a run by data set, networks that were attacked alike in one sheet, and answers without a truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from judges.report.figures import loss_figure
from judges.report.formats import DASH, counted, error, number
from judges.report.gradient_inversion import NOTES
from judges.report.pictures import Block, Part, Sheet, Shot, ShotRow, in_sheets, shot, together
from judges.report.victims.folds import Links
from judges.report.words import tone
from judges.runs.names import attack_name, defence_name, group_name, in_words, init_name, model_name, way_name
from judges.runs.pictures import ANSWER, TRUTH, Pictures
from judges.runs.rows import DIVERGED
from judges.summaries.gradient_inversion import CellSummary, Summary

EVENT_ROLES = ("best", "median", "worst", DIVERGED)
"""What is shown of events: there are many cells, and most answers look the same."""

_DOT = " \N{MIDDLE DOT} "
_NO_LINKS: Links = {}


def picture_blocks(
    gallery: Sequence[Pictures], summary: Summary, shown: Callable[[str], bool], links: Links = _NO_LINKS
) -> list[Block]:
    """Return truth beside answers by data set.

    Args:
        gallery: of a run.
        summary: of the same run.
        shown: whether the pictures of a data set may be shown.
        links: {(key of a gallery, place in it): id of the fold about that victim}.
    """
    cells, blocks = {(cell.group, cell.cell): cell for cell in summary.cells}, []
    for (dataset, timesteps), own in together(gallery, lambda one: (one.dataset, one.timesteps)).items():
        alike = together((one for one in own if not one.texts), _name)
        sheets = [_sheet(name, [(one, cells[one.key]) for one in networks], links) for name, networks in alike.items()]
        drawn = [*(one for networks in alike.values() for one in networks), *(one for one in own if one.texts)]
        losses = [_losses(one, cells[one.key]) for one in drawn]
        success = "recognisable" if any("ssim" in one.numbers for one in own) else "solved"
        keys = {"good": success, "bad": f"not {success}"}
        curves = Part("Loss curves, effort", figures=tuple(losses), folded=True, note=NOTES["losses"], legend=keys)
        note = f"{timesteps} frames summed over time; on orange, off blue" if timesteps else ""
        parts = (Part(sheets=tuple(sheets)), curves) if sheets and shown(dataset) else (curves,)
        blocks.append(Block(in_words(dataset), note, not shown(dataset), parts))
    return blocks


def answer_blocks(answers: Sequence[Pictures], shown: Callable[[str], bool]) -> list[Block]:
    """Return the answers of each cell whose truth nobody kept; `shown` is as in `picture_blocks`."""
    return [
        Block(
            one.cell,
            _answered(one),
            not shown(one.dataset),
            (Part(sheets=in_sheets(one.subjects, [_answers(one)])),) if shown(one.dataset) else (),
        )
        for one in answers
        if not one.texts
    ]


def _answered(one: Pictures) -> str:
    """Return how many captures were attacked, and of how many answers are shown if not of all."""
    shown = len(set(one.subjects))
    return counted(one.captures, "capture") + (f", answers to {shown} of them" if shown < one.captures else "")


def sizes(gallery: Iterable[Pictures]) -> dict[str, tuple[int, ...]]:
    """Return {data set: (T, P, H, W)} of those of events."""
    return {one.dataset: (one.timesteps, *one.images[TRUTH].shape[1:]) for one in gallery if one.timesteps}


def _name(one: Pictures) -> str:
    """Return all that a sheet has in common: it shows networks, and ways of thresholding, that were attacked alike."""
    parts = (
        attack_name(one),
        init_name(one),
        "" if one.tau is None else f"tau {one.tau:g}",
        "" if one.defence == "none" else defence_name(one),
    )
    return ", ".join(part for part in parts if part)


def _sheet(name: str, networks: Sequence[tuple[Pictures, CellSummary]], links: Links) -> Sheet:
    """Return truth above answer of each network, and a column for each role that one of them has."""
    longest_first = sorted((one.roles for one, _ in networks), key=len, reverse=True)
    events = networks[0][0].timesteps > 0
    roles = dict.fromkeys(role for roles in longest_first for role in roles if not events or role in EVENT_ROLES)
    rows = tuple(row for one, cell in networks for row in _rows(one, cell, tuple(roles), links))
    return Sheet(tuple(roles), rows, name)


def _rows(one: Pictures, cell: CellSummary, roles: Sequence[str], links: Links) -> Iterator[ShotRow]:
    """Yield the truth and the answers of one network; a cell is empty where it has no such role."""
    places = [one.roles.index(role) if role in one.roles else -1 for role in roles]
    pairs = [_pair(one, at, links.get((one.key, at), "")) if at >= 0 else (Shot(), Shot()) for at in places]
    way = "" if one.tau is None else f", {way_name(one.thresholding)}"
    yield ShotRow("Truth", f"{model_name(one)}{way}", tuple(truth for truth, _ in pairs))
    verdict = cell.verdict if one.tau is None else ""
    yield ShotRow("Answer", verdict, tuple(answer for _, answer in pairs), tone(verdict))


def _pair(one: Pictures, at: int, link: str) -> tuple[Shot, Shot]:
    """Return what one victim trained on, and what the attack made of its update with how near that is."""
    label, psnr_db, l2 = (one.numbers[name][at] for name in ("label", "psnr_db", "l2"))
    ssim = number(one.numbers["ssim"][at]) if "ssim" in one.numbers else DASH
    caption = f"l2 {number(l2)}" if one.timesteps else f"{ssim}{_DOT}{number(psnr_db, 1)}"
    truth = shot(one, TRUTH, at, f"truth, label {label:.0f}, of {one.subjects[at]}")
    answer = shot(one, ANSWER, at, f"reconstruction of {one.subjects[at]}", caption)
    return replace(truth, link=link), replace(answer, link=link)


def _losses(one: Pictures, cell: CellSummary) -> ShotRow:
    """Return the matching losses of a cell's victims, and what they took."""
    name, seconds = f"{attack_name(one)} on {group_name(one)}", f"{number(cell.seconds, 1)}\N{NO-BREAK SPACE}s"
    effort = f"median {cell.gradient_evaluations:.0f} gradient evaluations, {seconds}"
    alt = f"matching loss of {len(one.loss_curves)} victims against outer step, {name}"
    figure = Shot(loss_figure(one.loss_curves, one.curve_recognisable), alt)
    return ShotRow(name, f"{counted(cell.n, 'victim')}, {cell.diverged} diverged{_DOT}{effort}", (figure,))


def _answers(one: Pictures) -> ShotRow:
    """Return what an attack answered, what it believes, and how well that matches the update."""
    shots = []
    for at, (label, loss) in enumerate(zip(one.numbers["label"], one.numbers["matching_loss"], strict=True)):
        believed = (f"label {label:.0f}",) if label >= 0 else ()
        shots.append(shot(one, ANSWER, at, f"answer to {one.subjects[at]}", *believed, f"loss {error(loss)}"))
    return ShotRow(attack_name(one), model_name(one), tuple(shots))
