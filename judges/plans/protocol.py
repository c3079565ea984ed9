"""The word `protocol`: an experiment as it is done here, or as the paper does it. Importing this does not import torch.

"published" stands for the protocol of arXiv 2511.21181 where its text says what it is, and for the published code of
DLG, iDLG and GRNN, which it follows, where it does not. The word only fills in keys that a config leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attacks import ATTACKS
from attacks.settings import LAST
from fl_sim.config import Raw
from fl_sim.config.strengths import expand_with_strengths
from fl_sim.datasets import DATASETS
from fl_sim.errors import ConfigError, unknown_name
from fl_sim.specs import Scalar
from judges.plans.base import NO_ATTACK, AttackSettings
from judges.runs.identity import PROTOCOL, PUBLISHED

OUR_OWN = "ours"
WORDS = (OUR_OWN, PUBLISHED)
TABLE = "protocols"
"""Table of a config with tables [protocols.WORD]: settings for one protocol only."""

FEDERATED: Mapping[str, Mapping[str, Scalar]] = {"dataset": {"split": "train"}, "model": {"timesteps": 20}}
"""{table: {key: value}} of "published": sections IV (victims from the training set) and IV-A (T = 20)."""

_MATCHING: Mapping[str, Scalar] = {
    "answer": LAST,
    "restarts": 0,
    "line_search": "none",
    "weighting": "none",
    "tolerance_gradient": 1e-7,
    "tolerance_change": 1e-9,
    "step_tolerance": 0.0,
    "divergence": 0.0,
}
ATTACKED: Mapping[str, Mapping[str, Scalar]] = {
    "dlg": _MATCHING,
    "idlg": {**_MATCHING, "label_rule": "weights"},
    "grnn": {"answer": LAST},
}
"""{attack: {key: value}} of "published", besides the guess. The paper has no other attacks."""

GUESSES = {False: "uniform", True: "spikes"}
"""{whether inputs are events: the guess of DLG and iDLG}, sections IV-A and III-A."""

_GUESS = "guess"
_SEAT = (("dataset", "name"), ("model", "name"), ("model", "init"))


def words_of(raw: Raw) -> list[str]:
    """Return the protocols of a config.

    Raises:
        ConfigError: one is not known, or named twice; or a table [protocols.WORD] is none.
    """
    said = raw.get(PROTOCOL, OUR_OWN)
    words = said if isinstance(said, list) else [said]
    tables = raw.get(TABLE, {})
    if not isinstance(tables, dict) or not all(isinstance(own, dict) for own in tables.values()):
        raise ConfigError(f"{TABLE}: expected tables [{TABLE}.WORD] with the words {' and '.join(WORDS)}.")
    for path, word in [(PROTOCOL, word) for word in words] + [(TABLE, word) for word in tables]:
        if word not in WORDS:
            raise unknown_name(path if path == PROTOCOL else f"{path}.{word}", str(word), WORDS)
    if not words or len(set(words)) < len(words):
        raise ConfigError(f"{PROTOCOL}: expected one of {', '.join(WORDS)}, or a list of both, got {said!r}.")
    return words


def variants(raw: Raw, tables: Sequence[str], one_value: Iterable[str]) -> dict[str, Raw]:
    """Return {word: the config of that protocol}: with the settings of its table in place of the others.

    Args:
        raw: a config as read.
        tables: keys whose plain value means the table's `name`.
        one_value: paths of the settings of the whole experiment, which no protocol can have for itself.

    Raises:
        ConfigError: as in `words_of`; or a table [protocols.WORD] has a key that it cannot have.
    """
    plain = {key: value for key, value in raw.items() if key not in (PROTOCOL, TABLE)}
    found = {}
    for word in words_of(raw):
        own = raw.get(TABLE, {}).get(word, {})
        for path in _paths(own, tables):
            if path in one_value or path in (PROTOCOL, "attack.name"):
                raise ConfigError(f"{TABLE}.{word}.{path}: is the same for the whole experiment; say it outside.")
        found[word] = _merged(plain, own, tables) | ({} if word == OUR_OWN else {PROTOCOL: word})
    return found


def combinations_of(own: Mapping[str, Raw], tables: Sequence[str]) -> list[tuple[Raw, Raw]]:
    """Return (combination, config) of the configs of `variants`, filled in by what "published" stands for.

    Those of several protocols on the same data and model stand beside each other.

    Raises:
        ConfigError: as in `expand`; or the paper has none of the attacks.
    """
    every = [(one, variant) for variant in own.values() for one in _expanded(variant, tables)]
    if len(own) == 1:
        return every
    seats = [tuple(str(one.get(table, {}).get(key)) for table, key in _SEAT) for one, _ in every]
    first = {seat: place for place, seat in reversed(list(enumerate(seats)))}
    return [pair for _, pair in sorted(zip(seats, every, strict=True), key=lambda item: first[item[0]])]


def set_by_words(raw: Raw, tables: Sequence[str]) -> set[str]:
    """Return the paths of the settings that the protocols of a config may set, where it does not set them itself."""
    words = words_of(raw)
    paths = {path for word in words for path in _paths(raw.get(TABLE, {}).get(word, {}), tables)}
    if PUBLISHED in words:
        paths |= {f"{table}.{key}" for table, own in FEDERATED.items() for key in own}
        paths |= {f"attack.{key}" for own in (*ATTACKED.values(), {_GUESS: ""}) for key in own}
    return paths - set(_paths({key: value for key, value in raw.items() if key != TABLE}, tables))


def without_said(raw: Raw, assignments: Iterable[str], tables: Sequence[str]) -> Raw:
    """Return a config whose tables [protocols.WORD] lack what assignments "key=value" set for all protocols."""
    if not isinstance(raw.get(TABLE), dict):
        return raw
    said = {assignment.partition("=")[0].strip() for assignment in assignments}
    said |= {f"{name}.name" for name in said if name in tables}

    kept = {word: _without(own, said) if isinstance(own, dict) else own for word, own in raw[TABLE].items()}
    return {**raw, TABLE: kept}


def _without(own: Raw, paths: set[str]) -> Raw:
    """Return the settings of a protocol without those at some paths."""
    kept = {}
    for key, value in own.items():
        if isinstance(value, dict):
            kept[key] = {name: item for name, item in value.items() if f"{key}.{name}" not in paths}
        elif key not in paths:
            kept[key] = value
    return kept


def _expanded(variant: Raw, tables: Sequence[str]) -> list[Raw]:
    """Return the combinations of one protocol; of the paper's, those with attacks that it has not are left out."""
    every = expand_with_strengths(variant, tables)
    if PROTOCOL not in variant:
        return every
    kept = [one for one in every if _attack(one) in (NO_ATTACK, *ATTACKED) or _attack(one) not in ATTACKS]
    if not kept:
        raise ConfigError(
            f"attack.name: '{_attack(every[0])}' is no attack of the paper, whose protocol '{PUBLISHED}' is asked for; "
            f"choose {', '.join(ATTACKED)}, or protocol = '{OUR_OWN}'."
        )
    return [_filled(one) for one in kept]


def _merged(plain: Raw, own: Raw, tables: Sequence[str]) -> Raw:
    """Return a config with the settings of a protocol in place of its own.

    Settings of attacks that the config does not name are left out.
    """
    merged = dict(plain)
    for key, value in own.items():
        old = plain.get(key, {})
        if key not in tables and not isinstance(value, dict):
            merged[key] = value
            continue
        new = value if isinstance(value, dict) else {"name": value}
        if key == "attack":
            new = _read_by(plain, new)
        merged[key] = {**(old if isinstance(old, dict) else {"name": old}), **new}
    return merged


def _read_by(plain: Raw, settings: Raw) -> Raw:
    """Return the settings that an attack of the config reads, and those that none at all reads, which is refused."""
    every = {key for entry in ATTACKS.values() for key in entry.settings.model_fields}
    table = plain.get("attack", {})
    names = table.get("name", _default_attack()) if isinstance(table, dict) else table
    named = [name for name in map(str, names if isinstance(names, list) else [names]) if name in ATTACKS]
    own = {key for name in named for key in ATTACKS[name].settings.model_fields}
    return {key: value for key, value in settings.items() if key in own or key not in every}


def _filled(combination: Raw) -> Raw:
    """Return a combination with what "published" stands for where it leaves keys out."""
    name, dataset = _attack(combination), str(combination.get("dataset", {}).get("name", ""))
    settings = dict(ATTACKED.get(name, {}))
    if name in ATTACKED and _GUESS in ATTACKS[name].settings.model_fields:
        settings[_GUESS] = GUESSES[dataset in DATASETS and DATASETS[dataset].events]
    words = {**FEDERATED, "attack": settings}
    return {**combination, **{table: {**own, **combination.get(table, {})} for table, own in words.items()}}


def _attack(combination: Raw) -> str:
    return str(combination.get("attack", {}).get("name", _default_attack()))


def _default_attack() -> str:
    return str(AttackSettings.model_fields["name"].default)


def _paths(raw: Raw, tables: Sequence[str]) -> list[str]:
    """Return the paths of a config's settings."""
    paths = []
    for key, value in raw.items():
        inner = value if isinstance(value, dict) else {"name" if key in tables else "": value}
        paths += [f"{key}.{name}".rstrip(".") for name in inner]
    return paths
