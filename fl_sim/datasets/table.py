"""The table of data sets: a new one needs its file and an entry here. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fl_sim.plugins import Table, refuse_place, refuse_switch, refuse_text

if TYPE_CHECKING:
    from fl_sim.datasets.examples import Dataset
    from fl_sim.specs import Framing

Loader: TypeAlias = "Callable[[Path | None, int], Dataset]"
EventLoader: TypeAlias = "Callable[[Path | None, int, Framing], Dataset]"


@dataclass(frozen=True)
class DatasetEntry:
    """A line of the table of data sets.

    Attributes:
        loader: a callable `(root, size) -> Dataset`, with a `Framing` as third argument for recordings of events, or
            its import path ("package.module:name"). `root` is the folder in which to look first or None, `size` the
            side to which images are resized or 0.
        summary: one line for `spikeleak list datasets`.
        terms: the authors' terms as far as known, and the publication to cite.
        events: whether it holds recordings of an event camera.
        people: whether it shows real people; reports then show pictures only on request.
        source: where `spikeleak data fetch` downloads it from, and how that differs from the authors' publication.
        counts: number of examples in each split, described in words if it depends on the files found.
        shape: (C, H, W) of one input at the default size; None if unknown.
        classes: number of labels; 0 if it depends on the files found.
        layouts: files or folders under a root that may hold the data set, the preferred one first; empty if it comes
            with a library.
        constants: name of the data set whose published constants apply to it; "" for its own.
    """

    loader: str | Loader | EventLoader
    summary: str
    terms: str
    events: bool = False
    people: bool = False
    source: str = ""
    counts: str = ""
    shape: tuple[int, int, int] | None = None
    classes: int = 0
    layouts: tuple[str, ...] = ()
    constants: str = ""

    def __post_init__(self) -> None:
        """Validate on construction, so that an invalid entry fails where it is defined."""
        refuse_place(self, "loader")
        refuse_text(self, "summary", "terms")
        refuse_switch(self, "events", "people")


_FACES_TERMS = (
    "free for research with credit to Olivetti Research Laboratory / AT&T Laboratories Cambridge; cite Samaria and "
    "Harter 1994"
)
_FACES_SOURCE = (
    "fetched by scikit-learn: a version of the same 400 images at 64x64, its grey levels stretched, written as PGM "
    "files under 'olivetti_faces'. The original 112x92 PGM files under 'att_faces' are preferred"
)
_FACES_LAYOUTS = ("att_faces", "olivetti_faces")

_OWN = {
    "digits": DatasetEntry(
        "fl_sim.datasets.digits:load",
        summary="1,797 handwritten digits that come with scikit-learn, resized to 28x28; no download",
        terms="BSD licence of scikit-learn / CC BY 4.0 (UCI); cite Alpaydin and Kaynak 1998",
        source="comes with scikit-learn: the test set of the UCI handwritten digits, 8x8 with 17 grey levels",
        counts="1,297 train, 500 test (50 per class)",
        shape=(1, 28, 28),
        classes=10,
    ),
    "mnist": DatasetEntry(
        "fl_sim.datasets.mnist:load",
        summary="70,000 handwritten digits, 28x28 grey",
        terms="copyright Y. LeCun and C. Cortes, usually given as CC BY-SA 3.0; cite LeCun et al. 1998",
        source="fetched by torchvision: the original release, all of it; each file is checked by its hash",
        counts="60,000 train, 10,000 test",
        shape=(1, 28, 28),
        classes=10,
        layouts=("MNIST/raw",),
    ),
    "cifar100": DatasetEntry(
        "fl_sim.datasets.cifar100:load",
        summary="60,000 colour photographs of 100 kinds of things, 32x32",
        terms="no licence stated; cite Krizhevsky 2009, 'Learning Multiple Layers of Features from Tiny Images'",
        source="fetched by torchvision: the original release, all of it, checked by its hashes. A subset in two .npz "
        "files (images, fine_labels, label_names) is also read, with its own split",
        counts="50,000 train, 10,000 test; fewer if an .npz subset is found",
        shape=(3, 32, 32),
        classes=100,
        layouts=("cifar-100-python", "CIFAR100"),
    ),
    "lfw": DatasetEntry(
        "fl_sim.datasets.lfw:load",
        summary="Labeled Faces in the Wild: press photographs of named people, resized to 32x32 colour",
        terms="published for research, no licence on the photographs themselves; cite Huang et al. 2007, and Huang, "
        "Mattar, Lee and Learned-Miller 2012 for the deep-funneled version",
        people=True,
        source="fetched by scikit-learn: the funneled version of 2007 (13,233 images of 5,749 people). A folder "
        "'lfw/<Person>/<Person>_NNNN.jpg' of any version or subset is also read",
        counts="of each person the last fifth of the images is for test, at least one of two; the people depend on "
        "the folder found",
        shape=(3, 32, 32),
        layouts=("lfw", "lfw_home/lfw_funneled"),
    ),
    "att_faces": DatasetEntry(
        "fl_sim.datasets.att_faces:load",
        summary="AT&T (ORL, Olivetti) faces: 40 subjects x 10 grey images, resized to 32x32; size 112 for 112x92",
        terms=_FACES_TERMS,
        people=True,
        source=_FACES_SOURCE,
        counts="320 train (images 1 to 8 of each subject), 80 test (9 and 10)",
        shape=(1, 32, 32),
        classes=40,
        layouts=_FACES_LAYOUTS,
    ),
    "att_faces_8_9": DatasetEntry(
        "fl_sim.datasets.att_faces:load_8_9",
        summary="the AT&T faces with the split of BrainLeaks' authors, 112x92; any size but 112 for squares",
        terms=_FACES_TERMS,
        people=True,
        source=f"{_FACES_SOURCE}; the default size needs them",
        counts="320 train, 80 test (images 8 and 9 of each subject); classes in the order of text: s1, s10, s11, ...",
        shape=(1, 112, 92),
        classes=40,
        layouts=_FACES_LAYOUTS,
        constants="att_faces",
    ),
    "digits_dvs": DatasetEntry(
        "fl_sim.datasets.digits_dvs:load",
        summary="scikit-learn's 1,797 digits seen by a simulated event camera, 28x28 on/off; no download",
        terms="BSD licence of scikit-learn / CC BY 4.0 (UCI); cite Alpaydin and Kaynak 1998",
        events=True,
        source="simulated from `digits`: three saccades of 0.1 s, without noise",
        counts="1,297 train, 500 test (50 per class) recordings",
        shape=(2, 28, 28),
        classes=10,
    ),
    "nmnist": DatasetEntry(
        "fl_sim.datasets.nmnist:load",
        summary="N-MNIST: 70,000 recordings of MNIST on a screen by a moving event camera, 34x34 on/off",
        terms="CC BY-SA 4.0; cite Orchard et al. 2015",
        events=True,
        source="fetched by tonic: the original release, all of it, its archives checked by their hashes. A subset in "
        "a zip 'NMNIST/Train/<digit>/<number>.bin' is also read",
        counts="60,000 train, 10,000 test recordings; fewer if a subset is found",
        shape=(2, 34, 34),
        classes=10,
        layouts=("NMNIST", "NMNIST.zip"),
    ),
    "dvs_gesture": DatasetEntry(
        "fl_sim.datasets.dvs_gesture:load",
        summary="DVS128 Gesture: recordings of 11 gestures of 29 people by an event camera, 128x128 on/off",
        terms="CC BY 4.0; cite Amir et al. 2017",
        events=True,
        source="fetched by tonic: the authors' recordings, cut by gesture, archives checked by their hashes. A subset "
        "in a zip 'DVSGesture/ibmGestureTrain/user<number>_<light>/<class>.npy' is also read",
        counts="as many as there are files, split by person. A subset with one recording per class is split by "
        "recording, classes 8 and above for test: the splits share no class, so held-out accuracy is 0 by construction",
        shape=(2, 128, 128),
        classes=11,
        layouts=("DVSGesture", "DVSGesture.zip"),
    ),
}
DATASETS = Table("spikeleak.datasets", DatasetEntry, _OWN)


def constants_of(name: str) -> str:
    """Return the data set whose published constants apply to the data set `name`: itself unless its entry names one."""
    return (DATASETS[name].constants if name in DATASETS else "") or name
