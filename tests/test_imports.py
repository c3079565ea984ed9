"""Who may import what: the order of the imports is the story of the threat model."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fl_sim", "attacks", "judges")

NOUNS = ("fl_sim.specs", "fl_sim.errors", "fl_sim.files")
TABLES = ("fl_sim.plugins",)
RECORDS = (*NOUNS, "fl_sim.records", "fl_sim.seeding")
ATTACKS = (
    "attacks",
    "fl_sim.records",
    "fl_sim.specs",
    "fl_sim.errors",
    "fl_sim.plugins",
    "fl_sim.models",
    "fl_sim.encoders",
    "fl_sim.seeding",
)

MAY: dict[str, Sequence[str]] = {
    "fl_sim.specs": ("fl_sim.errors",),
    "fl_sim.errors": (),
    "fl_sim.files": ("fl_sim.errors",),
    "fl_sim.seeding": (),
    "fl_sim.plugins": ("fl_sim.errors",),
    "fl_sim.records": NOUNS,
    "fl_sim.encoders": RECORDS,
    "fl_sim.models": (*RECORDS, *TABLES, "fl_sim.encoders", "fl_sim.models"),
    "fl_sim.datasets": (*RECORDS, *TABLES, "fl_sim.datasets"),
    "fl_sim.validation": ("fl_sim.errors",),
    "fl_sim.defences": (*NOUNS, *TABLES, "fl_sim.validation", "fl_sim.defences"),
    "fl_sim.training": (*RECORDS, "fl_sim.encoders", "fl_sim.models"),
    "fl_sim.captures": RECORDS,
    "fl_sim": ("fl_sim",),
    "attacks": ATTACKS,
    "attacks.testing": (*ATTACKS, "fl_sim.training", "fl_sim.testing.promises"),
}
"""Room -> what of ours it may import; the longest name that fits a module holds for it."""

MAY_NOT: dict[str, Sequence[str]] = {
    "attacks": ("flwr", "ray"),
    "judges.scoring.image_metrics": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.scoring.assignment": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.gradient_inversion.report": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.figures": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.page": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.report": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.tables_accuracy": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.figures": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.findings": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.pictures": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.tables": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.report.model_inversion.wording": ("attacks", "flwr", "fl_sim.simulation"),
    "judges.classifiers": ("attacks",),
}
KNOW_FLOWER = ("fl_sim.federation", "fl_sim.simulation")
KNOW_THE_TRUTH = ("SealedBatch", "SealedStore")
PICKLES = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
UNPICKLE = ("torch.load", "torch.save", "torch.serialization", "torch.jit.load")


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything that is imported, wherever in the module; "." for a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(node: ast.AST) -> str:
    """Return "a.b.c" for an attribute of a name, else ""."""
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return node.id if isinstance(node, ast.Name) else ""


def words(tree: ast.AST) -> set[str]:
    """Return every name, attribute and imported name in a module, and every text as a whole (for `getattr`)."""
    found = {name.rpartition(".")[2] for name in imports(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def offences(module: str, source: str) -> list[str]:
    """Return what `source`, as the module of that name, imports or names against the rules."""
    tree = ast.parse(source)
    names = set(imports(tree))
    bad = {"a relative import"} if "." in names else set()
    room = max((room for room in MAY if within(module, room)), key=len, default=None)
    if room is not None:
        ours = {name for name in names if any(within(name, package) for package in PACKAGES)}
        bad |= {name for name in ours if not any(within(name, allowed) for allowed in MAY[room])}
    for place, forbidden in MAY_NOT.items():
        if within(module, place):
            bad |= {name for name in names for prefix in forbidden if within(name, prefix)}
    if within(module, "fl_sim") and not any(within(module, place) for place in KNOW_FLOWER):
        bad |= {name for name in names if within(name, "flwr")}
    if within(module, "attacks"):
        bad |= words(tree) & set(KNOW_THE_TRUTH)
    bad |= {name for name in names for prefix in (*PICKLES, *UNPICKLE) if within(name, prefix)}
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return sorted(bad | {name for name in used for prefix in UNPICKLE if within(name, prefix)})


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@pytest.mark.parametrize("module", modules())
def test_a_room_imports_what_it_may(module: str) -> None:
    assert offences(module, modules()[module].read_text(encoding="utf-8")) == []


def test_every_room_of_the_rules_is_there() -> None:
    """A rule about a module that was renamed would hold for nothing."""
    there = modules()
    for room in (*MAY, *MAY_NOT, *KNOW_FLOWER, *(name for names in MAY.values() for name in names)):
        assert any(within(module, room) for module in there), room


@pytest.mark.parametrize(
    ("module", "source", "caught"),
    [
        ("attacks.spy", "from fl_sim.captures import SealedStore", ["SealedStore", "fl_sim.captures.SealedStore"]),
        ("attacks.spy", "from fl_sim.records import SealedBatch as S", ["SealedBatch"]),
        ("attacks.spy", "from fl_sim import records\nrecords.SealedBatch", ["SealedBatch"]),
        ("attacks.spy", "from fl_sim import records\ngetattr(records, 'SealedBatch')", ["SealedBatch"]),
        ("attacks.spy", "def f():\n    from fl_sim import datasets", ["fl_sim.datasets"]),
        ("attacks.spy", "import fl_sim.simulation as s", ["fl_sim.simulation"]),
        ("attacks.spy", "from fl_sim.federation.interception import CuriousGrid", None),
        ("attacks.spy", "import flwr.app", ["flwr.app"]),
        ("attacks.spy", "import judges", ["judges"]),
        ("attacks.spy", "from . import dlg", None),
        ("fl_sim.models.new", "from attacks import ATTACKS", ["attacks.ATTACKS"]),
        ("fl_sim.models.new", "from fl_sim.captures import capture_id", ["fl_sim.captures.capture_id"]),
        ("fl_sim.new", "from judges.scoring.image_metrics import mse", ["judges.scoring.image_metrics.mse"]),
        ("fl_sim.training", "from flwr.app import Context", ["flwr.app.Context"]),
        ("fl_sim.captures", "import flwr", ["flwr"]),
        ("judges.report.gradient_inversion.report", "from attacks import ATTACKS", ["attacks.ATTACKS"]),
        ("judges.scoring.image_metrics", "import flwr", ["flwr"]),
        ("judges.report.model_inversion.pictures", "import attacks.contracts", ["attacks.contracts"]),
        ("judges.report.figures", "from fl_sim.simulation import run_federation", ["fl_sim.simulation.run_federation"]),
        ("judges.classifiers.cache", "import attacks.dlg", ["attacks.dlg"]),
        ("judges.bench.gradient_inversion", "import pickle", ["pickle"]),
        ("judges.bench.gradient_inversion", "from joblib import load", ["joblib.load"]),
        ("judges.bench.gradient_inversion", "import torch\nx = torch.load('x')", ["torch.load"]),
        ("fl_sim.federation.new", "from torch import save", ["torch.save"]),
    ],
)
def test_an_offence_is_caught(module: str, source: str, caught: list[str] | None) -> None:
    found = offences(module, source)
    assert found == caught if caught is not None else found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("attacks.new", "from fl_sim.records import CapturedUpdate\nfrom fl_sim import seeding"),
        ("fl_sim.federation.new", "from flwr.app import Context\nfrom fl_sim.captures import SealedStore"),
        ("fl_sim.records", "import safetensors.torch\nsafetensors.torch.save({})"),
        ("judges.bench.gradient_inversion", "import attacks, flwr\nfrom fl_sim.simulation import run_federation"),
        ("attacks.new", "'''Never sees a SealedBatch.'''"),
    ],
)
def test_what_is_allowed_is_not_caught(module: str, source: str) -> None:
    assert offences(module, source) == []


def loaded_by(module: str) -> set[str]:
    """Return the top-level packages that a fresh process has loaded after importing a module."""
    code = f"import {module}, json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("attacks", {"flwr", "ray", "torch"}),
        ("attacks.dlg", {"flwr", "ray", "judges"}),
        ("judges.plans.gradient_inversion", {"flwr", "ray", "torch"}),
        ("judges.cli", {"flwr", "ray", "torch"}),
    ],
)
def test_importing_does_not_load(module: str, absent: set[str]) -> None:
    loaded = loaded_by(module)
    assert module.split(".")[0] in loaded
    assert not loaded & absent
