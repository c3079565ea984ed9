"""What an installation brings: light and free by default, whatever else is missed is named, one name to import."""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import spikeleak
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fl_sim.errors import ConfigError
from fl_sim.extras import PACKAGES, require
from judges.plans.reading import find_config, shipped_configs
from tests import programs

ROOT = Path(__file__).parents[1]
TOLD: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = TOLD["project"]
WHEEL: dict[str, Any] = TOLD["tool"]["hatch"]["build"]["targets"]["wheel"]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")

COPYLEFT = re.compile(r"\b[AL]?GPL|General Public License|Lesser General|Affero|\bMPL|Mozilla Public", re.IGNORECASE)
_HEAD = 300
"""Characters of a licence's text that tell which one it is; further down it may tell of parts."""


# The default install


def closure(requirements: Sequence[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return all that these requirements bring, by name, as far as markers hold here; an error if one is not there."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *sorted(one.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = importlib.metadata.distribution(name)
            needed = map(Requirement, found[name].requires or [])
            waiting += [each for each in needed if each.marker is None or each.marker.evaluate({"extra": extra})]
    return found


def licences(distribution: importlib.metadata.Distribution) -> str:
    """Return what a distribution tells of its licence: its metadata, or where these are silent its licence files."""
    told = distribution.metadata
    texts = [text for text in told.get_all("Classifier") or [] if text.startswith("License ::")]
    texts += [text[:_HEAD] for key in ("License-Expression", "License") for text in told.get_all(key) or []]
    if not any(text.strip() not in ("", "UNKNOWN") for text in texts):
        paths = [path for path in distribution.files or [] if re.match(r"(LICEN[CS]E|COPYING)", path.name)]
        texts = [path.read_text()[:_HEAD] for path in paths if path.suffix != ".py"]
    return "\n".join(texts)


def entries(title: str) -> dict[str, str]:
    """Return {package: what NOTICE says of it} of one of its sections."""
    text = NOTICE.split(f"\n{title}\n\n")[1].split("\n\n")[0]
    told = re.findall(r"^  (\S[^:]*?)(?: \(\w+\))?: (.+(?:\n    .+)*)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): licence for names, licence in told for name in names.split(", ")}


def names_of(requirements: Sequence[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


JUSTIFIED = entries("Copyleft in the default install, and why it is there")


def unjustified(distributions: dict[str, importlib.metadata.Distribution]) -> set[str]:
    return {name for name, one in distributions.items() if COPYLEFT.search(licences(one))} - set(JUSTIFIED)


def test_the_default_install_brings_no_copyleft_but_what_notice_justifies() -> None:
    found = closure(PROJECT["dependencies"])
    assert {"torch", "flwr", "spikingjelly", "numpy"} <= set(found)
    assert unjustified(found) == set()
    assert {name for name in JUSTIFIED if not COPYLEFT.search(licences(found[name]))} == set()
    silent = {name for name, one in found.items() if not licences(one).strip()}
    assert silent <= set(entries("Packages of the default install whose metadata tell no licence"))


def test_the_default_install_brings_none_of_the_extras() -> None:
    found = set(closure(PROJECT["dependencies"]))
    assert not found & {"ray", "tonic", "expelliarmus", "importrosbag", "pandas", "pytorch-metric-learning", "soxr"}


def test_a_copyleft_licence_would_be_found_however_it_is_told() -> None:
    """By classifier, by expression, by a licence file alone, and by a text."""
    if any(importlib.util.find_spec(name) is None for name in ("tonic", "norse")):
        pytest.skip("needs the extras and the tools of the development")
    found = closure(PROJECT["optional-dependencies"]["events"])
    assert {"tonic", "expelliarmus", "importrosbag"} <= unjustified(found)
    assert "norse" in unjustified(closure(["norse"]))
    assert "pebble" in JUSTIFIED


def test_notice_lists_every_direct_dependency() -> None:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    dev, collected = names_of(extras["dev"]) - {"spikeleak"}, names_of(extras["all"])
    assert collected == {"spikeleak"}
    assert set(entries("Direct dependencies of the default install")) == names_of(PROJECT["dependencies"])
    single = {name: names_of(texts) - {"flwr"} for name, texts in extras.items() if name not in ("dev", "all")}
    assert set(entries("Direct dependencies of the extras")) == set().union(*single.values())
    assert set(entries("Tools of the development, not of the program")) == {*dev, "hatchling"}
    assert set(single) == set(PACKAGES)
    assert f"spikeleak[{','.join(single)}]" in extras["all"]


# What is missed is named


ABSENT = """
import sys
ABSENT = ("ray", "tonic", "pandas", "pytorch_metric_learning", "tensorboard", "mlflow")
for name in [name for name in sys.modules if name.partition(".")[0] == "pandas"]:
    del sys.modules[name]  # scikit-learn imports it where it is installed
assert not set(ABSENT) & set(sys.modules)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Refuse())
from spikeleak.__main__ import main
def call(line, code):
    sys.argv = ["spikeleak", *line.split()]
    try:
        main()
    except SystemExit as left:
        assert left.code == code, (line, left.code)
"""
TINY = """
    dataset = {name = "digits", size = 8}
    judge = "none"
    attack = {name = "dlg", iterations = 2, inner_iterations = 2}
    [federation]
    clients = 1
"""


@pytest.mark.endurance
def test_run_and_audit_need_no_extra_and_what_needs_one_names_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    code = f"""{ABSENT}
call("run tiny.toml --quiet", 0)
import shutil
for room in ("captures", "sealed"):
    shutil.copytree(f"runs/tiny/{{room}}", f"mine/{{room}}")
call("audit mine --quiet --set attack.name=dlg --set attack.iterations=2 --set attack.inner_iterations=2", 0)
for wanted in ("federation.engine=ray", "judge=resnet50_arcface", "dataset=digits_dvs --set model=spiking_lenet"):
    call(f"run tiny.toml --out other --set {{wanted}}", 2)
call("run tiny.toml --out other --engine ray", 2)
call("data fetch nmnist", 2)
call("export runs/tiny --to tensorboard", 2)
call("export runs/tiny --to mlflow", 2)
"""
    done = programs.run("-c", code, cwd=tmp_path, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    for folder in ("runs/tiny", "mine"):
        assert (tmp_path / folder / "report.html").is_file()
        with (tmp_path / folder / "scores.csv").open(encoding="utf-8", newline="") as file:
            assert "dlg" in {row["attack"] for row in csv.DictReader(file)}
    assert not (tmp_path / "other").exists()
    told = [line for line in done.stderr.splitlines() if line.startswith("spikeleak: ")]
    for line, (what, extra) in zip(told, [
        ('federation.engine: "ray"', "ray"), ("judge.name: 'resnet50_arcface'", "judges"),
        ("dataset.name: 'digits_dvs'", "events"), ("--engine ray", "ray"), ("data fetch nmnist", "events"),
        ("--to tensorboard", "tensorboard"), ("--to mlflow", "mlflow"),
    ], strict=True):  # fmt: skip
        assert line == (
            f"spikeleak: {what}: needs the package {PACKAGES[extra]}, which is not installed; "
            f"pip install 'spikeleak[{extra}]' adds it."
        )


def test_what_is_installed_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fl_sim.extras.PACKAGES", {"events": "json", "ray": "no_such_package_at_all"})
    require("", "nothing")
    require("events", "a key")
    with pytest.raises(ConfigError, match=r"^a key: needs the package no_such_package_at_all, .*'spikeleak\[ray\]'"):
        require("ray", "a key")


# The wheel


def test_the_wheel_carries_configs_types_and_our_package() -> None:
    assert [place for place in WHEEL["only-include"] if not (ROOT / place).is_dir()] == []
    assert WHEEL["sources"] == {"judges/public/spikeleak": "spikeleak", "configs": "judges/configs"}
    for place in ("fl_sim", "attacks", "judges", "judges/public/spikeleak"):
        assert (ROOT / place / "py.typed").is_file()
    assert [path.name for path in (ROOT / "judges/public").iterdir() if path.name != "__pycache__"] == ["spikeleak"]


def test_changelog_and_citation_tell_of_this_version() -> None:
    version = PROJECT["version"]
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1] == version  # type: ignore[index]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert names_of(PROJECT["dependencies"]) <= pinned


def test_a_config_is_found_by_its_name_and_a_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = ROOT / "configs"
    assert set(shipped_configs()) == {str(path.relative_to(folder))[:-5] for path in folder.rglob("*.toml")}
    for name in ("demo", "demo.toml"):
        assert find_config(Path(name)).read_text() == (folder / "demo.toml").read_text()
    for name in ("board/digits_lenet", "board/digits_lenet.toml"):
        assert find_config(Path(name)).read_text() == (folder / "board/digits_lenet.toml").read_text()
    with pytest.raises(ConfigError, match=r"Did you mean 'board/digits_lenet'\?"):
        find_config(Path("board/digits_lennet"))
    for elsewhere in ("folder/demo", "./../demo", "/demo"):
        assert find_config(Path(elsewhere)) == Path(elsewhere)
    with pytest.raises(ConfigError, match=r"^tabel4: expected a file, or the name of .* Did you mean 'table4'\?"):
        find_config(Path("tabel4"))
    with pytest.raises(ConfigError, match="found neither"):
        find_config(Path("a" * 300))
    (tmp_path / "table4").mkdir()
    assert find_config(Path("table4")).name == "table4.toml"
    (tmp_path / "demo").write_text("mine")
    assert find_config(Path("demo")) == Path("demo")


# The package `spikeleak`


def typed_names() -> Iterator[tuple[str, str]]:
    """Yield (name, module) of the imports that type checkers see."""
    tree = ast.parse(Path(spikeleak.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.name, node.module or "") for alias in node.names)


def test_every_public_name_is_what_its_room_defines() -> None:
    rooms = dict(typed_names())
    assert rooms == spikeleak._ROOMS
    for name, room in rooms.items():
        assert getattr(spikeleak, name) is getattr(importlib.import_module(room), name)
    assert {*rooms, "__version__"} <= set(dir(spikeleak))
    assert spikeleak.__version__ == importlib.metadata.version("spikeleak")
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        spikeleak.no_such_name  # noqa: B018


@pytest.mark.parametrize("code", ["import spikeleak", "from spikeleak.__main__ import main; main()"])
def test_neither_its_import_nor_the_help_of_its_command_loads_what_takes_long(code: str) -> None:
    """The help takes 0.3 s of a core where these are not imported, 0.7 s with pydantic's settings alone."""
    told = f"""
import sys
sys.argv = ["spikeleak", "--help"]
try:
    {code}
except SystemExit:
    pass
assert not {{"torch", "flwr", "numpy", "pydantic"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", told], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("Usage: spikeleak" in done.stdout) == ("main" in code)


def shadow(folder: Path) -> None:
    """Put a package and a module of the user's own, with names of ours, into a folder."""
    (folder / "attacks").mkdir()
    (folder / "attacks/__init__.py").write_text("MINE = True\n")
    (folder / "judges.py").write_text("MINE = True\n")


@pytest.mark.endurance
def test_a_users_folder_attacks_beside_the_script_does_not_stand_in_for_ours(tmp_path: Path) -> None:
    shadow(tmp_path)
    (tmp_path / "script.py").write_text(
        "from spikeleak import ATTACKS\n"
        "import attacks, judges.kinds\n"
        "assert 'dlg' in ATTACKS and not hasattr(attacks, 'MINE')\n"
        "import spikeleak\n"
        "assert all(hasattr(spikeleak, name) for name in spikeleak._ROOMS)\n"
    )
    (tmp_path / "late.py").write_text("import attacks\nimport spikeleak\n")
    done = programs.run(tmp_path / "script.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = programs.run("-m", "spikeleak", "list", "attacks", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\ndlg " in f"\n{done.stdout}"
    done = programs.run(tmp_path / "late.py", cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: spikeleak: it has a package 'attacks', but ")
    assert str(tmp_path / "attacks/__init__.py") in last


@pytest.mark.parametrize("module", ["spikeleak", "judges.cli"])
def test_the_command_is_a_module_too(module: str) -> None:
    done = programs.run("-m", module, "--version")
    version = importlib.metadata.version("spikeleak")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"spikeleak {version}\n", "")
