"""The command `spikeleak export`: where it writes, what it says, what it refuses."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fl_sim.errors import ConfigError, DataError
from judges import cli
from judges.runs.integrity import verify
from tests import programs
from tests.judges.bench.test_gradient_inversion import run
from tests.judges.export.test_cells import RAW, boards, runs_in

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning"),
]  # of MLflow's tables

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "tiny"
    run(folder, RAW)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "tiny"))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["spikeleak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


def test_the_command_leaves_the_run_as_it_is(folder: Path, call: Call) -> None:
    pytest.importorskip("mlflow")
    assert verify(folder).is_sound
    code, out, err = call("export", folder, "--to", "tensorboard")
    assert (code, err) == (0, "")
    assert out == f"tensorboard --logdir {folder}.tensorboard\n"
    assert len(boards(Path(f"{folder}.tensorboard"))) == 2 + 5 + 2  # each attack has a control of its own
    code, out, _ = call("export", folder, "--to", "mlflow")
    assert code == 0
    assert out == f"experiment 'tiny' in sqlite:///{folder}.mlflow/mlflow.db\n"
    assert len(runs_in(f"sqlite:///{folder}.mlflow/mlflow.db", "tiny")) == 2 + 5 + 2
    assert verify(folder).is_sound


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "tensorbord"], "Did you mean 'tensorboard'?"),
        (["--to", "tensorboard", "--out", "RUN/board"], "lies in the folder of the run"),
        (["--to", "mlflow", "--tracking-uri", "sqlite:///RUN/mlflow.db"], "lies in the folder of the run"),
        (["--to", "mlflow", "--out", "elsewhere"], "--out is where tensorboard's files go"),
        (["--to", "tensorboard", "--tracking-uri", "sqlite:///x"], "--tracking-uri where mlflow's runs go"),
        (["--to", "mlflow", "--show-faces"], "mlflow is given no pictures"),
        (["--to", "mlflow", "--tracking-uri", "nonsense://x"], "MLflow refuses it"),
    ],
)
def test_a_wrong_option_is_refused(finished: Path, call: Call, arguments: list[str], said: str) -> None:
    code, out, err = call("export", finished, *(part.replace("RUN", str(finished)) for part in arguments))
    assert code == ConfigError.exit_code
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_what_is_no_run_is_refused(folder: Path, tmp_path: Path, call: Call) -> None:
    assert call("export", tmp_path, "--to", "mlflow")[0] == DataError.exit_code
    for name in ("summary.json", "manifest.json"):
        (folder / name).write_text("{")
        code, _, err = call("export", folder, "--to", "tensorboard")
        assert code == DataError.exit_code
        assert name in err


@pytest.mark.parametrize(("to", "module"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_without_the_extra_one_paragraph_says_how_to_add_it(
    finished: Path, tmp_path: Path, to: str, module: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from judges.cli import main; main()"
    place = (
        ["--out", str(tmp_path / "board")] if to == "tensorboard" else ["--tracking-uri", f"sqlite:///{tmp_path}/m.db"]
    )
    done = programs.run("-c", code, "export", finished, "--to", to, *place)
    assert done.returncode == ConfigError.exit_code
    assert done.stderr.startswith("spikeleak: ")
    assert f"pip install 'spikeleak[{to}]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
