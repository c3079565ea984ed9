"""Common parts of the settings of all gradient inversions. Nothing here imports torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from fl_sim.specs import Settings

UNTHRESHOLDED, POST, IN, STRAIGHT_THROUGH = "none", "post_optimisation", "in_optimisation", "straight_through"
"""Names of the kinds of thresholding; see `attacks.thresholding`."""

NO_AUXILIARY, PUBLIC, OWN = "none", "public", "own"
"""Names in place of a data set: no auxiliary data, the public pictures of an audit, and the clients' own data set."""


class InversionSettings(Settings):
    """Base of the settings of every gradient inversion."""

    def untouched(self) -> Self:
        """Return these settings with no steps, so that the attack returns its initial guess."""
        raise NotImplementedError


class AuxiliarySettings(InversionSettings):
    """Settings of every attack that can use examples of other people than the victims, see `attacks.contracts`.

    Attributes:
        auxiliary: the data set from which the adversary has examples of other people than the victims, "own" for the
            split of the clients' data set that they do not hold, "public" for the public pictures of an audit, or
            "none". With such examples the adversary has letter D.
        auxiliary_split: the split of that data set, which must not be the one that the victims' clients hold; of "own",
            it is always the other one.
        auxiliary_count: number of examples, drawn at random.
    """

    auxiliary: str = NO_AUXILIARY
    auxiliary_split: Literal["train", "test"] = "train"
    auxiliary_count: int = Field(default=4000, ge=2)

    @property
    def uses_auxiliary(self) -> bool:
        """Return whether the attack is given auxiliary data."""
        return self.auxiliary != NO_AUXILIARY


class FilmedSettings(Settings):
    """Settings of every attack that searches step by step and can keep pictures of its way.

    Attributes:
        snapshots: number of pictures that an answer keeps of the search that found it, 0 for none: the first guess, the
            last iterate, and others evenly spread over the steps between, as far as there are so many. The search is
            the same with and without them.
    """

    LATER: ClassVar[tuple[str, ...]] = ("snapshots",)
    """Settings that came later: their defaults are not told, so that what is stored and hashed stays as it was."""

    snapshots: int = Field(default=0, ge=0, le=1000)

    @field_validator("snapshots")
    @classmethod
    def _first_and_last(cls, snapshots: int) -> int:
        if snapshots == 1:
            raise ValueError("expected 0, or at least 2: the first guess and the last iterate; got 1")
        return snapshots

    @model_serializer(mode="wrap")
    def _told(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out settings that came later at their defaults, see `LATER`."""
        found: dict[str, Any] = plain(self)
        defaults = {key: type(self).model_fields[key].default for key in self.LATER}
        return {key: value for key, value in found.items() if key not in defaults or value != defaults[key]}


class SnapshotSettings(FilmedSettings, InversionSettings):
    """Settings of every gradient inversion that can keep pictures of its way."""
