"""A thousand failing writes: the old content, the new content or none is read, and the user is told which file."""

from __future__ import annotations

import ast
import errno
import itertools
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import nn

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.checkpoints import Checkpoint, Stored, load_checkpoint, load_stored, save_checkpoint
from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.records import CapturedUpdate, InputSpec, ModelSpec, SealedBatch, TrainedModel, load_record, save_record
from judges import cli
from judges.bench.folder import claim_folder
from judges.plans.gradient_inversion import make_plan
from judges.report import page
from judges.report.answer import Answer
from judges.report.page import write_page
from judges.report.table import Section
from judges.report.words import Words
from judges.runs.comparison import compare
from judges.runs.integrity import verify, write_hashes
from judges.runs.manifest import read_manifest, write_manifest
from judges.runs.tables import read_rows, write_rows
from judges.summaries.gradient_inversion import Summary, read_summary, write_summary
from judges.summaries.model_inversion import Inversions, read_inversions, write_inversions
from tests.test_robustness_bombs import NO_STEP

ROOT = Path(__file__).parents[1]
FAULTS, SEED = 1000, 1
SPEC = ModelSpec("lenet", InputSpec(channels=1, height=2, width=2, classes=2))
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
PLAN = make_plan({"name": "tiny", "judge": "none"})
MODEL = nn.Linear(3, 2)


@dataclass(frozen=True)
class Line:
    """A row of a table."""

    name: str
    value: float


class Killed(BaseException):
    """The process is gone: nothing that would come after it runs."""


def trained(version: int) -> TrainedModel:
    return TrainedModel(SPEC, {"w": torch.full((40,), float(version))}, 0.5, round=version, seed=0)


def captured(version: int) -> CapturedUpdate:
    parameters = {"w": torch.full((30,), float(version))}
    return CapturedUpdate("f/r001-c000", 1, 0, SPEC, parameters, parameters, "delta")


def checkpoint(version: int) -> Checkpoint:
    state = {name: torch.full_like(value, float(version)) for name, value in MODEL.state_dict().items()}
    return Checkpoint(state, {}, {}, torch.zeros(4, dtype=torch.uint8), epoch=version)


def listed(folder: Path, version: int) -> None:
    (folder / "config.toml").write_text(f"seed = {version}\n")  # not a result: what is listed
    write_hashes(folder)


WRITERS: dict[str, tuple[Callable[[Path, int], object], Callable[[Path], object]]] = {
    "text": (
        lambda folder, version: atomic_write(folder / "inversion.png", bytes([version]) * 500),
        lambda folder: (folder / "inversion.png").read_bytes(),
    ),
    "record": (
        lambda folder, version: save_record(trained(version), folder / "models" / "f.safetensors"),
        lambda folder: load_record(TrainedModel, folder / "models" / "f.safetensors"),
    ),
    "captures": (
        lambda folder, version: CaptureStore(folder)(captured(version)),
        lambda folder: list(CaptureStore(folder)),
    ),
    "sealed": (
        lambda folder, version: SealedStore(folder)(
            SealedBatch("f/r001-c000", torch.full((1, 1, 2, 2), float(version)), torch.tensor([1]))
        ),
        lambda folder: list(SealedStore(folder)),
    ),
    "rows": (
        lambda folder, version: write_rows(Line, [Line("x" * 9, version / 3)] * 20, folder / "scores.csv"),
        lambda folder: read_rows(Line, folder / "scores.csv"),
    ),
    "summary": (
        lambda folder, version: write_summary(Summary((), {"x": {"y": "z" * 90}}, version, {}), folder / "s.json"),
        lambda folder: read_summary(folder / "s.json"),
    ),
    "inversions": (
        lambda folder, version: write_inversions(
            Inversions((), (), {"x": {"y": "z" * 90}}, version), folder / "s.json"
        ),
        lambda folder: read_inversions(folder / "s.json"),
    ),
    "manifest": (
        lambda folder, version: write_manifest(folder, {"version": version, "text": "x" * 200}),
        lambda folder: read_manifest(folder),
    ),
    "config": (lambda folder, _: claim_folder(PLAN, folder), lambda folder: claim_folder(PLAN, folder)),
    "report": (
        lambda folder, version: write_page(
            folder,
            {"title": "x"},
            [],
            words=Words(str(version), (), {}),
            findings=[],
            answer=Answer("x", "no", []),
            first=Section("first", "First", []),
        ),
        lambda folder: [(folder / f"report.{kind}").read_text() for kind in ("md", "html")],
    ),
    "hashes": (listed, verify),
    "checkpoint": (
        lambda folder, version: save_checkpoint(checkpoint(version), folder / "m.checkpoint"),
        lambda folder: load_checkpoint(folder / "m.checkpoint", MODEL),
    ),
    "cache": (
        lambda folder, version: save_record(
            Stored({"w": torch.full((30,), float(version))}, {"epochs": version}), folder / "t.safetensors"
        ),
        lambda folder: load_stored(Stored, folder / "t.safetensors"),
    ),
}
"""{what: (writes it into a folder in one of two versions, reads it back)}."""
NOT_RESULTS = {"hashes": {"config.toml"}, "report": {"config.toml"}}


@dataclass
class Disk:
    """A disk that fails once: after so many bytes, or at the n-th flush, rename or new file.

    Attributes:
        kind: "full", "fsync", "rename", "create", or "short", which is no failure: writes that take a part only.
        at: after how many bytes, or at which call (from 0).
        error: what is raised; a `Killed` ends the process there and then.
        stuck: whether temporary files cannot be removed either.
    """

    kind: str
    at: int
    error: BaseException
    stuck: bool
    seen: int = 0
    fired: bool = False
    calls: dict[str, int] = field(default_factory=dict)

    def due(self, kind: str) -> None:
        """Count a call, and fail where it is the one."""
        number = self.calls.get(kind, 0)
        self.calls[kind] = number + 1
        if kind == self.kind and number == self.at:
            self.fired = True
            raise self.error

    def write(self, descriptor: int, data: Any) -> int:
        if self.kind == "short":
            self.fired = True
            return int(REAL["write"](descriptor, data[: self.at + 1]))
        if self.kind != "full" or self.seen + len(data) <= self.at:
            self.seen += len(data)
            return int(REAL["write"](descriptor, data))
        room = self.at - self.seen
        if room > 0:  # what fits is written first, as a real disk does
            self.seen = self.at
            return int(REAL["write"](descriptor, data[:room]))
        self.fired = True
        raise self.error

    @contextmanager
    def mounted(self) -> Iterator[Disk]:
        def unlink(path: Any, *arguments: Any, **options: Any) -> None:
            if self.fired and self.stuck and str(path).endswith(".tmp"):
                raise OSError(errno.EIO, "Input/output error")
            REAL["unlink"](path, *arguments, **options)

        def replaced(source: Any, target: Any) -> None:
            self.due("rename")
            REAL["replace"](source, target)

        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                self.due("create")
            return int(REAL["open"](path, flags, *arguments, **options))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", self.write)
            patch.setattr(os, "fsync", lambda _: self.due("fsync"))
            patch.setattr(os, "replace", replaced)
            patch.setattr(os, "unlink", unlink)
            patch.setattr(os, "open", opened)
            yield self


REAL: dict[str, Any] = {name: getattr(os, name) for name in ("write", "replace", "unlink", "open")}


def files(folder: Path) -> dict[str, bytes]:
    """Return the results in a folder; temporary files are none."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def lay(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def through_the_command(action: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Do something in the place of a command; return its exit code and what it printed on standard error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", lambda **_: action())
        patch.setattr(sys, "argv", ["spikeleak", "run"])
        with pytest.raises((SystemExit, Killed)) as ended:
            cli.main()
    code = ended.value.code if isinstance(ended.value, SystemExit) else 137
    return int(code or 0), capsys.readouterr().err


def drawn(draw: random.Random, size: int, count: int) -> Disk:
    kind = draw.choice(["full", "full", "full", "fsync", "rename", "create", "short"])
    number = draw.choice(ERRORS)
    error: BaseException = Killed() if draw.random() < 0.15 else OSError(number, os.strerror(number))
    at = draw.randrange(size) if kind == "full" else draw.randrange(200) if kind == "short" else draw.randrange(count)
    return Disk(kind, at, error, stuck=draw.random() < 0.3 or isinstance(error, Killed))


@pytest.fixture(autouse=True)
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few bytes: what is written counts here, not what it looks like."""
    monkeypatch.setattr(page, "TEMPLATES", tmp_path / "templates")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "report.css").touch()
    for kind in ("md", "html", "tex"):
        (tmp_path / "templates" / f"page.{kind}.j2").write_text(f"{kind} {{{{ threat_model }}}}" + "x" * 150)


def versions(name: str, folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the files that a writer leaves in each of its two versions."""
    write, contents = WRITERS[name][0], []
    for version in (0, 1):
        own = folder / f"{name}-{version}"
        lay(own, {"config.toml": b"seed = 0\n"} if name == "report" else {})
        write(own, version)
        contents.append(files(own))
    return contents[0], contents[1]


@pytest.mark.endurance
def test_a_thousand_failing_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(SEED)  # noqa: S311 - a seeded draw of test cases
    known = {name: versions(name, tmp_path / "clean") for name in WRITERS}
    left_behind = told = 0
    turns = itertools.cycle(WRITERS)
    number = 0
    while number < FAULTS:
        name = next(turns)
        old, new = known[name]
        beside = NOT_RESULTS.get(name, set())
        results = {path: content for path, content in new.items() if path not in beside}
        disk = drawn(draw, sum(map(len, results.values())), len(results))
        folder = tmp_path / f"{number}-{name}"
        had = old if draw.random() < 0.6 and name != "config" else {path: old[path] for path in beside if path in old}
        lay(folder, had)
        with disk.mounted():
            code, err = through_the_command(lambda: WRITERS[name][0](folder, 1), capsys)  # noqa: B023 - called at once
        if not disk.fired:
            assert (code, files(folder)) == (0, {**had, **new}), name
            continue
        number += 1
        check_told(disk, code, err, folder, results)
        told += code == 1
        left_behind += bool(list(folder.rglob("*.tmp")))
        for path, content in files(folder).items():
            assert content in (had.get(path), new.get(path)), (name, path)
        check_read(name, folder, known[name])
    assert told > FAULTS / 2
    assert left_behind > FAULTS / 10


def check_told(disk: Disk, code: int, err: str, folder: Path, results: Mapping[str, bytes]) -> None:
    """The user reads which file, how many bytes and why; writes that take a part only are no failure."""
    if disk.kind == "short":
        assert (code, err) == (0, "")
    elif isinstance(disk.error, Killed):
        assert code == 137
    else:
        assert code == 1
        found = re.fullmatch(r"spikeleak: (.+?): could not write ([\d,]+) bytes \((.+)\); .*\n", err)
        assert found is not None, err
        size = len(results[Path(found[1]).relative_to(folder).as_posix()])
        assert int(found[2].replace(",", "")) == size
        assert isinstance(disk.error, OSError)
        assert found[3] == disk.error.strerror


def check_read(name: str, folder: Path, known: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    """What is read is whole or not there; half a file would be a DataError of another kind, or a wrong value."""
    try:
        WRITERS[name][1](folder)
    except (DataError, FileNotFoundError):
        if not set(known[1]) - set(files(folder)):  # all files are there, so all must be read
            raise


def test_the_cache_of_frames_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fl_sim.datasets.events.cache import frames_folder
    from fl_sim.datasets.recordings import nmnist
    from tests.fl_sim.test_events_files import contents_of, put

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = put(tmp_path, "nmnist", contents_of("nmnist"), packed=False)
    whole = nmnist.read(where, 0).digest
    (kept,) = frames_folder().iterdir()
    size = kept.stat().st_size
    draw = random.Random(SEED)  # noqa: S311 - a seeded draw of test cases
    for _ in range(20):
        kept.unlink(missing_ok=True)
        disk = Disk(draw.choice(["full", "fsync", "rename"]), 0, OSError(errno.ENOSPC, "full"), stuck=True)
        disk.at = draw.randrange(size) if disk.kind == "full" else 0
        with disk.mounted():
            assert nmnist.read(where, 0).digest == whole
        assert disk.fired
        assert not kept.exists()
    assert nmnist.read(where, 0).digest == whole
    assert kept.stat().st_size == size


def test_every_result_is_written_by_the_one_writer() -> None:
    """Whatever else opens a file to write it would escape the test above."""
    found = []
    for path in sorted(path for room in ("fl_sim", "attacks", "judges") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                modes = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
                writes = any(isinstance(mode, ast.Constant) and re.fullmatch("[rwax]b?\\+?", str(mode.value)) and
                             str(mode.value)[0] in "wax" for mode in modes)  # fmt: skip
                if name in ("write_text", "write_bytes", "save_file", "mkstemp") or (name == "open" and writes):
                    found.append(f"{path.relative_to(ROOT)}: {name}")
    assert found == ["fl_sim/files.py: mkstemp"]


# A whole run on a disk that fills up

TINY = {**NO_STEP, "federation": {"clients": 2}}


@pytest.fixture
def spikeleak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command with real pages and returns its exit code and standard error."""
    monkeypatch.setattr(page, "TEMPLATES", ROOT / "judges" / "report" / "templates")
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(TINY))

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["spikeleak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, capsys.readouterr().err

    return call


@pytest.mark.endurance
def test_a_run_on_a_full_disk_says_so_and_goes_on_afterwards(tmp_path: Path, spikeleak: Any) -> None:
    config, clean = tmp_path / "tiny.toml", tmp_path / "clean"
    counter = Disk("none", 0, OSError(), stuck=False)
    with counter.mounted():
        assert spikeleak("run", config, "--out", clean, "--quiet")[0] == 0
    count = counter.calls["rename"]
    draw = random.Random(SEED)  # noqa: S311 - a seeded draw of test cases
    # The first writes are a config, the sealed batches and captures of a federation: the clients' and the server's own.
    for at in [1, 3, *draw.sample(range(5, count), 2)]:
        out = tmp_path / f"run-{at}"
        with Disk("rename", at, OSError(errno.ENOSPC, "No space left on device"), stuck=True).mounted() as disk:
            code, err = spikeleak("run", config, "--out", out, "--quiet")
        assert disk.fired
        assert code == 1, (at, err)
        told = err.splitlines()[-1]  # Flower logs the errors of its clients before
        assert told.startswith("spikeleak: ")
        assert re.search(rf"{out}/\S+: could not write [\d,]+ bytes \(No space left", told), told
        assert "Traceback" not in err
        assert spikeleak("run", config, "--out", out, "--quiet") == (0, "")
        found = verify(out)
        assert (found.changed, found.missing, found.unlisted) == ((), (), ())
        assert compare(clean, out).is_equal
        assert set(files(out)) == set(files(clean))
