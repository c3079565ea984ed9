"""An ordinary network beside its spiking twin on the same examples: what the network alone changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from judges.report.formats import DASH, counted, grouped, interval, number, out_of_100, tenths
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.names import attack_name, group_name, in_words
from judges.summaries.contrast import Contrast, Difference
from judges.summaries.published import PUBLISHED

_TITLE = "The spiking network beside its ordinary twin"
_NOTE = (
    "Spiking minus ordinary, pair by pair, for the same examples, the same initialisation and the same attack; below "
    "each difference its 95 % interval. A difference below 0 says that this attack gets less out of the spiking "
    "network at this budget, not that less is there. ASR is the share of answers in which the judge sees the true "
    "class; the ratio is that of the spiking network to that of its twin."
)


def contrast_section(contrasts: Sequence[Contrast]) -> Section:
    """Return the section on all contrasts of a run, with the paper's ratio of ASRs where its table has both rows."""
    columns: list[Column[Contrast]] = [
        Column("Attack", attack_name, left=True),
        Column("Pairs", lambda one: str(one.pairs)),
        Column("SSIM", lambda one: _cell(one.ssim, number), unit="difference", under="SSIM [95 %]"),
        Column("PSNR", lambda one: _cell(one.psnr_db, tenths), unit="difference, dB", under="PSNR [95 %]"),
        Column("ASR", lambda one: _cell(one.asr, out_of_100), unit="difference, %", under="ASR [95 %]"),
        Column("Spiking", lambda one: out_of_100(one.asr_spiking), unit="ASR, %"),
        Column("Twin", lambda one: out_of_100(one.asr_twin), unit="ASR, %"),
        Column("Ratio", _ratio, unit="of ASRs", under="paper"),
    ]
    groups = [Group(own, title) for title, own in _by_network(contrasts).items()]
    return Section("contrast", _TITLE, [Table("ANN and SNN", columns, groups)], note=_NOTE)


def contrast_lines(contrasts: Sequence[Contrast]) -> Iterator[str]:
    """Yield a sentence for each spiking network: how its SSIM differs from that of its twin, attack by attack."""
    for title, own in _by_network(contrasts).items():
        shown = [f"{attack_name(one)} {_signed(one.ssim)}" for one in own if one.ssim is not None]
        if shown:
            pairs = counted(max(one.pairs for one in own), "pair")
            twin = f"SSIM minus that of {in_words(own[0].twin)} on the same examples ({pairs})"
            yield f"{title}: {twin}: {', '.join(shown)}"


def _by_network(contrasts: Sequence[Contrast]) -> Mapping[str, list[Contrast]]:
    return grouped(contrasts, group_name)


def _signed(found: Difference) -> str:
    bounds = "" if found.interval is None else f" {interval(found.interval)}"
    return f"{found.mean:+.2f}{bounds}".replace("-", "\N{MINUS SIGN}")


def _cell(found: Difference | None, form: Callable[[float | None], str]) -> Cell:
    """Return a difference above its interval."""
    if found is None:
        return Cell(DASH)
    return Cell(form(found.mean), under=(interval(found.interval, form),))


def _ratio(one: Contrast) -> Cell:
    """Return the ratio of the two ASRs above that of the paper."""
    theirs = PUBLISHED.get((one.attack, one.dataset, one.model)), PUBLISHED.get((one.attack, one.dataset, one.twin))
    paper = f"paper {number(theirs[0].asr / theirs[1].asr)}" if theirs[0] and theirs[1] else ""
    return Cell(DASH if one.asr_ratio is None else number(one.asr_ratio), under=(paper,))
