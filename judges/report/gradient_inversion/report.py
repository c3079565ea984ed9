"""A run folder -> one self-contained HTML page and the same tables in Markdown and LaTeX.

Reads files of the run folder only: config.toml, manifest.json, scores.csv, summary.json, and the records in gallery/
and timelines/.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_sim.config.federation import SUM_OF_CLIENTS
from judges.figures.files import Draw, captioned, write_figures
from judges.report.accuracies import accuracy_drawings, accuracy_section
from judges.report.curves import panel_drawing
from judges.report.gradient_inversion import WORDS
from judges.report.gradient_inversion.answer import answer, passed_over
from judges.report.gradient_inversion.events import SpikeTable, spike_tables
from judges.report.gradient_inversion.pictures import answer_blocks, picture_blocks, sizes
from judges.report.gradient_inversion.sentences import findings, observations, sentence
from judges.report.gradient_inversion.tables import ceilings, image_section
from judges.report.gradient_inversion.tables_claims import claims_section
from judges.report.gradient_inversion.tables_events import distance_section, spike_panels, spike_section
from judges.report.gradient_inversion.tables_leaks import (
    answer_section,
    checks_section,
    health_section,
    trend_section,
    tried_section,
)
from judges.report.gradient_inversion.tables_reads import reads_section
from judges.report.gradient_inversion.tables_record import article_section, record_section
from judges.report.gradient_inversion.trends import Trend, by_round, by_strength, by_timesteps
from judges.report.judges import judges_section
from judges.report.ladder import climbs, ladder_of_run, ladder_section
from judges.report.page import write_page
from judges.report.rounds.audited import Audited, audited, audited_sections
from judges.report.table import Drawing, Section
from judges.report.tradeoff.figure import tradeoff_files
from judges.report.tradeoff.section import tradeoff_section
from judges.report.victims.contrast import contrast_lines, contrast_section
from judges.report.victims.dots import Strips, strips
from judges.report.victims.drawings import lineup_drawings, strip_drawings
from judges.report.victims.folds import Victims, find_seen, find_victims, in_folds
from judges.report.victims.glance import glances
from judges.report.victims.lineup import Lineup, lineups
from judges.report.victims.sheets import lineup_blocks
from judges.report.victims.texts import text_section
from judges.report.victims.timelines import TimeBlock, time_blocks, time_drawings, time_section
from judges.runs.manifest import ANSWERS, GALLERY, LADDER, auxiliary_data, read_manifest, told_controls, without_people
from judges.runs.names import attack_name, group_name
from judges.runs.pictures import Pictures, load_pictures
from judges.runs.rows import Score, read_scores
from judges.runs.timelines import load_timelines
from judges.summaries.gradient_inversion import Summary, read_summary
from judges.summaries.tradeoff import Tradeoff, tradeoffs

_AS_PAPER = "as Figures 3 and 4 of arXiv 2511.21181"


@dataclass(frozen=True)
class _Contents:
    """What a page shows of a run, computed once for its tables, its drawings and its figures.

    Attributes:
        show: whether the pictures of a data set may be shown.
        gallery, answers: pictures of victims with truth, and of answers without.
        victims: those with a fold of their own.
        same: the same victims under every network and attack.
        dots: one strip a cell.
        rounds, steps, strengths: leaks against the server round, against T, and against the settings of a defence.
        spikes: tables of recordings against tau.
        costs: leak against accuracy.
        times: measures of time.
        further: an audit's other threats; None for none.
    """

    manifest: Mapping[str, Any]
    summary: Summary
    scores: Sequence[Score]
    show: Callable[[str], bool]
    gallery: Sequence[Pictures]
    answers: Sequence[Pictures]
    victims: Victims
    same: Sequence[Lineup]
    dots: Sequence[Strips]
    rounds: Sequence[Trend]
    steps: Sequence[Trend]
    strengths: Sequence[Trend]
    spikes: Sequence[SpikeTable]
    costs: Sequence[Tradeoff]
    times: Sequence[TimeBlock]
    further: Audited | None


def _read(run_dir: Path, *, show_faces: bool) -> _Contents:
    """Return the contents of the page of a run folder."""
    manifest = read_manifest(run_dir)
    summary = read_summary(run_dir / "summary.json")
    scores = read_scores(run_dir / "scores.csv")
    gallery = load_pictures(run_dir / GALLERY, [(cell.group, cell.cell) for cell in summary.cells])

    def show(dataset: str) -> bool:
        return show_faces or without_people(manifest, dataset)

    over_time = load_timelines(run_dir, [(one.group, one.cell) for one in summary.timelines])
    return _Contents(
        manifest,
        summary,
        scores,
        show,
        gallery,
        answers=load_pictures(run_dir / ANSWERS),
        victims=find_victims(gallery, summary, scores, show),
        same=lineups(find_seen(gallery, summary, scores), scores),
        dots=strips(summary, scores),
        rounds=by_round(summary, scores),
        steps=by_timesteps(summary, scores),
        strengths=by_strength(summary, scores),
        spikes=spike_tables(summary),
        costs=tradeoffs(summary),
        times=time_blocks(summary.timelines, over_time),
        further=audited(run_dir, manifest),
    )


def write_report(run_dir: Path, *, show_faces: bool = False, figures: bool = False) -> Path:
    """Write report.html, report.md and report.tex into a run folder and return the path of the HTML page.

    Pictures of a data set are shown only where the manifest says that it shows no people
    (`datasets.NAME.people = false`), or with `show_faces`.

    Args:
        run_dir: holds config.toml, manifest.json, scores.csv, summary.json, and gallery/ and timelines/ if any.
        show_faces: show the pictures of real people too.
        figures: write the figures as files for articles as well; without it those of an earlier call are removed, since
            they may be of other numbers, or show people.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    found = _read(run_dir, show_faces=show_faces)
    write_figures(run_dir, _files(found) if figures else {})
    summary = found.summary
    warnings = [*_told_view(run_dir / "config.toml"), *passed_over(found.scores)]
    controls = told_controls(found.manifest)
    others = found.further.lines if found.further is not None else []
    ladder = _told_ladder(run_dir)
    glance = Drawing("glance.html.j2", glances(found.victims.shown))
    threat_model = " ".join([WORDS.threat_model, *_adversaries(found.scores, found.manifest)])
    own = findings(summary)  # how much was attacked comes first
    return write_page(
        run_dir,
        found.manifest,
        _sections(found),
        words=WORDS._replace(threat_model=threat_model),
        findings=[*own[:1], *contrast_lines(summary.contrasts), *own[1:], *ladder, *others, *warnings, *controls],
        answer=answer(summary, warnings, controls, others, ladder),
        first=Section("glance", "Truth beside answers", [glance], lead=WORDS.notes["glance"]),
        articles=[article_section(summary)],
    )


def _files(found: _Contents) -> dict[str, Draw]:
    """Return the drawings for articles, by name."""
    drawn = [one for one in found.same if found.show(one.dataset)]
    return {
        **dict(lineup_drawings(drawn)),
        **dict(strip_drawings(found.dots)),
        **dict(_curves({"rounds": found.rounds, "timesteps": found.steps, "strengths": found.strengths}, found.spikes)),
        **dict(time_drawings(found.times)),
        **dict(accuracy_drawings(found.summary.accuracies)),
        **dict(tradeoff_files(found.costs)),
    }


def _sections(found: _Contents) -> list[Section]:
    """Return the parts of the page in their order: what leaked, the pictures, and what it is known by."""
    summary, gallery, notes = found.summary, found.gallery, WORDS.notes
    images, events = image_section(summary), spike_section(found.spikes, sizes(gallery), observations)
    pictures = Drawing("pictures.html.j2", picture_blocks(gallery, summary, found.show, found.victims.links))
    return [
        ladder_section(summary, notes["ladder"]),
        *audited_sections(found.further),
        images,
        events,
        distance_section(summary.distances),
        time_section(found.times, notes["time"]),
        contrast_section(summary.contrasts),
        *_seen(found),
        tradeoff_section(found.costs, sorted({row.round for row in found.scores}), notes["tradeoff"]),
        accuracy_section(summary.accuracies, notes["accuracies"]),
        trend_section("strengths", "Leak against the strength of a defence", "strength", found.strengths),
        trend_section("rounds", "Leak against the server round", "round", found.rounds),
        trend_section("timesteps", "Leak against T", "T", found.steps),
        Section("pictures", "Truth beside reconstruction", [pictures], lead=notes["pictures"]),
        text_section([*gallery, *found.answers], found.show, notes["texts"]),
        answer_section(found.answers, answer_blocks(found.answers, found.show)),
        reads_section(summary.reads),
        claims_section(summary.claims),
        health_section(summary),
        tried_section(summary),
        checks_section(summary.checks),
        judges_section(summary.judges, ceilings(summary), "On these victims", notes["judges"]),
        record_section(summary, unfolded=not (images.shown or events.shown)),
        Section("victims", "Victim by victim", [Drawing("victims.html.j2", list(in_folds(found.victims)))],
                lead=notes["victims"], note=_left_out(found.victims.more)),
    ]  # fmt: skip


def _seen(found: _Contents) -> Iterator[Section]:
    """Yield the same victims under all attacks, and every victim as a dot."""
    beside = Drawing("pictures.html.j2", lineup_blocks(found.same, found.show, found.victims.links))
    yield Section(
        "lineup", "The same victims under every network and attack", [beside], reference=_AS_PAPER,
        lead=WORDS.notes["lineup"],
    )  # fmt: skip
    dots = Drawing("dots.html.j2", found.dots)
    yield Section("dots", "Every victim beside the controls", [dots], lead=WORDS.notes["dots"])


def _curves(found: Mapping[str, Sequence[Trend]], tables: Sequence[SpikeTable]) -> Iterator[tuple[str, Draw]]:
    """Yield the curves of the page as drawings for files: over rounds, T, strengths of defences, and tau."""
    for kind, trends in found.items():
        for place, trend in enumerate(trends, start=1):
            for name, one in trend.panels.items():
                yield f"{kind}-{place}-{name.lower()}", captioned(panel_drawing(one), trend.name)
    for place, table in enumerate(tables, start=1):
        drawn = [captioned(panel_drawing(one), group_name(table.group)) for one in spike_panels(table)]
        yield from zip((f"tau-{place}-asr", f"tau-{place}-l2"), drawn, strict=True)


def _left_out(count: int) -> str:
    """Return how many victims have no fold, and where they are."""
    them = "victim has" if count == 1 else "victims have"
    where = "the numbers are in scores.csv, the answers in reconstructions/, the truth in sealed/"
    return f"{count} more {them} no fold here: {where}." if count else ""


def _adversaries(scores: Iterable[Score], manifest: Mapping[str, Any]) -> list[str]:
    """Return the letters of the attacks' adversaries, and their auxiliary data, as sentences."""
    letters = dict.fromkeys((attack_name(row), row.adversary) for row in scores if row.adversary and not row.is_control)
    given = [f"'{attack}' also has {told}" for attack, told in auxiliary_data(manifest).items()]
    named = ", ".join(f"{name} {letter}" for name, letter in letters)
    return [
        *(
            [f"In the letters of Carletti et al. (USENIX Security 2025), the attacks' adversaries are: {named}."]
            * bool(named)
        ),
        *([f"Besides updates, {'; '.join(given)}."] * bool(given)),
    ]


def _told_ladder(run_dir: Path) -> list[str]:
    """Return what the ladder in a run's folder says, if one was climbed."""
    ladder = ladder_of_run(run_dir)
    return [f"{sentence(climb)} Its rungs: {LADDER}/report.html." for climb in climbs(ladder)] if ladder else []


def _told_view(config: Path) -> list[str]:
    """Return what the threat model does not say: that clients tell their labels, or that the server sees sums only."""
    try:
        federation = tomllib.loads(config.read_text(encoding="utf-8")).get("federation", {})
    except (OSError, ValueError):  # the page says what is wrong with a config
        return []
    told = federation if isinstance(federation, dict) else {}
    found = []
    if _holds(told.get("share_labels"), value=True):
        found.append(
            "Clients tell the server their labels (federation.share_labels): its adversary knows more than one who "
            "sees updates only."
        )
    if _holds(told.get("observer"), value=SUM_OF_CLIENTS):
        found.append(
            "The server sees the sum over several clients and no client's own update (federation.observer), as behind "
            "secure aggregation: its adversary knows less than one who sees each update."
        )
    return found


def _holds(said: object, *, value: object) -> bool:
    """Return whether a key of a config has a value, or it is among those of its axis."""
    return value in said if isinstance(said, list) else said == value
