"""A data set of pictures from Hugging Face, as it was fetched, or as `datasets` saved it to a folder."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fl_sim.datasets.examples import Dataset
from fl_sim.datasets.locations import HF_PREFIX, cache_folder, huggingface_folder
from fl_sim.datasets.own.arrays import classes_of, refuse
from fl_sim.datasets.own.forms import TRAIN, Stored, chosen_splits, form_of, pixels_in
from fl_sim.datasets.own.splitting import both_splits
from fl_sim.datasets.reading.files import PICTURE
from fl_sim.datasets.reading.images import Labelled, assemble
from fl_sim.datasets.reading.integrity import corrupt, read_bytes
from fl_sim.errors import ConfigError, DataError
from fl_sim.extras import HUGGINGFACE, require
from fl_sim.specs import OwnData

LABELS = ("label", "labels", "fine_label")
"""Names of the column of labels where several columns are labels."""

_WHAT = "a data set with a column of pictures and one of labels"
_ONE_SPLIT = "all"


class Columns(NamedTuple):
    """Names of the columns of pictures and of labels, and those of the classes, if the data say them."""

    pictures: str
    labels: str
    names: tuple[str, ...]


def load(root: Path | None, size: int, own: OwnData) -> Dataset:
    """Return a data set of Hugging Face; nothing is downloaded, see `fetch`.

    The column of pictures is the only one of the type Image. That of labels is the only one of the type ClassLabel,
    called label, labels or fine_label if there are several, or else whole numbers or texts of such a name. The splits
    are train and test, or validation where there is no test.

    Args:
        root: the name of the data set, such as hf:ylecun/mnist, or a folder to which `datasets` saved one.
        size: side in pixels of the square to which the whole picture is resized; 0 for the pictures' common size.
        own: how much is for test, where there is one split; see `split_by_name`.

    Raises:
        ConfigError: there is no root, the extra is not installed, or no size is set and the pictures have several.
        DataError: it was not fetched, is damaged, or holds no pictures with labels.
    """
    require(HUGGINGFACE, "dataset.name: 'huggingface'")
    if root is None:
        raise ConfigError(
            "dataset.root: 'huggingface' needs the name of a data set, --set dataset.root=hf:OWNER/NAME, or a folder."
        )
    return read(huggingface_folder(root), size, own, called=str(root))


def read(where: Path, size: int, own: OwnData | None = None, *, called: str = "") -> Dataset:
    """Return a data set from the folder to which `datasets` saved it; see `load`."""
    splits = _splits(where, called or str(where))
    columns = _columns(where, next(iter(splits.values())))
    stored = {name: _pictures(where, name, split, columns) for name, split in splits.items()}
    labels = [np.array(split[columns.labels]) for split in splits.values()]
    names = np.array(columns.names) if columns.names else None
    classes = classes_of(labels, names, where)
    form = form_of(where, [picture for part in stored.values() for picture in part], size)
    pairs = zip(stored.values(), classes.labels, strict=True)
    labelled = [Labelled(pixels_in(form, pictures), numbers) for pictures, numbers in pairs]
    places = [f"{name}/{index}" for name, split in splits.items() for index in range(len(split))]
    train, test, how = both_splits(labelled, places, own or OwnData())
    told = f"{len(places):,} pictures with no hash to verify them by{form.told}"
    how = how or f"its own split ({' and '.join(splits)})"
    source = f"{where}: {told}; {how}"
    return assemble("huggingface", train=train, test=test, class_names=classes.names, source=source)


def fetch(name: str, folder: Path) -> None:
    """Download a data set of Hugging Face and save it to a folder; no code of the data set is run.

    Args:
        name: such as "ylecun/mnist".
        folder: where it is saved.

    Raises:
        ConfigError: the extra is not installed.
        OSError, ValueError: the network failed, there is no such data set, or it needs more than its name.
    """
    require(HUGGINGFACE, f"data fetch hf:{name}")
    import datasets

    datasets.load_dataset(name).save_to_disk(str(folder))


def _splits(where: Path, called: str) -> Mapping[str, Any]:
    """Return the train and the test split, or the only split, of a saved data set."""
    import datasets

    if not where.is_dir():
        fetched = f" Fetch it with `spikeleak data fetch {HF_PREFIX}{called.removeprefix(HF_PREFIX)}`."
        how = fetched if where.is_relative_to(cache_folder()) else ""
        raise DataError(
            f"dataset.root: the data set '{called}' was not found at {where}: expected a folder that `datasets` saved."
            f"{how}"
        )
    try:
        held = datasets.load_from_disk(str(where))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise corrupt(where, "a folder that `datasets` saved", f"that it cannot be read ({reason})") from error
    if not isinstance(held, Mapping):
        return {_ONE_SPLIT: held}
    chosen = chosen_splits(held)
    if not chosen or chosen[0] not in TRAIN:
        if len(held) != 1:
            raise refuse(where, "the splits train and test (or validation), or one split", ", ".join(held) or "none")
        chosen = [*held]
    return {name: held[name] for name in chosen}


def _columns(where: Path, split: Any) -> Columns:  # noqa: ANN401 - datasets is not always installed
    import datasets

    kinds = dict(split.features)
    pictures = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    if len(labels) != 1:
        labels = [name for name in LABELS if name in kinds][:1]
    if len(pictures) != 1 or not labels or not len(split):
        shown = ", ".join(f"{name} ({type(kind).__name__})" for name, kind in kinds.items())
        raise refuse(where, _WHAT, f"{len(split):,} rows of {shown}")
    return Columns(pictures[0], labels[0], tuple(getattr(kinds[labels[0]], "names", None) or ()))


def _pictures(where: Path, name: str, split: Any, columns: Columns) -> list[Stored]:  # noqa: ANN401 - as above
    """Return the pictures of a split, which are decoded by this package and not by `datasets`."""
    import datasets

    stored = split.cast_column(columns.pictures, datasets.Image(decode=False))

    def content(index: int) -> bytes:
        picture = stored[index][columns.pictures]
        if picture and picture["bytes"]:
            return bytes(picture["bytes"])
        if picture and picture["path"]:
            return read_bytes(Path(picture["path"]), PICTURE)
        raise refuse(where / name / str(index), PICTURE, "nothing")

    return [Stored(where / name / str(index), functools.partial(content, index)) for index in range(len(stored))]
