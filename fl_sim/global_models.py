"""Where the global models of a federation lie on disk: the one that it trained, and those of earlier rounds.

    FOLDER/FEDERATION.safetensors         the model after the last round
    FOLDER/FEDERATION@r005.safetensors    the model after round 5; r000 is the initial one

A federation's id may end in what looks like a round, but holds no "@": no file can be taken for another federation's.
All are `TrainedModel`s. No Flower here: attacks and judges read what a federation wrote without loading it.
"""

from __future__ import annotations

import re
from pathlib import Path

from fl_sim.captures import check_federation_id
from fl_sim.errors import ConfigError

_SUFFIX = ".safetensors"
_ROUND = re.compile(r"[0-9]{3,}")


def trained_model_path(folder: Path, federation_id: str) -> Path:
    """Return where the model that a federation trained lies, whether it is there or not.

    Args:
        folder: OUTPUT/models.
        federation_id: name of the federation.

    Raises:
        ConfigError: a name that could leave the folder.
    """
    return folder / f"{check_federation_id(federation_id)}{_SUFFIX}"


def global_model_path(folder: Path, federation_id: str, round: int) -> Path:  # noqa: A002 - the record's own word
    """Return where the global model after a round lies, whether it is there or not.

    Args:
        folder: OUTPUT/models.
        federation_id: name of the federation.
        round: server round, 0 for the initial model.

    Raises:
        ConfigError: a name that could leave the folder, or a negative round.
    """
    if round < 0:
        raise ConfigError(f"global model: expected a round of at least 0, got {round}.")
    return folder / f"{check_federation_id(federation_id)}@r{round:03d}{_SUFFIX}"


def global_models(folder: Path, federation_id: str) -> dict[int, Path]:
    """Return the kept global models of a federation by round, in the order of the rounds.

    Empty where `federation.keep_every` is 0, or where there is no such folder. Models of an earlier federation of the
    same id that had other rounds are among them, since nothing is ever removed.

    Args:
        folder: OUTPUT/models.
        federation_id: name of the federation.

    Raises:
        ConfigError: a name that could leave the folder.
    """
    beginning = f"{check_federation_id(federation_id)}@r"
    told = (path.name.removeprefix(beginning).removesuffix(_SUFFIX) for path in folder.glob(f"{beginning}*{_SUFFIX}"))
    paths = {int(text): global_model_path(folder, federation_id, int(text)) for text in told if _ROUND.fullmatch(text)}
    return {number: path for number, path in sorted(paths.items()) if path.is_file()}
