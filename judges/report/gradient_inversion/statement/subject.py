"""What was attacked and by whom: the model, the clients as far as they are known, and the adversary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from judges.report.formats import counted, joined
from judges.report.gradient_inversion import WORDS
from judges.report.gradient_inversion.statement.results import unattempted
from judges.report.gradient_inversion.tables_claims import claim_line
from judges.report.gradient_inversion.tables_leaks import ADVERSARIES
from judges.report.statements import Fact, Part, few
from judges.runs.identity import AS_SENT, Attacked, Group
from judges.runs.manifest import CLIENTS, auxiliary_data, plain_text
from judges.runs.names import defence_name, init_name, model_name
from judges.runs.pictures import CAPTURES
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import Summary

_SHARES = {"gradient": "the gradient of one batch", "delta": "weights after local steps"}
_STATUS = {"known": "Known", "assumed": "Assumed", "taken": "Unknown, taken to be"}
_MATTERS = ("loss", "optimiser", "momentum", "weight_decay", "clip_norm", "mode", "frozen", "mean", "std", "precision")
"""Facts about a training that are named where they are not known; of the others, how many there are."""

_OF_A_RUN = (
    ("strategy", "name"), ("federation", "clients"), ("federation", "rounds"), ("federation", "batch_size"),
    ("federation", "local_steps"), ("federation", "local_epochs"), ("federation", "learning_rate"),
)  # fmt: skip


def subject(manifest: Mapping[str, Any]) -> str:
    """Return in a sentence what this is a statement on."""
    if CLIENTS in manifest:
        return "Audit of the updates that a curious server captured in a federation that its owner ran."
    return "Experiment: a simulated federation, whose captured updates were attacked. It is no system in operation."


def system_part(
    summary: Summary, scores: Sequence[Score], manifest: Mapping[str, Any], config: Mapping[str, Any]
) -> Part:
    """Return the part on the system: model, data, clients, their training and defence."""
    groups = [*summary.reads, *summary.cells]
    models = list(dict.fromkeys(joined(_network(one), _parameters(one)) for one in groups))
    datasets = manifest.get("datasets")
    sources = datasets if isinstance(datasets, dict) else {}
    data = [_source(str(name), entry) for name, entry in sources.items()] or list(
        dict.fromkeys(one.dataset for one in groups)
    )
    defences = list(dict.fromkeys(defence_name(one) for one in groups))
    facts = [
        Fact("Model", few(models) or "unknown: no update could be read or scored"),
        Fact("Data", few(data)),
        Fact("Updates", _counts(summary, scores)),
        *(_clients(manifest[CLIENTS]) if CLIENTS in manifest else _simulated(config)),
        Fact("Defence", _defence(defences, audit=CLIENTS in manifest)),
        *_claims(summary),
    ]
    return Part("The system that was attacked", facts)


def _network(one: Attacked | Group) -> str:
    """Return a network in words that need no glossary: "LeNet, a network without spikes"."""
    return f"{model_name(one)}, a {'spiking network' if one.spiking else 'network without spikes'}"


def _parameters(one: Attacked | Group) -> str:
    """Return how the parameters started, or that they are those which the server sent."""
    return "with the parameters that the server sent to its clients" if one.init == AS_SENT else init_name(one)


def _source(name: str, entry: object) -> str:
    """Return a data set and where it was read from; of the clients' own inputs, which have no name, only that."""
    source = str(entry.get("source", "")) if isinstance(entry, dict) else ""
    if name == CAPTURES and source:
        return f"those of {source}"
    return f"{name} ({source})" if source else name


def _counts(summary: Summary, scores: Sequence[Score]) -> str:
    """Return how many updates were attacked or only captured, of how many examples, and how many could be scored."""
    updates, examples = sum(one.updates for one in summary.reads), sum(one.examples for one in summary.reads)
    scored = {(score.victim[:4], score.example) for score in scores if not score.is_control}
    captures = {score.victim[:4] for score in scores if not score.is_control}
    rounds = {score.round for score in scores}
    unsought = unattempted(scores)
    done = "attacked" if scored and not unsought else "captured"
    seen = f"{counted(updates, 'update')} of {counted(examples, 'example')} {done}" if updates else ""
    looked = f"of which an attack looked for {len(scored) - len(unsought) or 'none'}" if unsought else ""
    known = f"{counted(len(captures), 'update')} with {counted(len(scored), 'example')} scored against the sealed truth"
    return joined(seen, known, looked, f"in {counted(len(rounds), 'round')}" if rounds else "")


def _defence(defences: Sequence[str], *, audit: bool) -> str:
    named = ", ".join("none" if name == "none" else name for name in defences) or "none"
    return f"{named} (as the owner of the federation says)" if audit else named


def _claims(summary: Summary) -> Iterator[Fact]:
    """Yield what the defences claim of differential privacy, or why nothing."""
    lines = list(dict.fromkeys(map(claim_line, summary.claims)))
    if lines:
        yield Fact("Claims", few(lines, by=" "))


def _clients(clients: object) -> Iterator[Fact]:
    """Yield what an audit knew, assumed and took its clients to do."""
    kinds = [one for one in clients if isinstance(one, dict)] if isinstance(clients, list) else []
    if not kinds:
        yield Fact("Training", "not recorded")
        return
    shares = dict.fromkeys(_SHARES.get(str(one.get("shares")), str(one.get("shares"))) for one in kinds)
    yield Fact("Clients share", " or ".join(shares))
    for key, title in _STATUS.items():
        told = dict.fromkeys(_settings(one.get(key), brief=key == "taken") or "nothing" for one in kinds)
        yield Fact(title, few(list(told)))


def _settings(settings: object, *, brief: bool = False) -> str:
    """Return a table of settings in one line; in brief, only those that matter most, and how many others there are."""
    table = settings if isinstance(settings, dict) else {}
    shown = [key for key in table if not brief or key in _MATTERS]
    left = len(table) - len(shown)
    rest = f"and {counted(left, 'other setting')} at the default of torch (named in manifest.json)" if left else ""
    return joined(*(f"{_words(key)} {plain_text(table[key]) or 'none'}" for key in shown), rest)


def _words(key: str) -> str:
    """Return a key in words: "number of examples"."""
    return key.replace("num_", "number of ").replace("_", " ")


def _simulated(config: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield how the clients of an experiment train, all of which its config fixes."""
    told = {}
    for table, key in _OF_A_RUN:
        own = config.get(table)
        if isinstance(own, dict) and key in own:
            told[table if key == "name" else key] = own[key]
    told.pop("local_steps" if told.get("local_epochs") else "local_epochs", None)  # only one of them is read
    client = config.get("client")
    told |= client if isinstance(client, dict) else {}
    yield Fact("Known", _settings(told) or "nothing")
    yield Fact("Assumed", "nothing: the experiment's own config fixes how its clients train")


def adversary_part(summary: Summary, manifest: Mapping[str, Any]) -> Part:
    """Return the part on the adversary: who it is, and what each letter that was tried knows."""
    told = any(health.told_labels for health in summary.health)
    facts = [
        Fact("Who", WORDS.threat_model),
        Fact("Knows", knows(summary, manifest)),
        *([Fact("Is told", "the clients' labels, which a server that sees updates only would have to read")] * told),
    ]
    note = "Letters of Carletti et al. (USENIX Security 2025): each adversary knows what those before it know."
    return Part("The adversary", facts, note=note)


def knows(summary: Summary, manifest: Mapping[str, Any]) -> str:
    """Return what each letter that was tried knows, and which further examples attacks had."""
    letters = sorted({cell.adversary for cell in summary.cells if cell.adversary and not cell.is_control})
    told = [f"{letter}: {ADVERSARIES.get(letter, 'as its attack says')}" for letter in letters]
    given = [f"'{attack}' also has {text}" for attack, text in auxiliary_data(manifest).items()]
    unknown = "as the attacks in config.toml, none of which was scored"
    return joined("; ".join(told) or unknown, *given, by="; ")
