"""The answers of attacks, checked and timed where they are taken: what a plugin says of itself is not believed.

The checks are those of `attacks.testing`, on the victims of the experiment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from attacks import ATTACKS, build_attack, entry_of, origin_of
from attacks.answer_checks import problem_of, problem_of_inversion
from attacks.contracts import GradientInversion, Inversion, ModelInversion, Progress, Reconstruction
from attacks.posterior import model_id
from attacks.settings import IDLGSettings
from attacks.unattempted import not_attempted
from fl_sim.errors import ConfigError, SpikeleakError, lack_of_memory, own_line
from fl_sim.observed import same_problem, why_not_searched
from fl_sim.plugins import OURS
from fl_sim.records import CapturedUpdate, TrainedModel
from fl_sim.specs import Scalar, Settings

_LONGEST = 2000


class AttackError(SpikeleakError):
    """An attack raised an error, or its answer is none. The message names the attack, its package and the capture."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of an attack.

    Attributes:
        name: of the attack in the table.
        settings: all its settings, as plain values.
        seed: as the attack gets it.
        device: where to compute.
    """

    name: str
    settings: Mapping[str, Scalar]
    seed: int
    device: str = "cpu"

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Scalar], *, seed: int, device: str = "cpu") -> Self:
        """Return the call of an attack of any table with these settings, and the defaults of the others."""
        kind: type[Settings] = entry_of(name).settings
        return cls(name, kind.model_validate(dict(settings)).model_dump(), seed, device)

    @property
    def told(self) -> dict[str, Any]:
        """Return what an answer must repeat of the call, by the name of its field."""
        return {"attack": self.name, "settings": dict(self.settings), "seed": self.seed}

    @property
    def described(self) -> str:
        """Return the name of the attack, with the package that it comes from if that is not this project."""
        origin = origin_of(self.name)
        return f"attack '{self.name}'{'' if origin == OURS else f' ({origin})'}"


def answers_of(
    attack: GradientInversion, captures: Sequence[CapturedUpdate], call: Call, progress: Progress | None = None
) -> list[Reconstruction]:
    """Return the answers of an attack to captured updates, checked, with the wall time of the call as their seconds.

    Updates of which nobody knows how many examples are behind them are not attempted.

    Args:
        attack: built with the settings of the call.
        captures: captured updates of one model spec.
        call: what the attack is told.
        progress: called whenever a victim is finished.

    Raises:
        AttackError: the attack raised an error, or an answer is none.
        MemoryError, RuntimeError, OSError: memory does not suffice.
    """
    started = time.perf_counter()
    searched = [capture for capture in captures if not why_not_searched(capture)]
    answers: object = []
    if searched:
        with named_failure(call, _several(searched)):
            answers = attack.reconstruct(searched, seed=call.seed, device=call.device, progress=progress)
    found = iter(checked_answers(answers, searched, call))
    seconds = (time.perf_counter() - started) / max(1, len(captures))
    whole = [_unknown(capture, call) if why_not_searched(capture) else next(found) for capture in captures]
    return [dataclasses.replace(one, seconds=seconds) for one in whole]


def _unknown(capture: CapturedUpdate, call: Call) -> Reconstruction:
    """Return the answer to an update behind which an unknown number of examples is: nothing, of their mean number."""
    grey = not_attempted(call.name, IDLGSettings(), capture, None, seed=call.seed)
    return Reconstruction(**_fields(grey, call))


def checked_answers(answers: object, captures: Sequence[CapturedUpdate], call: Call) -> list[Reconstruction]:
    """Return the answers of an attack, if there is one for each capture and it is such as `attacks.testing` asks for.

    What they say of the call is replaced by what the call was.

    Raises:
        AttackError: there are more or fewer; one is of another capture, attack, seed or settings; or its inputs, labels
            or counts cannot be those of its capture.
    """
    if not isinstance(answers, list | tuple) or len(answers) != len(captures):
        found = f"{len(answers)} answers" if isinstance(answers, list | tuple) else f"a {type(answers).__name__}"
        raise AttackError(f"{call.described} on {_several(captures)}: expected {len(captures)} answers, got {found}")
    return [_checked(answer, capture, call) for answer, capture in zip(answers, captures, strict=True)]


def refuse_pairs(pairs: Iterable[tuple[str, Mapping[str, Scalar], CapturedUpdate]]) -> None:
    """Let each attack start on a victim, without a step, so that it says if it does not take such a victim.

    Attacks that match no updates or need auxiliary data are passed over, and so is whatever else goes wrong: that is
    found when the attack is tried, and costs its cell only.

    Args:
        pairs: name and settings of an attack, and a captured update or a stand-in for one.

    Raises:
        ConfigError: that of the attack.
    """
    tried: set[Hashable] = set()
    for name, settings, capture in pairs:
        entry = ATTACKS[name]
        start = entry.settings(**settings).untouched().model_dump()
        key = (name, tuple(sorted(start.items())), same_problem(capture))
        if not entry.matching or entry.needs_auxiliary or key in tried:
            continue
        tried.add(key)
        try:
            build_attack(name, start).reconstruct([capture], seed=0)
        except (ConfigError, KeyboardInterrupt):
            raise
        except BaseException:  # noqa: BLE001, S112 - a plugin may raise anything
            continue


def inversion_of(
    attack: ModelInversion, model: TrainedModel, classes: Sequence[int], call: Call, progress: Progress | None = None
) -> Inversion:
    """Return the answer of a model inversion, checked, with the wall time of the call as its seconds.

    Args:
        attack: built with the settings of the call.
        model: the model under attack.
        classes: K labels.
        call: what the attack is told.
        progress: called whenever classes are finished.

    Raises:
        AttackError: the attack raised an error, or the answer is none.
        MemoryError, RuntimeError, OSError: memory does not suffice.
    """
    started, what = time.perf_counter(), f"the model '{model.model.architecture}' of round {model.round}"
    with named_failure(call, what):
        found: object = attack.invert(model, classes, seed=call.seed, device=call.device, progress=progress)
        problem = problem_of_inversion(found, model, classes, call.told)
    if problem or not isinstance(found, Inversion):
        raise AttackError(f"{call.described} on {what}: {problem}")
    seconds = time.perf_counter() - started
    return Inversion(**{**_fields(found, call), "model_id": model_id(model), "seconds": seconds})


@contextlib.contextmanager
def named_failure(call: Call, what: str) -> Iterator[None]:
    """Turn whatever a plugin raises into an error that says which attack failed on what, but for a lack of memory."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        told = _message(error)
        if lack_of_memory(error) if told is not None else isinstance(error, MemoryError):
            raise
        told = f"{type(error).__name__}: {'(without a message)' if told is None else told[:_LONGEST]}{own_line(error)}"
        raise AttackError(f"{call.described} failed on {what}: {told}") from error


def _message(error: BaseException) -> str | None:
    """Return the message of an error; None if it has none, since to ask for it is an error too."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a plugin's class may do anything
        return None


def _checked(answer: object, capture: CapturedUpdate, call: Call) -> Reconstruction:
    """Return an answer if it is one; see `checked_answers`."""
    with named_failure(call, capture.id):  # its values may be anything, and what is asked of them may fail
        problem = problem_of(answer, capture, call.told)
    if problem or not isinstance(answer, Reconstruction):
        raise AttackError(f"{call.described} on {capture.id}: {problem}")
    return Reconstruction(
        **{**_fields(answer, call), "capture_id": capture.id, "matching_loss": float(answer.matching_loss)}
    )


def _fields(answer: Reconstruction | Inversion, call: Call) -> dict[str, Any]:
    """Return the fields of an answer, with those that say what the attack was told as it was told."""
    kind = Reconstruction if isinstance(answer, Reconstruction) else Inversion
    return {field.name: getattr(answer, field.name) for field in dataclasses.fields(kind)} | call.told


def _several(captures: Sequence[CapturedUpdate]) -> str:
    """Return the captures of a call, by the first of them."""
    more = f" and {len(captures) - 1} more" if len(captures) > 1 else ""
    return f"{captures[0].id if captures else 'no capture'}{more}"
