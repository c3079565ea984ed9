"""What became of the replies of a federation: how many were recorded, and why others were not."""

from __future__ import annotations

from fl_sim.specs import Settings


class Refusal(Settings):
    """Replies that were not recorded for one reason.

    Attributes:
        reason: in a few words.
        replies: their number.
        first: the first of them, such as "client 1 in round 1".
    """

    reason: str
    replies: int
    first: str


class Account(Settings):
    """The replies to train messages of one federation.

    Attributes:
        replies: how many came.
        recorded: how many were recorded.
        refused: why the others were not, the most frequent reason first.
        masked: of those recorded, how many only as a part of the mean that secure aggregation shows.
        remarks: what else an operator should know of the captures, as sentences.
    """

    replies: int
    recorded: int
    refused: tuple[Refusal, ...] = ()
    masked: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Return whether there is nothing to say: every reply was recorded, and there are no remarks."""
        return not self.refused and not self.remarks

    def sentence(self) -> str:
        """Return what was recorded, and why other replies were not, as a clause without a full stop."""
        text = f"recorded {self.recorded} of {self.replies} replies"
        if self.masked:
            text += f" ({self.masked} of them as a part of a mean, which is all that secure aggregation shows)"
        reasons = [
            f"{one.replies} not, {'the first ' if one.replies > 1 else ''}that of {one.first}: {one.reason}"
            for one in self.refused
        ]
        return "; ".join([text, *reasons])
