"""What a run hands in to a board: a JSON file whose schema is `submission.schema.json` beside this module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from fl_sim.errors import DataError
from fl_sim.specs import Scalar, Settings

FORMAT: Literal["spikeleak-submission/1"] = "spikeleak-submission/1"
SCHEMA = Path(__file__).with_name("submission.schema.json")
LARGEST = 16 * 2**20
"""Size in bytes above which a file is no submission."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share01 = Annotated[float, Field(ge=0, le=1)]


class Rate(Settings):
    """How often something happened.

    Attributes:
        count, of: number of occurrences, and of cases.
        share: count / of.
        low, high: 95 % interval of the share.
    """

    count: Count
    of: Annotated[int, Field(ge=1)]
    share: Share01
    low: Share01
    high: Share01


class Mean(Settings):
    """A mean over the examples.

    Attributes:
        mean: the mean.
        low, high: its 95 % interval; null where there is none, as for a single victim.
    """

    mean: Finite
    low: Finite | None
    high: Finite | None


class VictimSet(Settings):
    """The victims of an entry.

    Attributes:
        set: name of the fixed set that they are; "" for none.
        digest: identity, see `judges.scoring.victims.Victims`.
        updates, examples: numbers of captured updates, and of examples behind them.
        sent: l2 norm of the parameters that the server sent first in each federation.
    """

    set: Text
    digest: Hash
    updates: Count
    examples: Count
    sent: Annotated[tuple[Finite, ...], Field(max_length=100_000)]


class Entry(Settings):
    """One attack on one set of victims: a cell of the run.

    Attributes:
        cell: its name in the run.
        data, model, init, spiking: what was attacked.
        varied: further settings of the model or federation that vary within the run.
        defence: the clients' defence with its settings that vary, or "none".
        victims: which examples.
        attack: name of the attack.
        settings: all its settings.
        adversary: the letter of what the adversary knows, of Carletti et al. (USENIX Security 2025).
        auxiliary: further examples that the attack was given; "" for none.
        n: number of examples.
        evaluations, seconds: the budget: medians over the examples of evaluations of the gradient, and of wall time.
        recovered: examples that are recognisable and above their best control; null without controls.
        recognisable: examples with an SSIM above 0.5; null where SSIM is not defined.
        solved: examples with an MSE below 1e-3 of the squared data range.
        diverged: number of diverged attacks.
        ssim, psnr_db, mse: means; null where one is not defined or not finite.
        label_accuracy: share of the labels that the attack names rightly; null if it names none.
        verdict: as in the report.
    """

    cell: Name
    data: Name
    model: Name
    init: Text
    spiking: bool
    varied: dict[str, Scalar]
    defence: Name
    victims: VictimSet
    attack: Name
    settings: dict[str, Scalar]
    adversary: Name
    auxiliary: Text
    n: Annotated[int, Field(ge=1)]
    evaluations: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    recovered: Rate | None
    recognisable: Rate | None
    solved: Rate
    diverged: Count
    ssim: Mean | None
    psnr_db: Mean | None
    mse: Mean | None
    label_accuracy: Share01 | None
    verdict: Name

    @property
    def found(self) -> Rate:
        """Return how many examples were found: recovered; without controls recognisable, without an SSIM solved."""
        return self.recovered or self.recognisable or self.solved


class Hashes(Settings):
    """SHA-256 of files of the run, and of its rows without their wall times, which another run of it repeats."""

    config: Hash
    manifest: Hash
    scores: Hash
    scores_without_times: Hash


class Versions(Settings):
    """With what the run was made."""

    python: Text
    torch: Text
    spikeleak: Text


class Submission(Settings):
    """What a run of `spikeleak run` hands in to a board, as `spikeleak submit` writes it.

    Attributes:
        format: this format and its version.
        run: title of the run.
        by: who hands it in, as they say; "" for nobody.
        seed: root seed of the run.
        machine, device: on what it was made.
        versions: with what it was made.
        hashes: of files of the run.
        failed: number of cells of the run that could not be computed, which have no entry.
        entries: one a cell.
    """

    format: Literal["spikeleak-submission/1"]
    run: Name
    by: Text
    seed: Count
    machine: Text
    device: Text
    versions: Versions
    hashes: Hashes
    failed: Count
    entries: Annotated[tuple[Entry, ...], Field(min_length=1, max_length=10_000)]


def schema() -> dict[str, Any]:
    """Return the JSON schema of a submission, which is published as `SCHEMA`."""
    known = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{FORMAT.replace('/', ':')}"}
    return {**known, **Submission.model_json_schema()}


def to_json(content: Mapping[str, Any]) -> str:
    """Return a table as the JSON text that files of this room hold."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_submission(path: Path) -> Submission:
    """Read a submission, whoever wrote it.

    Raises:
        DataError: the file cannot be read, is larger than 16 MB, or is not of the schema; the message has the reason.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path.name}: expected a submission of at most {LARGEST // 2**20} MB.")
        return Submission.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise DataError(f"{path.name}: is not of the schema: {where}: {first['msg']}{more}.") from error
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror}).") from error
