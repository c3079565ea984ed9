"""Who may import what: the order of the imports is the story of the threat model.

Default deny: a room has one line, and a file without a line fails. Imports inside functions count, and so do places
such as "attacks.dlg:DLG" that are imported when they are used.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fl_sim", "attacks", "judges")

RESTRICTED = (
    "flwr", "ray", "torch", "typer", "click", "pebble", "jinja2", "matplotlib", "tonic", "mlflow", "tensorboard",
    "torchvision", "spikingjelly", "datasets", "pytorch_metric_learning", "opacus",
)  # fmt: skip
"""Packages that only the rooms may import whose line names them; whatever else is installed is free."""


class Room(NamedTuple):
    """What the files of a room may import besides each other.

    Attributes:
        ours: modules of ours, each exactly; "name.*" is the module and all below it.
        outside: of the restricted packages.
    """

    ours: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


NOUNS = ("fl_sim.specs", "fl_sim.client_training", "fl_sim.errors", "fl_sim.files")
RECORDS = (*NOUNS, "fl_sim.records", "fl_sim.seeding")
BASICS = (*RECORDS, "fl_sim.plugins")
SEEN = (*BASICS, "fl_sim.observed", "fl_sim.models.*", "fl_sim.encoders", "fl_sim.losses", "fl_sim.client_steps",
        "fl_sim.normalisation", "fl_sim.tokens")  # fmt: skip
"""What an attack may know of the federation: nothing of its data, its clients or the truth."""

CONFIG = ("fl_sim.config.*", "fl_sim.validation")
TABLES = ("fl_sim.datasets", "fl_sim.datasets.table", "fl_sim.defences", "fl_sim.models")
DATA = ("fl_sim.datasets", "fl_sim.datasets.examples")
PUBLIC = ("fl_sim.datasets.reading.public",)
ATTACKS = ("attacks", "attacks.contracts", "attacks.settings")
MEMBERSHIPS = ("attacks.membership.answers", "attacks.membership.settings")
RUNS = ("judges.runs.*", "judges.intervals")
PLANS = ("judges.plans.*", "judges.kinds")

ROOMS: dict[str, Room] = {
    "fl_sim": Room(),
    "fl_sim.errors": Room(),
    "fl_sim.extras": Room(("fl_sim.errors",)),
    "fl_sim.seeding": Room((), ("torch",)),
    "fl_sim.files": Room(("fl_sim.errors",)),
    "fl_sim.specs": Room(("fl_sim.errors",)),
    "fl_sim.tokens": Room(("fl_sim.specs",), ("torch",)),
    "fl_sim.client_training": Room(("fl_sim.errors", "fl_sim.plugins", "fl_sim.specs")),
    "fl_sim.guarded_imports": Room(),
    "fl_sim.plugins": Room(("fl_sim.errors", "fl_sim.guarded_imports")),
    "fl_sim.validation": Room(("fl_sim.errors",)),
    "fl_sim.cache": Room(("fl_sim.files",)),
    "fl_sim.records": Room(NOUNS, ("torch",)),
    "fl_sim.normalisation": Room((), ("torch",)),
    "fl_sim.losses": Room((*NOUNS, "fl_sim.plugins"), ("torch",)),
    "fl_sim.client_steps": Room((*NOUNS, "fl_sim.losses"), ("torch",)),
    "fl_sim.observed": Room(RECORDS, ("torch",)),
    "fl_sim.accounts": Room(("fl_sim.specs",)),
    "fl_sim.contents": Room(("fl_sim.files", "fl_sim.specs", "fl_sim.defences.claims")),
    "fl_sim.captures": Room((*RECORDS, "fl_sim.accounts"), ("torch",)),
    "fl_sim.sealed_forms": Room((*RECORDS, "fl_sim.tokens"), ("torch",)),
    "fl_sim.global_models": Room(("fl_sim.captures", "fl_sim.errors")),
    "fl_sim.encoders": Room(RECORDS, ("torch",)),
    "fl_sim.models": Room((*BASICS, "fl_sim.encoders", "fl_sim.foreign_weights"), ("torch", "spikingjelly")),
    "fl_sim.defences": Room(
        (*NOUNS, "fl_sim.defences.flower.*", "fl_sim.normalisation", "fl_sim.plugins", "fl_sim.validation"),
        ("torch", "opacus"),
    ),
    "fl_sim.defences.flower": Room(
        (*NOUNS, "fl_sim.defences.accounting", "fl_sim.defences.claims", "fl_sim.plugins"), ("flwr",)
    ),
    "fl_sim.datasets": Room((*BASICS, "fl_sim.extras", "fl_sim.cache"), ("torch", "torchvision", "tonic", "datasets")),
    "fl_sim.config": Room((*NOUNS, *TABLES, "fl_sim.datasets.examples", "fl_sim.validation")),
    "fl_sim.training": Room((*RECORDS, "fl_sim.encoders", "fl_sim.models.*", "fl_sim.tokens"), ("torch",)),
    "fl_sim.foreign_weights": Room((*RECORDS, *DATA, "fl_sim.models", "fl_sim.training"), ("torch",)),
    "fl_sim.checkpoints": Room((*RECORDS, "fl_sim.cache"), ("torch",)),
    "fl_sim.epochs": Room(("fl_sim.checkpoints", *DATA), ("torch",)),
    "fl_sim.central": Room(
        (*RECORDS, *DATA, "fl_sim.cache", "fl_sim.checkpoints", "fl_sim.config.training", "fl_sim.encoders",
         "fl_sim.epochs", "fl_sim.models.*"),
        ("torch",),
    ),
    "fl_sim.simulation": Room(
        (*BASICS, "fl_sim.datasets.examples", "fl_sim.extras", *CONFIG, "fl_sim.defences", "fl_sim.federation.*",
         "fl_sim.models"),
        ("flwr", "torch"),
    ),
    "fl_sim.federation": Room(
        (*BASICS, *CONFIG, *DATA, "fl_sim.accounts", "fl_sim.captures", "fl_sim.client_steps", "fl_sim.contents",
         "fl_sim.datasets.*", "fl_sim.defences.*",
         "fl_sim.encoders", "fl_sim.foreign_weights", "fl_sim.global_models", "fl_sim.losses",
         "fl_sim.models.*", "fl_sim.normalisation", "fl_sim.sealed_forms", "fl_sim.training"),
        ("flwr", "ray", "torch"),
    ),
    "fl_sim.testing": Room(
        (*BASICS, *DATA, "fl_sim.datasets.*", "fl_sim.defences.*", "fl_sim.models.*", "fl_sim.training"), ("torch",)
    ),
    "attacks": Room(SEEN, ("torch", "spikingjelly")),
    "attacks.testing": Room((*SEEN, "attacks.*", "fl_sim.testing.promises", "fl_sim.training"), ("torch",)),
    "judges": Room(),
    "judges.public.spikeleak": Room(
        ("attacks", "attacks.idlg", "attacks.matching", "attacks.settings", "attacks.testing", "fl_sim.captures",
         "fl_sim.datasets", "fl_sim.datasets.entry", "fl_sim.defences", "fl_sim.federation.interception",
         "fl_sim.federation.ordering", "fl_sim.federation.sealing", "fl_sim.models", "fl_sim.models.spiking_lenet",
         "fl_sim.records", "fl_sim.specs", "fl_sim.testing", "fl_sim.training", "judges.cli", "judges.live",
         "judges.notebook.calls", "judges.notebook.inversions"),
    ),
    "judges.notebook": Room(
        (*ATTACKS, "attacks.answers", "attacks.preflight.inputs", "attacks.thresholding", *BASICS, *CONFIG,
         "fl_sim.captures", "fl_sim.client_steps", "fl_sim.defences", "fl_sim.losses", "fl_sim.models",
         "fl_sim.observed", *PLANS, *RUNS, "judges.bench.*", "judges.figures.*", "judges.fitted", "judges.progress",
         "judges.report.figures", "judges.report.words", "judges.scoring.assignment", "judges.scoring.audit.client",
         "judges.scoring.class_metrics", "judges.scoring.image_metrics"),
        ("matplotlib", "torch"),
    ),
    "judges.auxiliary": Room(
        (*ATTACKS, *RECORDS, *DATA, *PUBLIC, "fl_sim.config", "fl_sim.datasets.channels",
         "judges.plans.gradient_inversion"),
        ("torch",),
    ),
    "judges.live": Room(("judges.bench.live",)),
    "judges.cli": Room(
        ("attacks", "attacks.contracts", "attacks.preflight.*", *NOUNS, "fl_sim.plugins", *CONFIG, *TABLES,
         "fl_sim.central", "fl_sim.extras", "fl_sim.records",
         *PLANS, *RUNS, "judges.bench.*", "judges.board.*", "judges.classifiers.*", "judges.export.*",
         "judges.figures.files", "judges.fitted", "judges.progress", "judges.report.*",
         "judges.scoring.audit.checks", "judges.scoring.class_metrics"),
        ("typer", "click", "torch"),
    ),
    "judges.bench": Room(
        (*ATTACKS, *MEMBERSHIPS, "attacks.answers", "attacks.budgets", "attacks.engines.choice", "attacks.posterior",
         "attacks.preflight", "attacks.preflight.evaluation", "attacks.preflight.self_check",
         "attacks.preflight.stand_in", "attacks.thresholding", *BASICS, *CONFIG, *TABLES, *DATA, *PUBLIC,
         "fl_sim.accounts", "fl_sim.cache", "fl_sim.captures", "fl_sim.central", "fl_sim.contents", "fl_sim.extras",
         "fl_sim.foreign_weights", "fl_sim.global_models", "fl_sim.observed", "fl_sim.simulation", "fl_sim.training",
         *PLANS, *RUNS,
         "judges.auxiliary", "judges.classifiers.*", "judges.progress", "judges.scoring.*", "judges.summaries.*"),
        ("ray", "pebble", "torch"),
    ),
    "judges.board": Room(
        ("attacks", *NOUNS, *CONFIG, *PLANS, *RUNS, "judges.export.cells", "judges.report.*", "judges.scoring.victims",
         "judges.summaries.*"),
    ),
    "judges.export": Room(
        ("attacks", *NOUNS, *CONFIG, *PLANS, *RUNS, "judges.report.*", "judges.summaries.*"),
        ("mlflow", "tensorboard", "torch"),
    ),
    "judges.report": Room(
        (*NOUNS, "fl_sim.config.federation", "fl_sim.records", *RUNS, "judges.figures.*", "judges.fitted",
         "judges.kinds", "judges.summaries.*"),
        ("jinja2", "matplotlib", "torch"),
    ),
    "judges.figures": Room(("fl_sim.files",), ("matplotlib", "torch")),
    "judges.summaries": Room(
        (*NOUNS, "fl_sim.defences", "fl_sim.defences.claims", "fl_sim.records", *RUNS, "judges.scoring.class_metrics")
    ),
    "judges.scoring": Room(
        (*ATTACKS, "attacks.engines.plain", "attacks.engines.truth", "attacks.posterior",
         "attacks.preflight.stand_in", "attacks.reading.reads", *RECORDS, *DATA, *PUBLIC, "fl_sim.captures",
         "fl_sim.config", "fl_sim.config.federation", "fl_sim.datasets.partition", "fl_sim.defences",
         "fl_sim.defences.claims", "fl_sim.global_models", "fl_sim.models", "fl_sim.models.spiking_lenet",
         "fl_sim.normalisation", "fl_sim.observed", "fl_sim.sealed_forms", "fl_sim.tokens", "fl_sim.training", *RUNS,
         "judges.classifiers.*", "judges.progress"),
        ("torch",),
    ),
    "judges.kinds": Room(("fl_sim.errors", "fl_sim.plugins", *CONFIG, "judges.plans.reading")),
    "judges.plans": Room(
        ("attacks", "attacks.membership.settings", "attacks.settings", *NOUNS, "fl_sim.plugins", *CONFIG, *TABLES,
         "judges.classifiers.settings", "judges.classifiers.table", *RUNS),
    ),
    "judges.runs": Room(
        ("fl_sim.config", "fl_sim.contents", "fl_sim.defences", "fl_sim.defences.claims", *NOUNS, "fl_sim.records",
         "judges.intervals"),
        ("torch",),
    ),
    "judges.classifiers": Room(
        (*BASICS, *DATA, "fl_sim.cache", "fl_sim.central", "fl_sim.checkpoints", "fl_sim.datasets.table",
         "fl_sim.encoders", "fl_sim.epochs", "fl_sim.extras", "fl_sim.models.*"),
        ("torch", "torchvision", "spikingjelly", "datasets", "pytorch_metric_learning"),
    ),
    "judges.progress": Room(),
    "judges.fitted": Room(),
    "judges.intervals": Room(("fl_sim.seeding",)),
}  # fmt: skip
"""Room -> what it may import; the line of the longest name holds for a module."""

FLOORS = (
    "public", "live", "cli", "notebook", "bench", "auxiliary", "board", "export", "report", "summaries", "scoring",
    "kinds", "plans", "runs", "classifiers", "figures", "progress", "fitted", "intervals",
)  # fmt: skip
"""The rooms of judges/ from the top floor down: imports between them run downwards only."""

BY_NAME = ("judges.kinds",)
"""Whose places name rooms above: what carries out a kind of experiment is imported when it is used."""

MOST_FILES = 14
KNOW_THE_TRUTH = ("SealedBatch", "SealedStore")
OPENS_THE_SEAL = "judges.scoring"
PLACE = re.compile(r"(?:fl_sim|attacks|judges)(?:\.\w+)*(?::\w+)?")
PICKLES = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
UNPICKLE = ("torch.load", "torch.save", "torch.serialization", "torch.jit.load")
READS_WEIGHTS = "fl_sim.foreign_weights"
"""The only module that may call torch.load, with weights_only=True: then nothing but tensors is unpickled."""


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


def loads_of_weights(tree: ast.AST) -> set[ast.expr]:
    """Return the functions of the calls torch.load(..., weights_only=True)."""
    return {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and dotted(node.func) == "torch.load"
        and any(
            word.arg == "weights_only" and isinstance(word.value, ast.Constant) and word.value.value is True
            for word in node.keywords
        )
    }


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def module_of(name: str) -> str:
    """Return the module that an imported name is, or is of: "attacks.dlg" of "attacks.dlg.DLG"."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def places(tree: ast.AST) -> Iterator[str]:
    """Yield the names that texts such as "attacks.dlg:DLG" stand for, where they are those of modules."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if PLACE.fullmatch(text) and (":" in text or ("." in text and text in MODULES)):
            yield text.replace(":", ".")


def line_of(module: str) -> str | None:
    """Return the room whose line holds for a module. A package's own line is for its files, not for rooms in it."""
    rooms = [room for room in ROOMS if within(module, room)]
    room = max(rooms, key=len, default=None)
    if room in ("fl_sim", "judges") and module != room:
        return None
    return room


def is_allowed(target: str, room: str) -> bool:
    """Return whether the line of a room, or the room itself, covers a module of ours."""
    if line_of(target) == room:
        return True
    return any(
        within(target, name.removesuffix(".*")) if name.endswith(".*") else target == name for name in ROOMS[room].ours
    )


def offences(module: str, source: str) -> list[str]:
    """Return what `source`, as the module of that name, imports or names against the rules."""
    tree, room = ast.parse(source), line_of(module)
    if room is None:
        return ["no line"]
    names = set(imports(tree))
    bad = {"a relative import"} if "." in names else set()
    named = names if module in BY_NAME else names | set(places(tree))
    ours = {name for name in named if any(within(name, package) for package in PACKAGES)}
    bad |= {name for name in ours if not is_allowed(module_of(name), room)}
    bad |= {
        name for name in names for package in RESTRICTED if within(name, package) and package not in ROOMS[room].outside
    }
    if within(module, "attacks") or (within(module, "judges") and not within(module, OPENS_THE_SEAL)):
        bad |= words(tree) & set(KNOW_THE_TRUTH)
    bad |= {name for name in names for prefix in (*PICKLES, *UNPICKLE) if within(name, prefix)}
    safe = loads_of_weights(tree) if module == READS_WEIGHTS else set()
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node not in safe}
    return sorted(bad | {name for name in used for prefix in UNPICKLE if within(name, prefix)})


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_what_it_may(module: str) -> None:
    assert offences(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_every_line_is_of_a_room_that_is_there() -> None:
    """A line about a module that was renamed would hold for nothing."""
    for room, line in ROOMS.items():
        assert room in MODULES, room
        for name in line.ours:
            assert name.removesuffix(".*") in MODULES, f"{room}: {name}"


FORBIDDEN = {
    "at the top": "import attacks.dlg\n",
    "in a function, with the seal": (
        "def _spy():\n    from attacks.dlg import DLG\n    from fl_sim.captures import SealedStore\n"
    ),
    "by its place": "_PLACE = 'attacks.dlg:DLG'\n",
}


@pytest.mark.parametrize("planted", FORBIDDEN)
@pytest.mark.parametrize("module", [name for name in MODULES if within(name, "judges")])
def test_a_forbidden_import_is_found_in_every_file_of_judges(module: str, planted: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    if module in BY_NAME and planted == "by its place":
        pytest.skip("its places are checked below")
    assert "attacks.dlg" in " ".join(offences(module, f"{source}\n\n{FORBIDDEN[planted]}"))


def test_a_new_file_without_a_line_is_found() -> None:
    assert offences("judges.new_room.spy", "import math") == ["no line"]
    assert offences("fl_sim.new", "import math") == ["no line"]


# The floors of judges/


def room_of(module: str) -> str:
    """Return the room of judges/ that a module is in; "" of the package itself."""
    return module.removeprefix("judges").removeprefix(".").partition(".")[0]


def graph() -> dict[str, set[str]]:
    """Return {room: the rooms that its files import} as the code has it."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        if not within(module, "judges"):
            continue
        targets = {module_of(name) for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        found[room_of(module)] |= {room_of(name) for name in targets if within(name, "judges")} - {room_of(module), ""}
    found.pop("", None)
    return found


def test_imports_between_rooms_run_downwards_only() -> None:
    floor = {room: number for number, room in enumerate(FLOORS)}
    assert set(graph()) <= floor.keys()
    upwards = [(room, other) for room, others in graph().items() for other in others if floor[other] <= floor[room]]
    assert upwards == []


def test_the_reports_of_two_kinds_do_not_import_each_other() -> None:
    kinds = ("judges.report.gradient_inversion", "judges.report.membership", "judges.report.model_inversion")
    together = "judges.report.weights"  # the page of a model's file, made of those of two kinds
    for module, path in MODULES.items():
        names = set(imports(ast.parse(path.read_text(encoding="utf-8"))))
        assert within(module, together) or not {name for name in names if within(name, together)}, module
        if within(module, "judges.report") and not any(within(module, kind) for kind in (*kinds, together)):
            assert not {name for name in names for kind in kinds if within(name, kind)}, module
        for ours, other in itertools.permutations(kinds, 2):
            assert not (within(module, ours) and any(within(name, other) for name in names)), module


def test_no_room_is_larger_than_a_room() -> None:
    for folder in {path.parent for module, path in MODULES.items() if within(module, "judges")}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder


def test_every_kind_of_experiment_names_what_is_there() -> None:
    from judges.kinds import KINDS

    for kind in KINDS.values():
        for part in ("plan", "bench", "report", "statement", "results", "verdicts", "cells"):
            assert callable(kind.part(part))


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
        (
            "attacks.membership.lira",
            "from fl_sim.captures import SealedStore",
            ["SealedStore", "fl_sim.captures.SealedStore"],
        ),
        (
            "attacks.membership.lira",
            "from judges.scoring.membership.asked import Asked",
            ["judges.scoring.membership.asked.Asked"],
        ),
        ("attacks.spy", "from . import dlg", None),
        ("fl_sim.models.new", "from attacks import ATTACKS", ["attacks.ATTACKS"]),
        ("fl_sim.models.new", "from fl_sim.captures import capture_id", ["fl_sim.captures.capture_id"]),
        ("fl_sim.files", "from judges.scoring.image_metrics import mse", ["judges.scoring.image_metrics.mse"]),
        ("judges.report.page", "from judges.bench.jobs import perform", ["judges.bench.jobs.perform"]),
        ("judges.runs.rows", "def f():\n    from judges.plans import base", ["judges.plans.base"]),
        ("judges.bench.audit", "x = 'SealedStore'", ["SealedStore"]),
        ("judges.summaries.verdicts", "import torch", ["torch"]),
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
        ("fl_sim.federation.new", "import torch\ntorch.load('x', weights_only=True)", ["torch.load"]),
        ("fl_sim.foreign_weights", "import torch\ntorch.load('x')", ["torch.load"]),
        ("fl_sim.foreign_weights", "import torch\ntorch.load('x', weights_only=False)", ["torch.load"]),
        ("fl_sim.foreign_weights", "import torch\nf = torch.load\ntorch.load('x', weights_only=True)", ["torch.load"]),
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
        ("judges.bench.gradient_inversion", "import attacks\nfrom fl_sim.simulation import run_federation"),
        ("fl_sim.foreign_weights", "import torch\ntorch.load('x', weights_only=True)"),
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
        ("attacks.membership.lira", {"flwr", "ray", "judges"}),
        ("judges.plans.gradient_inversion", {"flwr", "ray", "torch"}),
        ("judges.cli", {"flwr", "ray", "torch"}),
    ],
)
def test_importing_does_not_load(module: str, absent: set[str]) -> None:
    loaded = loaded_by(module)
    assert module.split(".")[0] in loaded
    assert not loaded & absent
