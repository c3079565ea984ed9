"""The tables of both reports in LaTeX: they compile where there is a compiler, and every row has all columns."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from judges.report.gradient_inversion.report import write_report
from judges.report.latex import MOST_ROWS, TWO_COLUMNS, latex_page
from judges.report.latex import width_of as points_of
from judges.report.model_inversion.report import write_inversion_report
from judges.report.table import Column, Group, Section, Table
from judges.runs.identity import Attacked, columns_of
from judges.runs.rows import Score, write_scores
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.class_runs import central_run, federated_run
from tests.judges.report.gradient_inversion.test_trends import health
from tests.judges.spike_rows import spike_rows

Row = Callable[..., Score]
AWKWARD = "a_b & 50 % of $x$ {y} #1 ~ ^ \\end{table} [z] <w> |v| \N{MINUS SIGN}\N{GRINNING FACE}"


def write_run(folder: Path, rows: list[Score]) -> None:
    firsts = {row.group: row for row in reversed(rows)}
    healths = [health(**columns_of(row, Attacked)) for row in firsts.values()]
    write_scores(rows, folder / "scores.csv")
    write_summary(summarise(rows, health=healths), folder / "summary.json")
    (folder / "manifest.json").write_text(json.dumps({"failed": {AWKWARD: AWKWARD + "\r\N{LINE SEPARATOR}x"}}))
    (folder / "config.toml").write_text('name = "e"\n')


@pytest.fixture
def still(tmp_path: Path, row: Row) -> Path:
    write_run(tmp_path, [row(model=AWKWARD, attack="idlg"), row(dataset="mnist", model="lenet", attack="idlg")])
    write_report(tmp_path)
    return tmp_path / "report.tex"


@pytest.fixture
def events(tmp_path: Path, row: Row) -> Path:
    write_run(tmp_path, spike_rows(row))
    write_report(tmp_path)
    return tmp_path / "report.tex"


@pytest.fixture
def inversions(tmp_path: Path) -> Path:
    folder = central_run().write(tmp_path / "central")
    write_inversion_report(folder)
    return folder / "report.tex"


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    folder = federated_run().write(tmp_path / "federated")
    write_inversion_report(folder)
    return folder / "report.tex"


def tables_of(text: str) -> list[tuple[int, list[str]]]:
    """Return, of each table, how many columns it declares and its rows."""
    found = re.findall(r"\\begin\{tabular\}\{(\S+)\}\n(.*?)\\end\{tabular\}", text, flags=re.DOTALL)
    return [
        (len(re.sub(r"\{.*?\}|>", "", columns)), [line for line in body.splitlines() if line.endswith(r"\\")])
        for columns, body in found
    ]


def width_of(line: str) -> int:
    """Return how many columns a row fills."""
    spans = sum(int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", line))
    return len(re.findall(r"(?<!\\)&", line)) + 1 + spans


@pytest.mark.parametrize("name", ["still", "events", "inversions", "rounds"])
def test_every_row_has_all_columns_and_the_page_compiles(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    tables = tables_of(path.read_text(encoding="utf-8"))
    assert tables
    for columns, rows in tables:
        assert len(rows) >= 2
        assert {width_of(line) for line in rows} == {columns}
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex here, so the columns were counted only")
    known = subprocess.run(["kpsewhich", "IEEEtran.cls", "ptmr7t.tfm"], capture_output=True, text=True, check=False)
    kind = "IEEEtran" if len(known.stdout.split()) == 2 else "article"
    document = path.with_name("all.tex")
    document.write_text(
        rf"\documentclass{{{kind}}}\usepackage{{array,booktabs}}\begin{{document}}\input{{{path}}}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert document.with_suffix(".pdf").stat().st_size > 10_000
    if kind == "IEEEtran":
        assert re.findall(r"Overfull \\hbox.*", done.stdout) == []


@pytest.mark.parametrize("name", ["still", "events", "inversions", "rounds"])
def test_no_column_is_empty_and_every_table_can_be_referred_to(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    text = path.read_text(encoding="utf-8")
    assert text.count("\\label{tab:") == text.count("\\caption{") == len(tables_of(text))
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == len(tables_of(text))
    for _, lines in tables_of(text):
        rows = [line.removesuffix(r" \\").split(" & ") for line in lines if "multicolumn" not in line]
        for column in list(zip(*rows[1:], strict=True))[1:]:
            assert any(cell.strip() not in ("", "--") for cell in column), column


def test_the_results_have_controls_verdicts_and_what_diverged(still: Path) -> None:
    (table,) = re.findall(r"\\label\{tab:results\}.*?\\end\{tabular\}", still.read_text(), flags=re.DOTALL)
    head = next(line for line in table.splitlines() if line.startswith(("Attack", "\\shortstack[l]{Attack")))
    assert [word in head for word in ("Div.", "Verdict", "SSIM")] == [True] * 3
    assert "MNIST, LeNet, uniform initialisation" in table
    assert "\niDLG & 1 & " in table


def test_widths_are_those_of_times() -> None:
    """What \\settowidth of LaTeX measures in IEEEtran at 10 points, where a width may be a quarter off."""
    for text, width in (("01234", 25.0), ("initialisation", 50.0), ("[0, 1]", 22.7), ("CIFAR-100 MSE", 71.1)):
        assert points_of(text, 10.0) == pytest.approx(width, rel=0.25)


def test_a_long_table_goes_on_in_another() -> None:
    columns: list[Column[int]] = [Column("Number", str), Column("Square", lambda row: str(row * row))]
    table = Table("numbers", columns, [Group(range(50), "first"), Group(range(3), "second")])
    text = latex_page("t", [Section("long", "Long", [table])], str)
    assert [len(rows) for _, rows in tables_of(text)] == [1 + 1 + MOST_ROWS, 1 + 1 + 50 - MOST_ROWS + 1 + 3]
    assert re.findall(r"\\label\{(.*?)\}", text) == ["tab:long", "tab:long-part2"]
    assert text.count("\\begin{table}") == 2  # of one column


def test_a_wide_table_is_wrapped_until_it_fits() -> None:
    words = "word " * 60
    columns: list[Column[int]] = [Column(name, lambda _: words, left=True) for name in ("Name", "Told")]
    text = latex_page("t", [Section("wide", "Wide", [Table("w", columns, [Group([1])])])], str)
    assert "\\begin{table*}" in text
    assert sum(map(float, re.findall(r"p\{(\d+)pt\}", text))) <= TWO_COLUMNS


def test_names_are_text(still: Path) -> None:
    text = still.read_text(encoding="utf-8")
    assert AWKWARD not in text
    assert r"a\_b \& 50 \% of \$x\$ \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}end\{table\}" in text


def test_the_papers_numbers_stand_beside_ours(still: Path) -> None:
    (line,) = [line for line in still.read_text().splitlines() if line.startswith("LeNet & uniform")]
    assert r"\textit{88.3}" in line
    assert r"\textit{0.86}" in line
