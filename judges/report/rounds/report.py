"""The folder of a run over rounds -> one self-contained HTML page and the same tables in Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from judges.figures.files import write_figures
from judges.report.page import write_page
from judges.report.rounds.answer import answer, courses, sentence
from judges.report.rounds.drawings import panels_of
from judges.report.rounds.panels import picture_drawings
from judges.report.rounds.tables import rounds_table
from judges.report.table import Section
from judges.report.victims.contrast import contrast_lines, contrast_section
from judges.report.words import read_words
from judges.runs.manifest import read_manifest, threats_of
from judges.summaries.contrast import Contrast
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.rounds import read_rounds

UPDATES = "gradient_inversion"
WORDS = read_words(Path(__file__).with_name("words.toml"))


def write_rounds_report(run_dir: Path, *, show_faces: bool = False, figures: bool = False) -> Path:  # noqa: ARG001
    """Write the three files of the report into a run folder and return the path of the HTML page.

    The page shows no pictures of the data: those are in the reports of the threats.

    Args:
        run_dir: holds config.toml, manifest.json and summary.json.
        show_faces: as of other reports.
        figures: write the figures as files for articles as well; without it those of an earlier call are removed.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest, summary = read_manifest(run_dir), read_rounds(run_dir / "summary.json")
    contrasts = _contrasts_in(run_dir)
    write_figures(run_dir, dict(picture_drawings(summary)) if figures else {})
    first = Section(
        "rounds", "From the initial model to the trained one", panels_of(summary), note=WORDS.notes["rounds"]
    )
    numbers = Section("numbers", "Numbers of every round", [rounds_table(summary)], note=WORDS.notes["table"])
    found = [sentence(one) for one in courses(summary)] or ["No attack was scored in this run."]
    return write_page(
        run_dir,
        manifest,
        [numbers, contrast_section(contrasts)],
        words=WORDS,
        findings=[*contrast_lines(contrasts), *found],
        answer=answer(summary, contrasts),
        first=first,
    )


def _contrasts_in(run_dir: Path) -> Sequence[Contrast]:
    """Return what the network alone changes for the attacks on updates, over all rounds; none if there are no such."""
    if UPDATES not in threats_of(run_dir):
        return ()
    return read_summary(run_dir / UPDATES / "summary.json").contrasts
