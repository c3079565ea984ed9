"""The audit of a model's file on one page for a data-protection officer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from judges.report.rounds.threats import THREATS
from judges.report.statements import (
    NO_EVIDENCE,
    Account,
    Fact,
    Part,
    Statement,
    doubts,
    few,
    origin,
    title_of,
    write_statement,
)
from judges.report.weights.report import WORDS, answer, found_in
from judges.runs.manifest import PUBLIC, read_manifest, threats_of, untried_threats

_OF_UPDATES = next(iter(THREATS))


def write_weights_statement(run_dir: Path) -> Path:
    """Write statement.html and statement.md into the folder of an audit; return the path of the page.

    Raises:
        DataError: manifest.json, or a file of a threat's own run, is missing or corrupt.
    """
    from judges.kinds import KINDS  # here, since it loads plans, of which pages that share parts of this have no need

    manifest, found = read_manifest(run_dir), found_in(run_dir)
    accounts: dict[str, Account] = {
        threat: KINDS[threat].part("account")(run_dir / threat) for threat in threats_of(run_dir)
    }
    whole = answer(found)
    attacked = dict(whole.lines).get("Attacked", [])
    system = [Fact("Model", few(list(attacked))), Fact("File", _file(run_dir, manifest))]
    system.append(Fact("Trained on", str(manifest.get("members", ""))))
    public = manifest.get(PUBLIC)
    if isinstance(public, dict):
        told = f"{public.get('pictures')} pictures in '{public.get('path')}', for the judge and as others"
        system.append(Fact("Public pictures", told))
    system += list({fact.term: fact for one in accounts.values() for fact in one.system}.values())
    parts = [
        Part("The model that was attacked", [fact for fact in system if fact.text]),
        Part("The adversary", [Fact("Who", WORDS.threat_model)]),
        *(
            Part(
                f"{_title(threat)}: {one.attacks.title.lower()}",
                one.attacks.facts,
                one.attacks.table,
                one.attacks.note.replace("report.html", f"{threat}/report.html"),
            )
            for threat, one in found.items()
        ),
        Part("What was not tried, and what cannot be told", list(_limits(accounts, manifest)), note=NO_EVIDENCE),
        origin(run_dir, manifest),
    ]
    told = "Audit of a trained model alone, from its file; no update of a client was used."
    return write_statement(run_dir, Statement(title_of(run_dir, manifest), told, whole.headline, parts))


def _file(run_dir: Path, manifest: Mapping[str, Any]) -> str:
    digest = str(manifest.get("file_sha256", ""))
    return f"{title_of(run_dir, manifest)}, SHA-256 {digest}" if digest else title_of(run_dir, manifest)


def _limits(accounts: Mapping[str, Account], manifest: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what no attack of each threat tried or can tell, and the threats that were not attempted at all."""
    yield Fact(_title(_OF_UPDATES), "not tried: a model's file has no updates of clients")
    for threat, why in untried_threats(manifest).items():
        yield Fact(_title(threat), f"not attempted, since {why}")
    for threat, one in accounts.items():
        yield Fact(_title(threat), few([f"{fact.term.lower()}: {fact.text}" for fact in one.limits]))
    yield from doubts(manifest)


def _title(threat: str) -> str:
    name = THREATS[threat].name
    return name[0].upper() + name[1:]
