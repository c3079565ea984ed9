"""Rows as CSV: what was written comes back to the last bit, and what is no table of scores is refused."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_sim.errors import ConfigError, DataError
from fl_sim.specs import InputSpec, ModelSpec, Scalar
from judges.runs.rows import Score, read_scores, write_scores
from judges.runs.rows.classes import ClassScore
from judges.runs.tables import columns_of, read_rows, write_rows
from tests.judges import class_runs

Row = Callable[..., Score]
SETTINGS = ("varied", "defence_settings", "attack_settings")

floats = st.floats(allow_nan=False, width=64)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
optional = st.none() | st.floats(0, 1)
settings = st.dictionaries(st.text(max_size=12), st.text(max_size=12) | st.integers() | floats | st.booleans())


def typed(told: Mapping[str, Scalar]) -> list[tuple[str, type, Scalar]]:
    """Return settings in their order with their types: 1, 1.0 and True are equal, and not the same."""
    return [(key, type(value), value) for key, value in told.items()]


def altered(path: Path, column: str, text: str) -> Path:
    """Put `text` into a column of every row of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        names, *lines = csv.reader(stream)
    for line in lines:
        line[names.index(column)] = text
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([names, *lines])
    return path


@given(floats, st.integers(-(2**62), 2**62), st.none() | st.booleans(), texts, optional, optional)
def test_numbers_and_texts_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    number: float,
    seed: int,
    flag: bool | None,
    name: str,
    confidence: float | None,
    tau: float | None,
) -> None:
    row = Score(
        experiment="NA", cell="", dataset=name, model="null", family="nan", spiking=True, init='a"b,c',
        attack="none", control="x", guess="dlg-grey normal", thresholding="none", tau=tau, seed=seed, repeat=0, round=3,
        capture_id="f/r001-c000", example=1, ssim=tau, psnr_db=1 / 3, mse=math.inf, l2=5e-324, label=3,
        label_recovered=-1, label_correct=False, label_found=True, judge_label=None, judge_correct=flag,
        judge_confidence=confidence, truth_judge_correct=flag, matching_loss=-math.inf, iterations=1,
        gradient_evaluations=2, restarts=3,
        stop_reason="budget spent", seconds=0.1, solved=True, recognisable=flag, last_ssim=number, last_psnr_db=number,
        last_mse=number, last_l2=number, last_judge_correct=flag, timesteps=seed, moved=confidence, first_loss=tau,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("csv") / "scores.csv"
    assert read_scores(write_scores([row, row], path)) == [row, row]


@given(settings, settings, settings)
def test_any_settings_come_back_with_their_order_and_types(
    tmp_path_factory: pytest.TempPathFactory,
    varied: dict[str, Scalar],
    defence: dict[str, Scalar],
    attack: dict[str, Scalar],
) -> None:
    told = {"varied": varied, "defence_settings": defence, "attack_settings": attack}
    row = class_runs.row(**told)
    (back,) = read_rows(ClassScore, write_rows(ClassScore, [row], tmp_path_factory.mktemp("csv") / "scores.csv"))
    assert back == row
    assert {name: typed(getattr(back, name)) for name in SETTINGS} == {name: typed(own) for name, own in told.items()}
    assert (back.group, back.approach) == (row.group, row.approach)


def test_settings_are_json_and_none_are_nothing(tmp_path: Path, row: Row) -> None:
    rows = [row(varied={"timesteps": 5, "note": 'a,"b'}), row()]
    with write_scores(rows, tmp_path / "scores.csv").open(newline="", encoding="utf-8") as stream:
        assert [line["varied"] for line in csv.DictReader(stream)] == ['{"timesteps": 5, "note": "a,\\"b"}', ""]


@pytest.mark.parametrize("column", SETTINGS)
@pytest.mark.parametrize(
    "text",
    [
        "timesteps=5",
        "{'timesteps': 5}",
        '{"timesteps": 5',
        "5",
        "null",
        '["timesteps", 5]',
        '{"timesteps": null}',
        '{"timesteps": [5]}',
        '{"timesteps": {"of": 5}}',
        '{"seed": ' + "9" * 5000 + "}",
        *("[" * depth + "]" * depth for depth in (1000, 100_000)),
        *('{"a":' * depth + "1" + "}" * depth for depth in (1000, 100_000)),
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_settings_is_refused(tmp_path: Path, row: Row, column: str, text: str) -> None:
    path = altered(write_scores([row()], tmp_path / "scores.csv"), column, text)
    with pytest.raises(DataError, match="a value is not of its column's type") as caught:
        read_scores(path)
    assert len(str(caught.value)) < 400


FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "'quoted", "''", "-5", "-inf")


def test_a_spreadsheet_runs_nothing_and_the_reader_gives_back_what_was_written(tmp_path: Path, row: Row) -> None:
    rows = [row(experiment=text, cell=text, model=text, psnr_db=-5.0, l2=-math.inf) for text in FORMULAS]
    path = write_scores(rows, tmp_path / "scores.csv")
    assert read_scores(path) == rows
    with path.open(newline="", encoding="utf-8") as stream:
        cells = [cell for line in csv.reader(stream) for cell in line]
    run = [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert {float(cell) for cell in run} == {-5.0, -math.inf}
    assert "'=1+1" in cells


@pytest.mark.parametrize("name", ["", "a\rb", "a\nb", "a\0", "\x1b[31m", "\u2028"])
def test_a_model_whose_name_no_table_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="model: expected a name of printable characters, got"):
        ModelSpec(name, InputSpec(1, 8, 8, 4))
    assert ModelSpec("my_package.nets:Net", InputSpec(1, 8, 8, 4)).architecture == "my_package.nets:Net"


def test_nan_and_an_empty_table_are_kept(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "scores.csv"
    (back,) = read_scores(write_scores([row(matching_loss=math.nan)], path))
    assert math.isnan(back.matching_loss)
    assert path.read_text().splitlines()[0] == ",".join(columns_of(Score))
    assert read_scores(write_scores([], path)) == []


@pytest.mark.parametrize("column", ["dataset", "control", "spiking", "attack_settings", "round", "moved", "last_mse"])
def test_a_table_without_a_column_is_refused(tmp_path: Path, row: Row, column: str) -> None:
    """What is not told is not guessed, not even from a name: a row without `control` would be an attack's."""
    told = row(capture_id="toy/r012-c000", round=12)
    path = write_scores([told], tmp_path / "scores.csv")
    assert read_scores(path) == [told]
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream))
    at = lines[0].index(column)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([*line[:at], *line[at + 1 :]] for line in lines)
    with pytest.raises(DataError, match=rf"missing: \['{column}'\], unknown: \[\]"):
        read_scores(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.replace("capture_id", "capture"), r"missing: \['capture_id'\], unknown: \['capture'\]"),
        (lambda text: text.replace("True", "maybe"), "expected True or False, got 'maybe'"),
        (lambda text: text.replace("0.9", "much"), "could not convert string to float: 'much'"),
        (lambda text: text[:0], "no readable CSV"),
        (lambda text: f'{text}"', "no readable CSV .*unexpected end of data"),
        (lambda text: f"{text}a,b\n", r"with \d+ different columns, found 2 values in row 2"),
        (lambda text: text.replace("dataset", "model", 1), r"different columns, found columns \['model'\] twice"),
    ],
)
def test_a_spoilt_csv_is_refused(tmp_path: Path, row: Row, spoil: Callable[[str], str], words: str) -> None:
    path = write_scores([row()], tmp_path / "scores.csv")
    path.write_text(spoil(path.read_text()))
    with pytest.raises(DataError, match=words):
        read_scores(path)


def test_what_editors_do_to_a_table_is_read_over(tmp_path: Path, row: Row) -> None:
    """A byte order mark, the ends of lines of another system, and an empty line at the end."""
    path = write_scores([row(), row()], tmp_path / "scores.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read_scores(path) == [row(), row()]


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no readable"):
        read_scores(tmp_path / "none.csv")


def test_a_row_of_another_kind_is_refused(tmp_path: Path) -> None:
    told: Any = class_runs.row()
    with pytest.raises(DataError, match="target_seed"):
        read_scores(write_rows(ClassScore, [told], tmp_path / "scores.csv"))
