"""The run folder of a model inversion -> one self-contained HTML page and the same tables in Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path

from judges.figures.files import write_figures
from judges.report.judges import judges_section
from judges.report.model_inversion.answer import answer
from judges.report.model_inversion.pictures import album_drawings, albums_in, pictures_section
from judges.report.model_inversion.sentences import findings
from judges.report.model_inversion.tables import attack_sections
from judges.report.model_inversion.tables_accuracy import accuracy_sections
from judges.report.model_inversion.tables_record import (
    control_section,
    memory_section,
    record_section,
    transfer_section,
)
from judges.report.model_inversion.tables_rounds import round_drawings, round_section
from judges.report.model_inversion.tables_timesteps import timesteps_drawings, timesteps_section
from judges.report.model_inversion.wording import WORDS
from judges.report.page import write_page
from judges.runs.identity import REAL
from judges.runs.manifest import PUBLIC, read_manifest, without_people
from judges.runs.rows.classes import ClassScore
from judges.runs.tables import read_rows
from judges.summaries.model_inversion import judge_key, read_inversions


def write_inversion_report(run_dir: Path, *, show_faces: bool = False, figures: bool = False) -> Path:
    """Write the three files of the report into a run folder and return the path of the HTML page.

    Arguments and errors are those of the report on gradient inversions: people are shown only on request.
    """
    manifest = read_manifest(run_dir)
    summary = read_inversions(run_dir / "summary.json")
    rows = read_rows(ClassScore, run_dir / "scores.csv")
    albums = albums_in(run_dir, summary)
    shown = [album for album in albums if show_faces or without_people(manifest, album.dataset)]
    drawings = (album_drawings(shown, summary), round_drawings(summary), timesteps_drawings(summary))
    write_figures(run_dir, {name: draw for own in drawings for name, draw in own} if figures else {})
    attacks, rounds = attack_sections(summary), round_section(summary)
    unfolded = not any(section.shown for section in (*attacks, rounds))
    real = {judge_key(cell.dataset, cell.judge): cell.accuracy.share for cell in summary.cells if cell.control == REAL}
    sections = [
        *accuracy_sections(summary),
        *attacks,
        control_section(summary),
        rounds,
        timesteps_section(summary),
        transfer_section(summary),
        *([] if PUBLIC in manifest else [memory_section(summary)]),  # the judge's pictures trained no target
        record_section(summary, rows, unfolded=unfolded),
        judges_section(summary.judges, real, "On real examples", WORDS.notes["judges"]),
    ]
    first = pictures_section(albums, summary, lambda name: show_faces or without_people(manifest, name))
    found, told = findings(summary), answer(summary)
    return write_page(run_dir, manifest, sections, words=WORDS, findings=found, answer=told, first=first)
