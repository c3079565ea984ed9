"""The statement of a run: one page of A4 for a data-protection officer, of what the run's own files say.

What stands on it is gathered by the room of each kind of experiment; here are its form and what all kinds share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fl_sim.files import sha256
from judges.report.formats import joined
from judges.report.statements.sheet import write_sheet
from judges.report.table import Table
from judges.runs.integrity import STATEMENT
from judges.runs.manifest import NO_CHECKOUT, WARNINGS, failed_cells, plain_text

NO_EVIDENCE = (
    "An attack that found nothing shows only that this attack, with this budget and what its adversary knows, found "
    "nothing. It is no evidence that the data are safe: a stronger attack may find what these did not."
)
_MOST = 3
_LONGEST = 260
_HASH = 16


class Fact(NamedTuple):
    """A line: what it is about, and what is known of it."""

    term: str
    text: str


@dataclass(frozen=True)
class Part:
    """A numbered part of the statement: facts, a table or both, and a note below."""

    title: str
    facts: Sequence[Fact] = ()
    table: Table[Any] | None = None
    note: str = ""


@dataclass(frozen=True)
class Statement:
    """What a statement says: what was attacked, in a sentence the result, and the parts."""

    title: str
    subject: str
    headline: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Account:
    """What a statement of several threats says of one of them.

    Attributes:
        adversaries: {attack in the table of attacks: letter of what its adversary knows; "" where there is none}.
        knows: what these adversaries know, in words.
        system: what its run tells of the system besides the models and their accuracy.
        verdicts: the verdict on each attack on each target.
        limits: what was not tried, and what cannot be told.
    """

    adversaries: Mapping[str, str]
    knows: str
    system: Sequence[Fact]
    verdicts: Sequence[str]
    limits: Sequence[Fact]


def write_statement(run_dir: Path, statement: Statement) -> Path:
    """Write statement.html and statement.md into a run folder and return the path of the HTML page."""
    parts = [part for part in statement.parts if part.facts or part.table is not None]
    context = {
        "title": statement.title,
        "subject": statement.subject,
        "headline": statement.headline,
        "parts": parts,
    }
    return write_sheet(run_dir, Path(STATEMENT[0]).stem, context, style="statement.css")


def title_of(run_dir: Path, manifest: Mapping[str, Any]) -> str:
    """Return what the statement is about: the title of the run."""
    return str(manifest.get("title") or manifest.get("experiment") or run_dir.resolve().name)


def data_of(manifest: Mapping[str, Any]) -> Fact:
    """Return which data sets were used, and where they were read from."""
    datasets = manifest.get("datasets")
    sources = datasets if isinstance(datasets, dict) else {}
    told = [joined(name, str(entry.get("source", ""))) for name, entry in sources.items() if isinstance(entry, dict)]
    return Fact("Data", few(told))


def doubts(manifest: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what the run itself holds against its results: cells that failed, and reasons to doubt scores."""
    failed = failed_cells(manifest)
    if failed:
        yield Fact("Not computed", few([f"{cell} ({reason})" for cell, reason in failed.items()]))
    told = manifest.get(WARNINGS)
    if isinstance(told, list) and told:
        yield Fact("Reasons to doubt", few([str(text) for text in told], by=" "))


def few(texts: Sequence[str], by: str = "; ") -> str:
    """Return the first of several texts in one, each cut where it is too long for the page, and how many there are.

    Args:
        texts: sentences, where `by` is a space.
        by: what stands between them.
    """
    shown = [cut(text) for text in texts[:_MOST]]
    more = f"{len(texts) - _MOST} more in report.html" if len(texts) > _MOST else ""
    if by == " ":
        return joined(*shown, more and f"({more})", by=by)
    return joined(*(text.removesuffix(".") for text in shown), more and f"and {more}", by=by)


def cut(text: str, longest: int = _LONGEST) -> str:
    """Return a text, or its beginning if it is too long for the page."""
    return text if len(text) <= longest else f"{text[:longest].rstrip()} \N{HORIZONTAL ELLIPSIS}"


def origin(run_dir: Path, manifest: Mapping[str, Any]) -> Part:
    """Return the part on where the results come from: versions, seed, and the hashes of the files they are in."""
    versions = manifest.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    names = ("spikeleak", "torch", "flwr", "numpy")
    made = [f"{name} {versions[name]}" for name in names if name in versions]
    commit = str(manifest.get("git_commit", ""))
    with_commit = {"": "", NO_CHECKOUT: "from an installed package"}.get(commit, f"commit {commit}")
    seed = f"seed {plain_text(manifest['seed'])}" if "seed" in manifest else ""
    files = ("config.toml", "manifest.json", "scores.csv", "summary.json")
    hashes = [f"{name} {sha256(run_dir / name)[:_HASH]}" for name in files if (run_dir / name).is_file()]
    earlier = "earlier calls used other versions, see manifest.json" if manifest.get("earlier") else ""
    facts = [
        Fact("Made with", joined(f"Python {manifest.get('python', 'unknown')}", *made, with_commit, seed, earlier)),
        Fact("On", joined(str(manifest.get("machine", "")), f"device {manifest.get('device', 'unknown')}")),
        Fact("SHA-256", joined(*hashes)),
    ]
    note = (
        f"First {_HASH} digits of each hash. The command spikeleak verify compares all files of the run with its "
        "list, spikeleak rerun computes an experiment again, and report.html has every number with its definition."
    )
    return Part("Versions and hashes", facts, note=note)
