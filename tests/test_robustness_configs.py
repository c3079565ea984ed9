"""Mutated configs: each is refused at once, by the key's path, before torch is loaded."""

from __future__ import annotations

import copy
import json
import random
import re
import string
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

CONFIGS = Path(__file__).parents[1] / "configs"
COMMAND = Path(sys.executable).with_name("spikeleak")
SEED, LIMIT = 20, 2.0
TYPOS = 60
IMPOSSIBLE: dict[str, list[Any]] = {
    "seed": ["zero", 1.5, True, [0, "one"], {"a": 1}],
    "name": ["", "../up", "a/b", "a\0b", "x" * 300, ".", 3, ["a", "b"]],
    "repeats": [0, -1, 10_001, "two", [1, 2], True],
    "threads": [0, "all", [1, 2]],
    "device": ["gpu", ["cpu", "cuda"]],
    "class_distances": [-1, [10, 20], "all"],
    "checks": [-1, [1, 2], "all"],
    "dataset.split": ["validation", 3, []],
    "dataset.size": [6, -1, 2048, [7, 8], "big"],
    "dataset.alpha": [0.0, -1.0, float("nan"), float("inf"), "much"],
    "dataset.root": [3, ["a", "b"]],
    "model.init": ["ones", [["torch"]], 1],
    "model.timesteps": [0, 2.5, "ten", [5, "ten"]],
    "model.threshold": [0.0, float("inf"), "high"],
    "model.surrogate": ["rect", "step", 2],
    "federation.clients": [0, -2, "two", 1.0],
    "federation.fraction": [0.0, 1.5, float("nan")],
    "federation.learning_rate": [0.0, "fast", {"a": 1}],
    "federation.local_steps": [2, 0],
    "federation.keep_every": [-1, [1, 2]],
    "strategy": ["FedAvgg", 3, [["FedAvg"]]],
    "defence": ["clpi", 3, [["clip"]], ["none", "sing"]],
    "defence.bits": [4, [4, 8], 0, "four"],
    "attack.guess": ["zeros", ["normal", "zeros"], 1],
    "attack.iterations": [-1, "many", [[1]]],
    "attack.tau": [-0.5, "half", [0.5, []]],
    "attack.label_rule": ["signs", 0],
    "attack": ["idgl", ["dlg", ["idlg"]], 1],
    "judge": ["lennet", 7, ["lenet", "none"]],
    "judge.width": [0, 2000, [8, 64]],
    "scale": [["smoke"], "smokey", 4],
}
TARGETS: dict[str, list[Any]] = {
    "task": ["inversion", ["model_inversion"], 1],
    "attack_repeats": [0, [1, 2], "all"],
    "draws": [0, -1, 1e6, [1, 2]],
    "target": ["centre", ["central", "federation"]],
    "training.epochs": [0, "all", [[1]]],
    "training.preset": [3],
    "judge.seed": [-1, [0, 1]],
    "dataset.name": ["mnits", [{"a": 1}], [["mnist"]], ["mnist", ["digits"]]],
    "attack.name": ["mi_fce", [["mi_face"]], [{"name": "mi_face"}], ["mi_face", ["brainleaks_v1"]]],
    "model.name": [[["mlp"]], [{"name": "mlp"}]],
}


NAMES: dict[str, list[str]] = {
    "dataset.name": ["mnist", "cifar100", "dvs_gesture"],
    "dataset.partitioner": ["dirichlet"],
    "model.name": ["spiking_lenet", "mlp"],
    "model.surrogate": ["fast_sigmoid", "atan"],
    "model.encoder": ["latency"],
    "strategy.name": ["FedAdam", "MultiKrum"],
    "defence.name": ["quantise", "noise"],
    "attack.name": ["grnn", "idlg"],
    "attack.guess": ["normal", "spikes"],
    "attack.thresholding": ["straight_through"],
    "judge.name": ["resnet50_arcface"],
}


@dataclass(frozen=True)
class Mutation:
    """A config that must be refused.

    Attributes:
        what: was done to it.
        text: of the file.
        said: what the error must name.
        typo, meant: the misspelt name and what it was, or two empty texts.
        scale: to be chosen on the command line; "" for none.
    """

    what: str
    text: str
    said: str
    typo: str = ""
    meant: str = ""
    scale: str = "smoke"


def slips(first: str, second: str) -> int:
    """Return the number of letters to insert, leave out or replace (Levenshtein's distance)."""
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        row, before = [i], row
        for j, other in enumerate(second, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other)))
    return row[-1]


def misspelt(name: str, draw: random.Random) -> str:
    """Return the name with one or two letters inserted, left out, replaced or swapped."""
    while True:
        text = list(name)
        for _ in range(draw.choice([1, 1, 2])):
            at, letter = draw.randrange(len(text)), draw.choice(string.ascii_lowercase)
            if (kind := draw.choice(["insert", "leave out", "replace", "swap"])) == "insert":
                text.insert(at, letter)
            elif kind == "replace":
                text[at] = letter
            elif kind == "swap" and at:
                text[at - 1 : at + 1] = text[at], text[at - 1]
            elif kind == "leave out" and len(text) > 2:
                del text[at]
        told = "".join(text)
        if 0 < slips(told, name) <= 2 and re.fullmatch("[a-z_][a-z0-9_]*", told):
            return told


def known_keys() -> set[str]:
    """Return every key of any table, and every name in one: a typo that hits another of them proves nothing."""
    from attacks import ATTACKS, MODEL_INVERSIONS
    from fl_sim.config.training import TrainingSettings
    from fl_sim.defences import DEFENCES
    from judges.plans.gradient_inversion import ExperimentConfig
    from judges.plans.model_inversion import InversionConfig

    kinds: list[Any] = [ExperimentConfig, InversionConfig, TrainingSettings]
    kinds += [entry.settings for entry in ATTACKS.values()] + [entry.settings for entry in MODEL_INVERSIONS.values()]
    kinds += [entry.settings for entry in DEFENCES.values()]
    keys = {key for kind in kinds for key in kind.model_fields}
    for kind in kinds[:2]:
        for field in kind.model_fields.values():
            keys |= set(getattr(field.annotation, "model_fields", {}))
    return keys


def typo_in_a_key(draw: random.Random) -> Mutation:
    """Misspell a key or a table of a shipped config, at its place or in the chosen scale."""
    path = draw.choice(sorted(CONFIGS.glob("*.toml")))
    raw = tomllib.loads(path.read_text("utf-8"))
    scale = "smoke" if "scales" in raw else ""
    tables = [(raw, "")] + [(value, key) for key, value in raw.items() if isinstance(value, dict) and key != "scales"]
    if scale:
        own = raw["scales"]["smoke"]
        tables += [(value, key) for key, value in own.items() if isinstance(value, dict)]
    table, place = draw.choice(tables)
    key = draw.choice([key for key in table if key not in ("task", "scales")])
    typo = misspelt(key, draw)
    if typo in known_keys():
        return typo_in_a_key(draw)
    table[typo] = table.pop(key)
    return Mutation(
        f"{path.name}: {place}.{key} -> {typo}", tomli_w.dumps(raw), f"{place}.{typo}".lstrip("."), typo, key, scale
    )


def typo_in_a_name(path: str, name: str, draw: random.Random) -> Mutation:
    """Misspell the value of a key that takes one of a few."""
    typo = misspelt(name.lower(), draw)
    mutation = wrong_value(path, typo, "demo.toml")
    return Mutation(f"{path} = {typo}", mutation.text, path, typo, name, scale="")


def set_path(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set a key in a config, and in none of its scales."""
    table, _, key = path.rpartition(".")
    for own in [raw, *raw.get("scales", {}).values()]:
        held = own.get(table, {}) if table else own
        if isinstance(held, dict):
            held.pop(key, None)
    held = raw.setdefault(table, {}) if table else raw
    if not isinstance(held, dict):
        held = raw[table] = {"name": held}
    held[key] = value


def wrong_value(path: str, value: Any, file: str) -> Mutation:
    raw = copy.deepcopy(tomllib.loads((CONFIGS / file).read_text("utf-8")))
    set_path(raw, path, value)
    scale = "smoke" if "scales" in raw and path != "scale" else ""
    return Mutation(f"{file}: {path} = {value!r}"[:80], tomli_w.dumps(raw), path, scale=scale)


def other_mutations() -> list[Mutation]:
    demo = (CONFIGS / "demo.toml").read_text("utf-8")
    values = [
        wrong_value(path, value, "table5.toml" if path in ("judge.width", "scale") else "demo.toml")
        for path, some in IMPOSSIBLE.items()
        for value in some
    ]
    values += [wrong_value(path, value, "brainleaks.toml") for path, some in TARGETS.items() for value in some]
    tables = [
        Mutation("unknown table", f"{demo}\n[server]\nrounds = 1\n", "server", scale=""),
        Mutation("table in a table", f"{demo}\n[dataset.more]\na = 1\n", "dataset.more", scale=""),
        Mutation("list of tables", 'name = "x"\n[[dataset]]\nname = "digits"\n', "dataset", scale=""),
        Mutation("list of attacks", 'name = "x"\n[[attack]]\nname = "dlg"\n', "attack", scale=""),
        Mutation("quoted path", f'"federation.rounds" = 2\n{demo}', "federation.rounds", scale=""),
        Mutation("plain table and path", 'federation = 3\n"federation.rounds" = 2\n', "federation", scale=""),
        Mutation("scales are no tables", f"scales = 3\n{demo}", "scales", scale=""),
        Mutation("unknown strategy key", 'strategy = {name = "FedProx", proximal_nu = 1.0}', "strategy.proximal_nu",
                 "proximal_nu", "proximal_mu", scale=""),
        Mutation("unknown defence key", 'defence = {name = ["none", "noise"], noise_multiplie = 1.0}',
                 "defence.noise_multiplie", "noise_multiplie", "noise_multiplier", scale=""),
        Mutation("wrong defence value", 'defence = {name = "prune", prune_ratio = 2.0}', "defence.prune_ratio",
                 scale=""),
        Mutation("defence of a central target", 'task = "model_inversion"\ndefence = "clip"', "defence: is not read",
                 scale=""),
        Mutation("unknown preset", 'task = "model_inversion"\ntraining.preset = "mnist_an"', "training: preset",
                 "mnist_an", "mnist_ann", scale=""),
        Mutation("wrong strategy value", 'strategy = {name = "FedProx", proximal_mu = "a"}', "strategy.proximal_mu",
                 scale=""),
    ]  # fmt: skip
    broken = [
        demo[:-30] + "\n[", demo.replace("]", "", 1), demo.replace('"', "", 1), demo + "\n[again]\nname = 1\nname = 2",
        "= 3", "a = b", "name = 'x", "[dataset]\n[dataset]\n", "seed = 01", "x = " + "[" * 5000, "\0",
        "a.b = 1\na = 2",
    ]  # fmt: skip
    texts = [Mutation(f"broken TOML {number}", text, "config.toml", scale="") for number, text in enumerate(broken)]
    return [*values, *tables, *texts]


def mutations() -> list[Mutation]:
    draw = random.Random(SEED)  # noqa: S311 - a seeded draw of test cases
    keys = [typo_in_a_key(draw) for _ in range(TYPOS)]
    names = [typo_in_a_name(path, name, draw) for path, some in NAMES.items() for name in some for _ in range(2)]
    return keys + names + other_mutations()


# Runs in a process of its own, in which torch cannot be imported.
WORKER = """
import contextlib, io, json, os, sys, time, traceback
sys.modules["torch"] = None
from judges.cli import main
done = []
for arguments in json.load(sys.stdin):
    sys.argv = ["spikeleak", *arguments]
    err, code, started = io.StringIO(), None, time.process_time()
    with contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
    done.append({"code": code, "err": err.getvalue(), "seconds": time.process_time() - started})
print(json.dumps(done))
"""


def complaint(mutation: Mutation, code: object, err: str) -> str:
    """Return what is wrong with the answer to a mutation; "" where it is as it should be."""
    if code != 2 or not err.startswith("spikeleak: ") or err.count("\n") != 1 or "Traceback" in err:
        return f"{mutation.what}: code {code}: {err}"
    if mutation.said not in err:
        return f"{mutation.what}: does not name {mutation.said}: {err}"
    found = re.search("Did you mean '([^']*)'", err)
    if mutation.typo and not (found and slips(found[1], mutation.typo) <= slips(mutation.meant, mutation.typo)):
        return f"{mutation.what}: expected '{mutation.meant}' or as near: {err}"
    return ""


@pytest.mark.endurance
def test_every_mutated_config_is_refused_without_torch(tmp_path: Path) -> None:
    cases, calls = mutations(), []
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.toml").write_text(case.text, encoding="utf-8")
        calls.append(["run", str(folder / "config.toml"), *(["--set", f"scale={case.scale}"] if case.scale else [])])
    answer = subprocess.run(
        [sys.executable, "-c", WORKER], input=json.dumps(calls), capture_output=True, text=True, check=True,
        cwd=tmp_path, timeout=300,
    )  # fmt: skip
    done = json.loads(answer.stdout)
    wrong = [text for case, one in zip(cases, done, strict=True) if (text := complaint(case, one["code"], one["err"]))]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)
    assert max(one["seconds"] for one in done) < LIMIT
    assert not (tmp_path / "runs").exists()
