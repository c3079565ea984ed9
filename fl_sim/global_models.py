"""The global models of a federation on disk: the trained one and those of earlier rounds.

    FOLDER/FEDERATION.safetensors         the model after the last round
    FOLDER/FEDERATION@r005.safetensors    the model after round 5; r000 is the initial one

A federation's id may end in what looks like a round but cannot contain "@", so the files of two federations cannot be
confused. All are `TrainedModel`s. Nothing here imports Flower: attacks and judges read the records without loading it.
"""

from __future__ import annotations

import re
from pathlib import Path

from fl_sim.captures import check_federation_id
from fl_sim.errors import ConfigError

_SUFFIX = ".safetensors"
_ROUND = re.compile(r"[0-9]{3,}")


def trained_model_path(folder: Path, federation_id: str) -> Path:
    """Return the path of the model that a federation trained, whether or not the file exists.

    Args:
        folder: OUTPUT/models.
        federation_id: name of the federation.

    Raises:
        ConfigError: the name could lead out of the folder.
    """
    return folder / f"{check_federation_id(federation_id)}{_SUFFIX}"


def global_model_path(folder: Path, federation_id: str, round: int) -> Path:  # noqa: A002 - the record's field
    """Return the path of the global model after a round, whether or not the file exists.

    Args:
        folder: OUTPUT/models.
        federation_id: name of the federation.
        round: server round, 0 for the initial model.

    Raises:
        ConfigError: the name could lead out of the folder, or the round is negative.
    """
    if round < 0:
        raise ConfigError(f"global model: expected a round of at least 0, got {round}.")
    return folder / f"{check_federation_id(federation_id)}@r{round:03d}{_SUFFIX}"


def global_models(folder: Path, federation_id: str) -> dict[int, Path]:
    """Return the stored global models of a federation by round, in the order of the rounds.

    Empty if `federation.keep_every` is 0 or the folder does not exist. Since nothing is ever removed, the result may
    include rounds of an earlier federation of the same id.

    Args:
        folder: OUTPUT/models.
        federation_id: name of the federation.

    Raises:
        ConfigError: the name could lead out of the folder.
    """
    prefix = f"{check_federation_id(federation_id)}@r"
    texts = (path.name.removeprefix(prefix).removesuffix(_SUFFIX) for path in folder.glob(f"{prefix}*{_SUFFIX}"))
    paths = {int(text): global_model_path(folder, federation_id, int(text)) for text in texts if _ROUND.fullmatch(text)}
    return {number: path for number, path in sorted(paths.items()) if path.is_file()}
