from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from fl_sim.defences import DEFENCES, DefenceEntry
from fl_sim.specs import Settings
from tests.judges.cli.conftest import Call

FILE = Path(__file__).parents[3] / "configs" / "REFERENCE.md"


class OddSettings(Settings):
    """Settings of nobody.

    Attributes:
        oddity: how odd it is.
    """

    oddity: int = Field(default=3, ge=1)


@pytest.fixture
def call(spikeleak: Call) -> Call:
    """Return a function that runs `spikeleak config reference` and returns its exit code, output and errors."""
    return functools.partial(spikeleak, "config", "reference")


def test_it_prints_what_the_file_holds(call: Call) -> None:
    assert call() == (0, FILE.read_text(encoding="utf-8"), "")


def test_one_key_is_printed_with_all_that_it_means(call: Call) -> None:
    code, out, err = call("federation.rounds")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "`federation.rounds`: number of server rounds.",
        "",
        "* values: integer >= 1",
        "* default: `1`",
        "* read by: gradients, models, members, `flwr run`",
        "* a list is an axis: yes",
    ]
    assert call("attack.precision")[1].count("`attack.precision`: ") == 3
    assert call("dataset")[1].startswith("`dataset.name`: ")


def test_an_unknown_key_names_the_nearest(call: Call) -> None:
    code, out, err = call("federation.ruonds")
    assert (code, out) == (2, "")
    assert "'federation.ruonds' is not known. Did you mean 'federation.rounds'? Known in 'federation': " in err
    assert "attack." not in err  # hundreds of keys help nobody
    assert "There are " in call("fedration")[2]


def test_other_entries_are_told_where_asked_for(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFENCES, "odd", DefenceEntry("nowhere:odd", OddSettings, summary="odd"))
    assert call() == (0, FILE.read_text(encoding="utf-8"), "")
    assert call("defence.oddity")[0] == 2
    code, out, _ = call("defence.oddity", "--plugins")
    assert code == 0
    assert out.startswith("`defence.oddity`: how odd it is.\n\n* values: integer >= 1\n* default: `3`\n* of: odd\n")
    assert '"odd"' in call("defence.name", "--plugins")[1]


def test_it_loads_neither_torch_nor_flower() -> None:
    code = (
        "import sys, json; sys.argv = ['spikeleak', 'config', 'reference', 'seed']\n"
        "from judges.cli import main\n"
        "try:\n    main()\nfinally:\n    print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "judges" in loaded
    assert not loaded & {"torch", "flwr", "ray"}
