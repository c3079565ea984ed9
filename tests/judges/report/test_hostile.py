"""A report of 10,000 rows in which every name is hostile: nothing runs, nothing is asked for, and it opens at once."""

from __future__ import annotations

import html
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from fl_sim.records import Scalar, save_record
from judges.intervals import Distribution
from judges.report.gradient_inversion.report import write_report
from judges.runs.identity import Approach, Attacked, columns_of
from judges.runs.measures import Health
from judges.runs.pictures import ANSWER, TRUTH, Pictures
from judges.runs.rows import Score, write_scores
from judges.summaries.gradient_inversion import summarise, write_summary
from tests.judges.browser import BROWSER, browse, measured, seconds_to_open
from tests.judges.pages import POLICY, Tags, policy_of
from tests.judges.spike_rows import DISTANCES, spike_rows

Row = Callable[..., Score]
ROWS = 10_000
MOST_BYTES = 20_000_000
MOST_SECONDS = 3.0
OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"


class Listener(ThreadingHTTPServer):
    """Listens on this machine and keeps the path of every request."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Print nothing."""


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    server = Listener()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def hostile(address: str) -> list[str]:
    """Return names that would run, load or break something if they stood in a page as they are."""
    return [
        "<script>alert(1)</script>",
        f'<script>document.title="ran";new Image().src="{address}/script"</script>',
        f'<img src="{address}/img" onerror=\'document.title="ran"\'>',
        f'"><img src={address}/quoted onerror=document.title="ran">',
        f"' onmouseover='x' style='background:url({address}/style)",
        f"</style><link rel=stylesheet href={address}/sheet><style>@import '{address}/import';",
        f'<svg onload=document.title="ran"><image href="{address}/svg"/></svg>',
        f"![picture]({address}/markdown) <iframe src={address}/frame>",
        "</table></section></main>",
        f"{OVERRIDE}gnp.exe \N{ARABIC LETTER MEEM}\N{HEBREW LETTER SHIN} \N{GRINNING FACE}\N{ZERO WIDTH JOINER}",
        "]]> --> \x00\x1b {{7*7}} {% include 'report.css' %} ${7*7} _x $x$ \\input{x}",
        "x" * 300,
    ]


def hostile_run(folder: Path, row: Row, address: str) -> Path:
    """Write a run folder of 10,000 rows in which every text is hostile, and return the folder."""
    names = hostile(address)
    rows: list[Score] = []
    for index, name in enumerate(names):
        base = {
            "dataset": name, "model": name, "init": name, "defence": name, "cell": name, "experiment": name,
            "thresholding": name, "timesteps": 5, "attack": name, "guess": name, "family": name,
        }  # fmt: skip
        base |= {key: {name: name} for key in ("varied", "defence_settings", "attack_settings")}
        for place in range(-(-ROWS // len(names))):
            told = {"ssim": place * 0.618 % 1.0, "psnr_db": place * 0.381 % 1.0 * 40.0, "repeat": place % 40}
            identity = {"capture_id": f"{name}/r{1 + place % 3:03d}-c{place:03d}", "round": 1 + place % 3}
            control = name if place % 4 == 0 else ""
            rows.append(row(**base, **told, **identity, control=control, stop_reason=name))
        rows += spike_rows(row, dataset=f"{index}{name}", attacks=(name,)) if index == 1 else []
        save_record(gallery_of(rows[-1], name), folder / "gallery" / f"{index}.safetensors")
    facts: dict[str, Scalar] = {
        "accuracy": 0.9,
        "chance": 0.1,
        "description": names[1],
        "name": names[2],
        "epochs": names[3],
    }
    quartiles = Distribution(1.0, 1.0, 0.5, 2.0)
    victims = {columns["dataset"]: columns for columns in (columns_of(score, Attacked) for score in rows)}
    health = [
        Health(
            **victims[name], captures=9, accuracy=0.5, chance=0.1, firing_rates={name: 0.2, "b": 0.0},
            silent={name: 0.5, "b": 1.0}, zero_gradient=0.5, dead=0.5, gradient_norm=quartiles,
        )
        for name in names
    ]  # fmt: skip
    judges = dict.fromkeys(names, facts)
    write_scores(rows, folder / "scores.csv")
    summary = summarise(rows, judges=judges, health=health, distances={names[1]: DISTANCES["dvs_gesture"]})
    write_summary(summary, folder / "summary.json")
    manifest = {
        "title": names[1],
        "failed": dict(zip(names, reversed(names), strict=True)),
        "datasets": {name: {"people": False, "source": name} for name in names},
        names[2]: names[3],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "config.toml").write_text("\n".join(f"# {name}" for name in names), encoding="utf-8")
    return folder


def gallery_of(score: Score, name: str) -> Pictures:
    return Pictures(
        **columns_of(score, Approach, Attacked), cell=name, thresholding=name, tau=score.tau,
        roles=("best", "median", name), subjects=(score.capture_id,) * 3, limits=(0.0, 1.0),
        images={TRUTH: torch.rand(3, 1, 28, 28), ANSWER: torch.rand(3, 1, 28, 28)},
        numbers={"label": (1,) * 3, "ssim": (0.5,) * 3, "psnr_db": (9.0,) * 3, "l2": (4.0,) * 3},
        words={"stop_reason": (name, name, "diverged")},
        loss_curves=torch.rand(2, 9), curve_recognisable=(True, False),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, row: Row, listener: Listener) -> Path:
    return write_report(hostile_run(tmp_path_factory.mktemp("hostile"), row, listener.address))


@pytest.mark.endurance
def test_hostile_names_are_text_in_every_kind_of_report(page: Path, listener: Listener) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    assert policy_of(text) == POLICY
    tags = Tags(text)
    assert {tag for tag, _ in tags.tags}.isdisjoint({"script", "link", "iframe", "svg", "object", "embed", "base"})
    assert all(source.startswith("data:image/") for source in tags.attributes("src"))
    assert not {name for _, attributes in tags.tags for name in attributes if name.startswith("on")}
    for name in hostile(listener.address)[:9]:
        assert tags.text.count(name) > 10, name
    markdown = page.with_suffix(".md").read_text(encoding="utf-8")
    assert not re.search(r"<\w|(?<!\\)!?\[[^]\\]*\]\(", markdown.replace("<br>", ""))
    for told in (text, markdown, page.with_suffix(".tex").read_text(encoding="utf-8")):
        assert not set(OVERRIDE + "\x00\x1b") & set(told)
        assert "7*7" in told.replace("\\", "")


class TestInABrowser:
    pytestmark: ClassVar = [*BROWSER, pytest.mark.endurance]

    def test_nothing_runs_and_nothing_is_asked_for(self, page: Path, tmp_path: Path, listener: Listener) -> None:
        listener.asked.clear()
        dumped = browse(page.as_uri(), tmp_path, "--dump-dom", "--virtual-time-budget=5000")
        assert "script" not in {tag for tag, _ in Tags(dumped).tags}
        (title,) = re.findall("<title>(.*?)</title>", dumped)
        assert html.unescape(title).startswith(hostile(listener.address)[1])
        assert listener.asked == []

    def test_the_names_do_run_and_ask_where_they_are_not_escaped(self, tmp_path: Path, listener: Listener) -> None:
        """Otherwise the test above could not fail."""
        listener.asked.clear()
        for index, name in enumerate(hostile(listener.address)[1:8]):
            bare = tmp_path / f"{index}.html"
            bare.write_text(f'<!DOCTYPE html><meta charset=utf-8><title>safe</title><p title="{name}">{name}</p>')
            dumped = browse(bare.as_uri(), tmp_path, "--dump-dom", "--virtual-time-budget=5000")
            if "document.title" in name:
                assert "<title>ran</title>" in dumped
        assert {"/script", "/img", "/quoted", "/sheet", "/frame", "/svg"} <= set(listener.asked)

    def test_it_opens_at_once_and_every_figure_is_there(self, page: Path, tmp_path: Path) -> None:
        found = measured(page.read_text(encoding="utf-8"), tmp_path, 390)
        assert found["broken"] == 0
        assert found["images"] > 50
        assert found["width"] <= found["inner"] == 390
        assert seconds_to_open(page, tmp_path) < MOST_SECONDS


def test_the_names_are_all_different(listener: Listener) -> None:
    assert all(one != other for one, other in itertools.combinations(hostile(listener.address), 2))
