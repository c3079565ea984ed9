"""Counts the replies that were recorded, and tells the operator after each round and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import ERROR, INFO, WARNING

from flwr.common.logger import log

from fl_sim.accounts import Account, Refusal
from fl_sim.errors import SpikeleakError

_MOST_REASONS = 20


@dataclass
class _Tally:
    """Counts of one round, or of all."""

    recorded: int = 0
    masked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def refuse(self, who: str, reason: str, replies: int) -> None:
        self.refused[reason] += replies
        self.first.setdefault(reason, who)

    def account(self) -> Account:
        reasons = [
            Refusal(reason=reason, replies=count, first=self.first[reason])
            for reason, count in self.refused.most_common(_MOST_REASONS)
        ]
        replies = self.recorded + self.refused.total()
        return Account(replies=replies, recorded=self.recorded, refused=tuple(reasons), masked=self.masked)


class Ledger:
    """The account of one federation.

    Args:
        note: called with the account of all rounds whenever a round ends and at the end; its errors are logged.
    """

    def __init__(self, note: Callable[[Account], object] | None) -> None:
        self._note = note
        self._total = _Tally()
        self._open: dict[int, _Tally] = {}
        self._remarks: list[str] = []
        self._last: Account | None = None
        self._messages = 0

    def sent(self, messages: int) -> None:
        """Count messages of any kind."""
        self._messages += messages

    def record(self, server_round: int, *, masked: int = 0) -> None:
        """Count a recorded reply, or a recorded mean of this many masked ones."""
        for tally in (self._total, self._open.setdefault(server_round, _Tally())):
            tally.recorded += masked or 1
            tally.masked += masked

    def refuse(self, server_round: int, who: str, reason: str, *, level: int = WARNING, replies: int = 1) -> None:
        """Count replies that are not recorded, and log why; the same reason in a round is written out once."""
        place = f"{who} in round {server_round}"
        again = reason in self._open.setdefault(server_round, _Tally()).first
        for tally in (self._total, self._open.setdefault(server_round, _Tally())):
            tally.refuse(place, reason, replies)
        told = "for the same reason" if again else reason
        log(level, "Curious server: the reply of %s is not recorded: %s", place, told)

    def remark(self, sentence: str) -> None:
        """Log what an operator should know of the captures, the first time that it is given and at the end."""
        if sentence not in self._remarks and len(self._remarks) < _MOST_REASONS:
            self._remarks.append(sentence)
            log(WARNING, "Curious server: %s", sentence)

    def close(self, *, but: int | None = None) -> None:
        """End all rounds, except one that still goes on, and log what was recorded of each."""
        for server_round in sorted(self._open.keys() - {but}):
            account = self._open.pop(server_round).account()
            log(
                INFO if account.recorded else WARNING,
                "Curious server, round %d: %s.",
                *(server_round, _without_stop(account.sentence())),
            )
        self._keep(self._account())

    def finish(self) -> None:
        """End the federation, and log what was recorded of it."""
        self.close()
        account = self._account()
        if account.replies:
            text = " ".join([f"{_without_stop(account.sentence())}.", *account.remarks])
            log(INFO if account.is_plain else WARNING, "Curious server, whole federation: %s", text)
        elif self._messages:
            log(
                WARNING,
                "Curious server: %d messages were sent, and no reply to a train message came back through this "
                "wrapper; nothing is recorded.",
                self._messages,
            )

    def _account(self) -> Account:
        return self._total.account().model_copy(update={"remarks": tuple(self._remarks)})

    def _keep(self, account: Account) -> None:
        """Pass the account on, if it is another than before."""
        if self._note is None or account == self._last or not account.replies:
            return
        self._last = account
        try:
            self._note(account)
        except (SpikeleakError, OSError) as error:
            log(ERROR, "Curious server: the account of the replies is not written: %s", error)


def _without_stop(text: str) -> str:
    return text.removesuffix(".")
