"""Where an audit's controls come from: a data set of the table, public pictures, or nowhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl_sim.datasets.reading.public import PublicPictures, read_public
from fl_sim.specs import InputSpec
from judges.scoring.controls import Means, mean_inputs

_LACKING = (
    "Two controls are lacking, the mean image and the mean of each class, without which an answer is compared with "
    "black and grey only. On pictures that look alike, such as handwritten digits, the mean of the true class alone "
    "can be recognisable for most victims: what is better than black and grey is then no leak yet. Give them with "
)
_PUBLIC = "--public FOLDER (public pictures of the same kind, one subfolder for each class) or "


def public_means(folder: Path, spec: InputSpec) -> tuple[PublicPictures, Means]:
    """Return the public pictures of a folder, as a model takes them, and their means.

    Raises:
        ConfigError, DataError: as `read_public`; or a picture cannot be decoded.
    """
    pictures = read_public(folder, spec)
    means = mean_inputs(pictures)
    return pictures, means if pictures.classes else dataclasses.replace(means, by_class={})


def public_facts(pictures: PublicPictures, folder: str) -> dict[str, Any]:
    """Return what the manifest says of public pictures."""
    return {"path": folder, "pictures": len(pictures), "classes": list(pictures.classes), "sha256": pictures.digest}


def origin(public: Mapping[InputSpec, PublicPictures], folder: str, *, dataset: str, events: bool) -> str:
    """Return where mean image and class means come from, or how they can be had, as a sentence or two.

    Args:
        public: public pictures by what the models take; {} if none were given.
        folder: where they lie, as the user wrote it.
        dataset: the data set that was named; "" for none.
        events: whether the captures' models take recordings of events.
    """
    if dataset:
        return f"The mean image and the mean of each class, as controls, are of the train split of '{dataset}'."
    if not public:
        return (
            f"{_LACKING}{'' if events else _PUBLIC}--set dataset=NAME (the clients' data set, if it is in the table)."
        )
    pictures = next(iter(public.values()))
    done = "; ".join(dict.fromkeys(one.told for one in public.values()))
    if pictures.classes:
        what = f"The mean image and the mean of each class, as controls, are of {len(pictures)} public pictures in "
        return f"{what}{len(pictures.classes)} classes, '{folder}' ({done})."
    return (
        f"The mean image, as a control, is of {len(pictures)} public pictures, '{folder}' ({done}). The mean of each "
        "class is lacking, since the folder has no subfolders: give it one for each class."
    )
