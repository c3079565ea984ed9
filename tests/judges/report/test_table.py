"""A table of results as a value: what its renderers read off it, worked by hand."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from judges.report.answer import Answer, bounded, listed
from judges.report.console import terminal_table
from judges.report.page import write_page
from judges.report.table import Cell, Column, Drawing, Group, Section, Small, Table
from judges.report.words import Words
from tests.judges.pages import cells_of, text_of

Row = tuple[str, float]
COLUMNS: list[Column[Row]] = [
    Column("Name", lambda row: Cell(row[0], under=(Small("told", "yes"), "")), under="verdict", terminal="name"),
    Column("ours", lambda row: Cell(str(row[1]), "[0, 1]", ("median 2",)), unit="mean", span="ASR, %", terminal="ASR"),
    Column("paper", lambda row: str(2 * row[1]), span="ASR, %", theirs=True),
]
TABLE = Table(
    "numbers",
    COLUMNS,
    [Group([("a", 1.0), ("b", 1.0), ("c", 3.0)], "first", "noted"), Group([("* d [x] & |", 4.0)], "second")],
    grouped_by="Group",
    row_css=lambda row: "control" if row[0] == "b" else "attack",
    apart=lambda row: row[1],
)


ANSWER = Answer("Nothing leaks.", "no", [("By", ["a, who knows <b>"]), ("Ladder", [])])
NOTHING = Section("first", "First", [])


def written(folder: Path, *sections: Section) -> dict[str, str]:
    (folder / "config.toml").write_text("")
    write_page(
        folder, {"title": "t"}, sections, words=Words("", (), {}), findings=["none"], answer=ANSWER, first=NOTHING
    )
    return {form: (folder / f"report.{form}").read_text(encoding="utf-8") for form in ("html", "md", "tex")}


def test_headings_span_their_columns() -> None:
    assert [(column.heading, *sizes) for column, *sizes in TABLE.heads] == [("Name", 1, 2), ("ours", 2, 1)]
    assert TABLE.flat_heads == [
        ("Group", True), ("Name", True), ("verdict", True), ("ASR, %: ours, mean", False), ("ASR, %: paper", False),
    ]  # fmt: skip


def test_a_unit_that_the_small_print_is_headed_by_stands_once_in_markdown() -> None:
    table: Table[list[str]] = Table("t", [Column("Updates", lambda row: row[0], unit="examples", under="examples")], [])
    assert [text for text, _ in table.flat_heads] == ["Updates", "examples"]


def test_a_line_is_drawn_where_what_rows_share_changes() -> None:
    assert [css for css, _ in TABLE.lines(TABLE.groups[0])] == ["attack", "control", "attack apart"]


def test_rows_are_flat_in_markdown() -> None:
    texts = ["first, noted", "a", "told", "1.0 [0, 1]; median 2", "2.0"]
    assert next(TABLE.flat_rows) == [(text, False) for text in texts]


def test_a_section_without_rows_or_pictures_is_left_out(tmp_path: Path) -> None:
    empty = Section("empty", "Empty", [Table("none", COLUMNS, [Group([])]), Drawing("sweep.html.j2", [])])
    assert (empty.shown, empty.tables) == ([], [])
    for text in written(tmp_path, empty, Section("full", "Full", [TABLE])).values():
        assert "Empty" not in text
        assert "Full" in text


def test_the_page_begins_with_the_answer(tmp_path: Path) -> None:
    page = written(tmp_path, Section("full", "Full", [TABLE]))["html"]
    assert text_of(page, "answer no").startswith("Nothing leaks. By a, who knows <b> Every finding")
    assert page.index("Nothing leaks.") < page.index("<nav") < page.index('id="full"')
    assert '<a href="#full">Full</a>' in page


def test_a_warning_is_added_to_those_that_there_are() -> None:
    assert ANSWER.warned("one").warned("two").shown == [("By", ["a, who knows <b>"]), ("Beware", ["one", "two"])]


def test_items_are_listed_and_bounded() -> None:
    assert [listed(list(text)) for text in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert bounded(list("abcdef"), "cells") == list("abcdef")
    assert bounded(list("abcdefgh"), "cells") == [*"abcdef", "and 2 more cells, in the tables below"]


def test_every_format_has_every_cell_and_escapes_it(tmp_path: Path) -> None:
    texts = written(tmp_path, Section("full", "Full", [TABLE]))
    rows = cells_of(texts["html"], "full")
    assert rows[:3] == [["Name", "ASR, %"], ["ours mean", "paper"], ["first noted"]]
    assert rows[3] == ["a told", "1.0 [0, 1] median 2", "2.0"]
    assert r"| second | \* d \[x\] &amp; \| | told | 4.0 \[0, 1\]; median 2 | 8.0 |" in texts["md"]
    assert r"{}* d {[}x{]} \& $|$ & 4.0 {[}0, 1{]} & \textit{8.0} \\" in texts["tex"]
    assert "\\multicolumn{3}{l}{first, noted} \\\\\n" in texts["tex"]
    assert " & \\scriptsize median 2 & " in texts["tex"]


def test_a_terminal_shows_the_columns_that_are_meant_for_it() -> None:
    console = Console(width=160, color_system=None)
    with console.capture() as told:
        console.print(terminal_table(TABLE))
    lines = [line.split() for line in told.get().splitlines() if line.strip()]
    assert lines[:3] == [["name", "ASR", "verdict"], ["first"], ["a", "1.0", "[0,", "1]", "told"]]
