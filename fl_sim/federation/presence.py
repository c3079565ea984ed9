"""Who took part in a federation of ours, and so what its folder must contain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fl_sim.captures import SealedStore, capture_id
from fl_sim.config.federation import EACH_CLIENT
from fl_sim.contents import Contents
from fl_sim.federation.client_data import is_captured
from fl_sim.federation.exposure import claims_of
from fl_sim.federation.ordering import OrderedGrid
from fl_sim.federation.replies import SoundReplies
from fl_sim.federation.settings import RunSettings
from fl_sim.files import sha256


@dataclass(frozen=True)
class Presence:
    """Which clients were asked to train, and which of them did not answer.

    Attributes:
        sampled: {round: partition ids of the clients that were asked}.
        problems: {(round, partition id): why there is no valid reply}.
    """

    sampled: Mapping[int, tuple[int, ...]]
    problems: Mapping[tuple[int, int], str]

    @classmethod
    def of(cls, replies: SoundReplies, grid: OrderedGrid) -> Presence:
        """Return who took part, once the federation has ended."""
        sampled = {
            number: tuple(sorted(map(grid.partition_of, nodes))) for number, nodes in sorted(replies.asked.items())
        }
        problems = {(number, grid.partition_of(node)): text for (number, node), text in replies.problems.items()}
        return cls(sampled, problems)

    def contents(self, run: RunSettings, models: Iterable[Path], captures: Mapping[str, str] | None) -> Contents:
        """Return what the folder of the records must contain.

        Args:
            run: the settings, which name the folder.
            models: paths of the federation's models.
            captures: {path below captures/: SHA-256} of what was captured; None if nothing was to be.
        """
        assert run.output is not None  # noqa: S101 - without a folder there is nothing to list
        sealed, unanswered = SealedStore(run.output / "sealed"), {}
        paths = list(models)
        alone = run.config.federation.observer == EACH_CLIENT
        for number, clients in self.sampled.items():
            for client in clients:
                name = capture_id(run.federation_id, number, client)
                problem = self.problems.get((number, client), "")
                is_kept = is_captured(run.config, number, client)
                seen = not alone or captures is None or f"{name}.safetensors" in captures
                if not problem and is_kept and not seen:
                    problem = "its update was not recorded"
                if not problem and is_kept and not sealed.path(name).is_file():
                    problem = "its batch was not sealed"
                if problem:
                    unanswered[name] = problem
                elif is_kept:
                    paths.append(sealed.path(name))
        files = {f"captures/{path}": digest for path, digest in (captures or {}).items()}
        files |= {path.relative_to(run.output).as_posix(): sha256(path) for path in paths}
        return Contents(
            sampled=tuple(self.sampled.values()),
            unanswered=unanswered,
            files=dict(sorted(files.items())),
            claims=claims_of(run.config),
        )
