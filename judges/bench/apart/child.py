"""The process of an attack that is kept apart: `python -m judges.bench.apart.child` in the folder that was laid out."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from fl_sim.files import atomic_write
from judges.bench.apart.landlock import forbid

# What loads torch, or a plugin, is imported after the restriction.


def main() -> None:
    """Attack, and write the answers and how it ended."""
    job = json.loads(Path("job.json").read_text(encoding="utf-8"))
    forbid([Path(name) for name in job["hidden"]], writable=[Path.cwd(), Path("/dev")])
    threading.Thread(target=_end_with_caller, name="end with caller", daemon=True).start()
    kind, told = _attack(job)
    atomic_write(Path("outcome.json"), json.dumps({"kind": kind, "told": told}))


def _end_with_caller() -> None:
    """End this process, in the middle of whatever it does, when the one that called it has ended: nobody else writes.

    The caller holds the other end of our standard input and writes nothing there. If it was killed, it could not remove
    the folder with the captures; what can be removed from here is all but the folder itself.
    """
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(Path.cwd(), ignore_errors=True)
    os._exit(1)


def _attack(job: dict[str, Any]) -> tuple[str, str]:
    """Attack the captures; return the kind of failure, "attack" or "memory" or "", and what is to be told of it."""
    from attacks import build_attack
    from attacks.answers import Call, answers_of
    from attacks.contracts import Auxiliary, UsesAuxiliary
    from fl_sim.captures import CaptureStore
    from fl_sim.errors import SpikeleakError, lack_of_memory
    from fl_sim.records import load_record, save_record
    from judges.bench.apart.calls import ANSWERS, AUXILIARY
    from judges.bench.process import prepare_process

    prepare_process(job["threads"])
    try:
        for name in job["imports"]:
            importlib.import_module(name)
        call, store = Call(**job["call"]), CaptureStore(Path("captures"))
        attack = build_attack(call.name, call.settings)
        if Path(AUXILIARY).is_file() and isinstance(attack, UsesAuxiliary):
            attack = attack.informed(load_record(Auxiliary, Path(AUXILIARY)))
        for number, answer in enumerate(answers_of(attack, [store.load(name) for name in job["captures"]], call)):
            save_record(answer, Path(ANSWERS) / f"{number}.safetensors")
    except (MemoryError, RuntimeError, OSError, SpikeleakError) as error:
        reason = "" if isinstance(error, SpikeleakError) else lack_of_memory(error)
        return ("memory", reason) if reason else ("attack", str(error))
    return "", ""


if __name__ == "__main__":
    main()
