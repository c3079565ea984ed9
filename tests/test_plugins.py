"""Other packages' entries: the README's own plugin installed beside broken ones, and what is refused in which words."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attacks import ATTACKS, AttackEntry, InversionEntry, build_entry
from attacks.inversion_settings import ModelInversionSettings
from attacks.settings import DLGSettings
from fl_sim import guarded_imports, plugins
from fl_sim.datasets import DatasetEntry
from fl_sim.defences import DEFENCES, DefenceEntry
from fl_sim.defences.settings import ClipSettings
from fl_sim.errors import ConfigError
from fl_sim.models import ModelEntry
from fl_sim.plugins import BY_HAND, OURS, Table
from tests import programs
from tests.readmes import block, section

SECTION = section("attacks/README.md", "Your own attack")
BROKEN = {
    "raises.py": "raise RuntimeError('no licence\\nfound')",
    "leaves.py": "import sys\nsys.exit('bye')",
    "mistaken.py": """
from attacks import AttackEntry
from attacks.settings import DLGSettings
from fl_sim.models import ModelEntry
CLASS = AttackEntry
OTHER = ModelEntry("mistaken:Net", spiking=False, summary="a model")
PLACE = AttackEntry("mistaken:Gone", DLGSettings, adversary="A", summary="whose class is not there")
""",
    "untyped.py": """
from attacks import AttackEntry
ENTRY = AttackEntry("untyped:Attack", dict, adversary="A", summary="whose settings are none")
""",
}
SIGNS = {
    "signs.py": """
from pydantic import Field
from fl_sim.defences import DEFENCES, DefenceEntry
from fl_sim.specs import Settings


class SignSettings(Settings):
    scale: float = Field(default=0.01, gt=0)


ENTRY = DefenceEntry("signs_defence:sign", SignSettings, summary="the sign of each entry, times a scale")
LATE = DefenceEntry("signs_defence:gone", SignSettings, summary="whose function is not there")
""",
    "signs_defence.py": """
def sign(update, *, scale):
    return {name: scale * tensor.sign() for name, tensor in update.items()}
""",
}
SIGNS_POINTS = """
[spikeleak.defences]
times = signs:ENTRY
late = signs:LATE
clip = signs:ENTRY
none = signs:ENTRY
settings = signs:SignSettings
"""
BROKEN_POINTS = """
[spikeleak.attacks]
dlg = mistaken:PLACE
none = mistaken:PLACE
raises = raises:ENTRY
leaves = leaves:ENTRY
is_a_class = mistaken:CLASS
is_a_model = mistaken:OTHER
is_missing = mistaken:NOTHING
untyped = untyped:ENTRY
gone = mistaken:PLACE
[spikeleak.models]
lenet = mistaken:OTHER
"""


def install(site: Path, name: str, points: str, files: dict[str, str]) -> None:
    """Lay a distribution of version 1.2 out as an installer would."""
    for file, text in files.items():
        (site / file).write_text(text, encoding="utf-8")
    folder = site / f"{name.replace('-', '_')}-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text(points, encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of installed packages: the README's own, and one whose entries are all broken but one."""
    folder = tmp_path_factory.mktemp("site")
    points = re.findall(r'```toml\n\[project\.entry-points\."(.*?)"\]\n(.*?)```', SECTION, flags=re.DOTALL)
    written = "".join(f"[{group}]\n{lines.replace(chr(34), '')}" for group, lines in points)
    own = {
        "grey_dlg.py": block("attacks/README.md", "grey_dlg.py"),
        "grey_dlg_attack.py": block("attacks/README.md", "grey_dlg_attack.py"),
        "own_test.py": block("attacks/README.md", "test_grey_dlg.py"),
    }
    install(folder, "grey-dlg", written, own)
    install(folder, "mistakes", BROKEN_POINTS, BROKEN)
    return folder


def call(site: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call Python in a new interpreter."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd or site, env=environment(site), capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip


def spikeleak(site: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call the command where these packages are installed."""
    return programs.run(programs.COMMAND, *arguments, cwd=cwd or site, env=environment(site))


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(site / "cache")}


@pytest.mark.endurance
def test_list_names_the_plugin_and_its_origin_and_what_was_left_out(site: Path) -> None:
    done = spikeleak(site, "list", "attacks")
    assert done.returncode == 0
    there, _, left_out = done.stdout.partition("\n\nleft out:\n")
    rows = [line.split(None, 2) for line in there.splitlines()]
    assert [row[0] for row in rows][: len(ATTACKS) + 1] == [*ATTACKS, "grey_dlg"]
    lines = {line.split()[0]: " ".join(line.split()) for line in there.splitlines()}
    assert lines["grey_dlg"] == "grey_dlg grey-dlg 1.2 DLG that starts from grey"
    assert lines["gone"] == "gone mistakes 1.2 whose class is not there"
    assert lines["dlg"].startswith("dlg spikeleak Deep Leakage from Gradients")
    reasons = {line.split()[0]: " ".join(line.split()[1:]) for line in left_out.splitlines()}
    assert reasons == {
        "dlg": "mistakes 1.2 the name is taken by spikeleak",
        "none": "mistakes 1.2 the name is not valid: use up to 40 letters, digits, '_' and '-'",
        "raises": "mistakes 1.2 'raises:ENTRY' could not be imported: RuntimeError: no licence found",
        "leaves": "mistakes 1.2 'leaves:ENTRY' could not be imported: SystemExit: bye",
        "is_a_class": "mistakes 1.2 expected 'mistaken:CLASS' to be an instance of AttackEntry, found the class "
        "AttackEntry",
        "is_a_model": "mistakes 1.2 expected 'mistaken:OTHER' to be an instance of AttackEntry, found a ModelEntry",
        "is_missing": "mistakes 1.2 'mistaken:NOTHING' could not be imported: AttributeError: module 'mistaken' has no "
        "attribute 'NOTHING'",
        "untyped": "mistakes 1.2 'untyped:ENTRY' could not be imported: TypeError: AttackEntry.settings: expected a "
        "class derived from attacks.settings.base.InversionSettings, found <class 'dict'>.",
    }
    warnings = done.stderr.splitlines()
    assert len(warnings) == len(reasons) + 1
    assert "spikeleak: plugin 'dlg' of mistakes 1.2 (spikeleak.attacks): the name is taken by spikeleak" in warnings
    assert "spikeleak: plugin 'lenet' of mistakes 1.2 (spikeleak.models): the name is taken by spikeleak" in warnings


def test_plugins_load_no_torch_and_may_be_imported_before_the_tables(site: Path) -> None:
    code = (
        "import grey_dlg, sys; from attacks import ATTACKS; import judges.cli\n"
        "assert ATTACKS['grey_dlg'] is grey_dlg.ENTRY\n"
        "assert ATTACKS['dlg'].attack == 'attacks.dlg:DLG'\n"
        "assert 'dlg' in ATTACKS.own and 'grey_dlg' not in ATTACKS.own\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = call(site, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.endurance
def test_run_attacks_with_the_plugin_beside_broken_ones(site: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'dataset = "digits"\nmodel = "lenet"\njudge = "none"\n[federation]\nclients = 1\n'
        '[attack]\nname = ["grey_dlg", "dlg"]\niterations = 1\n',
        encoding="utf-8",
    )
    done = spikeleak(site, "run", "own.toml", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "plugin 'raises' of mistakes 1.2" in done.stderr
    with (tmp_path / "runs" / "own" / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert [row["attack"] for row in rows if not row["control"]] == ["grey_dlg", "dlg"]
    starts = [(row["attack"], row["guess"]) for row in rows if row["control"] == "no-op"]
    assert sorted(starts) == [("", "normal"), ("grey_dlg", "grey_dlg uniform")]
    versions = json.loads((tmp_path / "runs" / "own" / "manifest.json").read_text(encoding="utf-8"))["versions"]
    assert (versions["grey-dlg"], versions["mistakes"]) == ("1.2", "1.2")
    refused = spikeleak(site, "run", "own.toml", "--set", "attack=gone", "--out", "x", cwd=tmp_path)
    assert refused.returncode == 2
    assert "spikeleak: attack 'gone': 'mistaken:Gone' could not be imported: AttributeError" in refused.stderr


@pytest.mark.endurance
def test_the_readmes_own_test_passes_without_pytest(site: Path) -> None:
    code = (
        "import sys, own_test; own_test.test_it_keeps_the_promises_that_ours_keep(); assert 'pytest' not in sys.modules"
    )
    done = call(site, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def defended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an installed package of defences, all but one of which are no use."""
    folder = tmp_path_factory.mktemp("defended")
    install(folder, "signs", SIGNS_POINTS, SIGNS)
    return folder


def test_list_names_the_defence_and_its_origin_and_what_was_left_out(defended: Path) -> None:
    done = spikeleak(defended, "list", "defences")
    assert done.returncode == 0
    there, _, left_out = done.stdout.partition("\n\nleft out:\n")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in there.splitlines()}
    assert list(lines) == [*DEFENCES.own, "late", "times"]
    assert lines["times"] == "signs 1.2 the sign of each entry, times a scale"
    assert lines["clip"].startswith("spikeleak the update is scaled down")
    reasons = {line.split()[0]: " ".join(line.split()[3:]) for line in left_out.splitlines()}
    assert reasons == {
        "clip": "the name is taken by spikeleak",
        "none": "the name is not valid: use up to 40 letters, digits, '_' and '-'",
        "settings": "expected 'signs:SignSettings' to be an instance of DefenceEntry, found the class SignSettings",
    }
    assert "spikeleak: plugin 'clip' of signs 1.2 (spikeleak.defences): the name is taken" in done.stderr


@pytest.mark.endurance
def test_a_defence_of_a_plugin_is_an_axis_and_what_is_wrong_with_it_is_refused(defended: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'dataset = "digits"\njudge = "none"\nattack = {name = "idlg", iterations = 1}\n[federation]\nclients = 1\n'
        '[defence]\nname = ["none", "times"]\nscale = 0.5\n',
        encoding="utf-8",
    )
    done = spikeleak(defended, "run", "own.toml", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "runs" / "own" / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert [row["defence"] for row in rows if row["attack"] == "idlg"] == ["none", "times"]
    code = (
        "import sys; from fl_sim.captures import CaptureStore; from pathlib import Path\n"
        "store = CaptureStore(Path(sys.argv[1]))\n"
        "plain, signed = (store.load(f'digits-lenet-uniform-{name}-000/r001-c000') for name in ('none', 'times'))\n"
        "assert all(signed.update[key].equal(0.5 * tensor.sign()) for key, tensor in plain.update.items())"
    )
    checked = programs.run("-c", code, tmp_path / "runs" / "own" / "captures", env=environment(defended))
    assert checked.returncode == 0, checked.stderr
    for assignment, words in [
        ("defence.scale=0", "spikeleak: defence.scale: input should be greater than 0, got 0"),
        ("defence.scle=1", "spikeleak: defence.scle: unknown key. Did you mean 'scale'?"),
        ("defence=late", "defence 'late': 'signs_defence:gone' could not be imported: AttributeError"),
    ]:
        refused = spikeleak(defended, "run", "own.toml", "--set", assignment, "--out", "x", cwd=tmp_path)
        assert refused.returncode == 2
        assert words in refused.stderr


@pytest.mark.endurance
def test_a_plugins_defence_passes_the_shipped_check_without_pytest(defended: Path) -> None:
    code = (
        "import sys; from fl_sim.testing import check_defence; check_defence('times')\n"
        "assert 'pytest' not in sys.modules"
    )
    done = call(defended, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr


ENTRY = AttackEntry("attacks.dlg:DLG", DLGSettings, adversary="A", summary="one of ours")


def joined(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> Table[AttackEntry]:
    """Return a table with the entry "own" that finds these entry points, which belong to no distribution."""
    found = EntryPoints(EntryPoint(name, value, "group") for name, value in points)
    monkeypatch.setattr(plugins, "_select", lambda: found.select)
    return Table("group", AttackEntry, {"own": ENTRY})


def test_a_table_is_a_mapping_that_says_where_entries_are_from(monkeypatch: pytest.MonkeyPatch) -> None:
    table = joined(monkeypatch, ("b", f"{__name__}:ENTRY"), ("a", "attacks:ATTACKS"), ("c d", "attacks:ATTACKS"))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    table["mine"] = ENTRY
    assert (list(table), len(table)) == (["own", "b", "mine"], 3)
    assert [table.origin(name) for name in table] == [OURS, "an unknown package", BY_HAND]
    assert [left.name for left in table.left_out] == ["a", "c d"]
    assert table.left_out[0].reason == "expected 'attacks:ATTACKS' to be an instance of AttackEntry, found a Table"
    table["own"] = dataclasses.replace(ENTRY)
    assert table.origin("own") == BY_HAND
    table["own"] = ENTRY
    assert table.origin("own") == OURS
    del table["mine"]
    assert "mine" not in table


def test_of_two_packages_with_one_name_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = joined(monkeypatch, ("b", f"{__name__}:ENTRY"), ("b", f"{__name__}:ENTRY"))
    assert list(table) == ["own", "b"]
    assert [left.reason for left in table.left_out] == ["the name is taken by an unknown package"]


STATES = {
    "nothing": ("", ""),
    "dtype": ("import torch; torch.set_default_dtype(torch.float64)", "torch's default dtype"),
    "seed": ("import torch; torch.manual_seed(3)", "the state of torch's global generator"),
    "numpy": ("import numpy; numpy.random.seed(20261129)", "the state of NumPy's global generator"),
    "random": ("import random; random.seed(20261129)", "the state of Python's generator `random`"),
    "no gradients": ("import torch; torch.set_grad_enabled(False)", "whether torch records gradients"),
    "folder": ("import os; os.chdir('/')", "the working folder"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_plugin_that_changes_the_process_is_named_and_the_change_undone(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, what = STATES[state]
    name = f"plugin_{state.replace(' ', '_')}"
    (tmp_path / f"{name}.py").write_text(f"from tests.test_plugins import ENTRY\n{statement}\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = (
        torch.get_default_dtype(), torch.initial_seed(), torch.get_rng_state().tolist(), random.getstate(),
        np.random.get_state()[1].tolist(), torch.is_grad_enabled(), Path.cwd(),  # type: ignore[index]  # noqa: NPY002
    )  # fmt: skip
    table = joined(monkeypatch, ("a", f"{name}:ENTRY"))
    assert list(table) == (["own"] if what else ["own", "a"])
    told = [left.reason for left in table.left_out]
    assert told == ([f"'{name}:ENTRY' could not be imported: its import changes {what}, which is undone"] * bool(what))
    assert before == (
        torch.get_default_dtype(), torch.initial_seed(), torch.get_rng_state().tolist(), random.getstate(),
        np.random.get_state()[1].tolist(), torch.is_grad_enabled(), Path.cwd(),  # type: ignore[index]  # noqa: NPY002
    )  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise KeyboardInterrupt", "KeyboardInterrupt:"),
        ("raise GeneratorExit('x')", "GeneratorExit: x"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("import time; time.sleep(60)", "its import takes longer than 0.2 s"),
        ("while True:\n    try:\n        pass\n    except Exception:\n        pass", "its import takes longer than"),
    ],
)
def test_a_plugin_that_does_not_let_itself_be_imported_is_named(
    statement: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stubborn.py").write_text(statement)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(guarded_imports, "LONGEST_SECONDS", 0.2)
    table = joined(monkeypatch, ("a", "stubborn:ENTRY"), ("b", f"{__name__}:ENTRY"))
    assert list(table) == ["own", "b"]
    assert table.left_out[0].reason.startswith(f"'stubborn:ENTRY' could not be imported: {reason}")
    with pytest.raises(ConfigError, match=f"attack 'x': 'stubborn:Attack' could not be imported: {re.escape(reason)}"):
        build_entry("x", AttackEntry("stubborn:Attack", DLGSettings, adversary="A", summary="s"))


def test_an_interruption_by_the_user_is_no_fault_of_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("Ctrl-C is ignored here, as in a shell's background")
    (tmp_path / "patient.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    monkeypatch.syspath_prepend(tmp_path)
    table = joined(monkeypatch, ("a", "patient:ENTRY"))
    with pytest.raises(KeyboardInterrupt):
        list(table)


def attack_entry(**changed: Any) -> object:
    return AttackEntry(**{"attack": "a.b:C", "settings": DLGSettings, "adversary": "A", "summary": "s", **changed})


def inversion_entry(**changed: Any) -> object:
    known = {"attack": "a:C", "settings": ModelInversionSettings, "spiking": True, "summary": "s"}
    return InversionEntry(**{**known, **changed})


def defence_entry(**changed: Any) -> object:
    return DefenceEntry(**{"defence": "a.b:c", "settings": ClipSettings, "summary": "s", **changed})


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: attack_entry(attack="no place"),
            r"AttackEntry\.attack: expected a callable or 'package\.module:name'",
        ),
        (lambda: attack_entry(attack=3), r"AttackEntry\.attack: .* found 3"),
        (
            lambda: attack_entry(settings=ModelInversionSettings),
            r"derived from attacks\.settings\.base\.InversionSettings",
        ),
        (lambda: attack_entry(settings=DLGSettings()), r"AttackEntry\.settings: expected a class"),
        (lambda: attack_entry(summary=" "), r"AttackEntry\.summary: expected a text"),
        (lambda: attack_entry(draws=1), r"AttackEntry\.draws: expected True or False, found 1"),
        (lambda: inversion_entry(settings=DLGSettings), r"InversionEntry\.settings: .*\.ModelInversionSettings"),
        (lambda: inversion_entry(spiking="yes"), r"InversionEntry\.spiking: expected True or False, found 'yes'"),
        (lambda: ModelEntry("lenet", spiking=False, summary="s"), r"ModelEntry\.builder: .* found 'lenet'"),
        (lambda: defence_entry(defence="clip"), r"DefenceEntry\.defence: .* found 'clip'"),
        (lambda: defence_entry(settings=3), r"DefenceEntry\.settings: .* fl_sim\.specs\.Settings, found 3"),
        (lambda: defence_entry(summary=""), r"DefenceEntry\.summary: expected a text of one line"),
        (lambda: defence_entry(draws=0), r"DefenceEntry\.draws: expected True or False, found 0"),
        (lambda: DatasetEntry("a:b", summary="s", terms=""), r"DatasetEntry\.terms: expected a text of one line"),
    ],
)
def test_a_wrong_entry_is_refused_where_it_is_written(build: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        build()


@pytest.mark.parametrize("place", ["no_such_package:Attack", "attacks.dlg:Missing"])
def test_a_class_that_is_not_there_is_the_callers_to_mend(place: str) -> None:
    entry = AttackEntry(place, DLGSettings, adversary="A", summary="s")
    with pytest.raises(ConfigError, match=rf"attack 'x': '{place}' could not be imported: \w+Error: "):
        build_entry("x", entry)
