"""An ordinary network beside its spiking twin on the same examples: what the network alone changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from judges.report.formats import DASH, between, counted, grouped, interval, joined, number, out_of_100, percent, tenths
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.names import attack_name, group_name, in_words
from judges.summaries.contrast import Contrast, Difference
from judges.summaries.published import PUBLISHED

_PAPERS_RATIO = 0.4
"""The share of the ordinary network's ASR below which, says arXiv 2511.21181, that of the spiking one is."""

_TITLE = "The spiking network beside its ordinary twin"
_NOTE = (
    "Ordinary minus spiking, pair by pair, for the same examples, the same initialisation and the same attack; below "
    "each difference its 95 % interval. A difference above 0 says that this attack gets less out of the spiking "
    "network at this budget, not that less is there. ASR is the share of answers in which the judge sees the true "
    "class; the ratio is that of the spiking network to that of its twin."
)


def contrast_section(contrasts: Sequence[Contrast]) -> Section:
    """Return the section on all contrasts of a run, with the paper's ratio of ASRs where its table has both rows."""
    columns: list[Column[Contrast]] = [
        Column("Attack", attack_name, left=True),
        Column("Pairs", lambda one: str(one.pairs)),
        Column("SSIM", lambda one: _cell(one.ssim_drop, number), unit="difference", under="SSIM [95 %]"),
        Column("PSNR", lambda one: _cell(one.psnr_db_drop, tenths), unit="difference, dB", under="PSNR [95 %]"),
        Column("ASR", lambda one: _cell(one.asr_drop, out_of_100), unit="difference, %", under="ASR [95 %]"),
        Column("Spiking", lambda one: out_of_100(one.asr_spiking), unit="ASR, %"),
        Column("Twin", lambda one: out_of_100(one.asr_twin), unit="ASR, %"),
        Column("Ratio", _ratio, unit="of ASRs", under="paper"),
    ]
    groups = [Group(own, title) for title, own in _by_network(contrasts).items()]
    table = Table("ANN and SNN", columns, groups, grouped_by="Spiking network", note=" ".join(_of_asr(contrasts)))
    return Section("contrast", _TITLE, [table], note=_NOTE)


def contrast_lines(contrasts: Sequence[Contrast], *, brief: bool = False) -> Iterator[str]:
    """Yield a sentence on all ASRs, then one for each network: how much more its twin gives away, attack by attack.

    Args:
        contrasts: of a run.
        brief: whether to tell of SSIM alone where it is defined.
    """
    yield from _of_asr(contrasts)
    for title, own in _by_network(contrasts).items():
        shown = [f"{attack_name(one)} {told}" for one in own if (told := _differences(one, brief=brief))]
        if shown:
            pairs = counted(max(one.pairs for one in own), "pair")
            twin = f"{in_words(own[0].twin)} minus this network, on the same examples ({pairs})"
            yield f"{title}: {twin}: {'; '.join(shown)}."


def _differences(one: Contrast, *, brief: bool) -> str:
    """Return the differences that are defined, each with its unit and interval; in brief, the first of them."""
    told = [
        *([f"SSIM {_signed(one.ssim_drop, 2)}"] if one.ssim_drop else []),
        *([f"PSNR {_signed(one.psnr_db_drop, 1)} dB"] if one.psnr_db_drop else []),
        *([f"ASR {_signed(one.asr_drop, 0, 100)} points"] if one.asr_drop else []),
    ]
    return joined(*(told[:1] if brief else told))


def _of_asr(contrasts: Sequence[Contrast]) -> Iterator[str]:
    """Yield how much lower the ASR of the spiking networks is, and the same of the paper's Table IV."""
    rates = [(one.asr_twin, one.asr_spiking) for one in contrasts]
    ours = [(twin, spiking) for twin, spiking in rates if twin is not None and spiking is not None]
    if ours:
        theirs = [
            (PUBLISHED[attack, dataset, "lenet"].asr, row.asr)
            for (attack, dataset, model), row in PUBLISHED.items()
            if model == "spiking_lenet"
        ]
        yield (
            f"ASR of the spiking networks: {_lower(ours)}. Table IV of arXiv 2511.21181, whose text says about 49 % "
            f"lower and less than 40 %: {_lower(theirs)}."
        )


def _lower(pairs: Sequence[tuple[float, float]]) -> str:
    """Return how ASRs of spiking networks compare with those of their twins, given (twin, spiking)."""
    points = fmean(100 * (twin - spiking) for twin, spiking in pairs)
    ratios = [spiking / twin for twin, spiking in pairs if twin]
    less = sum(ratio < _PAPERS_RATIO for ratio in ratios)
    told = f"{number(points, 1)} points below their twins' on average of {counted(len(pairs), 'cell')}"
    ends = between(percent(min(ratios)), percent(max(ratios))) if ratios else ""
    return f"{told}; {ends} of theirs, less than 40 % in {less} of {len(ratios)}" if ratios else told


def _by_network(contrasts: Sequence[Contrast]) -> Mapping[str, list[Contrast]]:
    return grouped(contrasts, group_name)


def _signed(found: Difference, digits: int, factor: float = 1.0) -> str:
    """Return a difference with its sign and its interval."""
    bounds = "" if found.interval is None else f" {interval(found.interval, lambda end: number(factor * end, digits))}"
    return f"{factor * found.mean:+z.{digits}f}".replace("-", "\N{MINUS SIGN}") + bounds


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
