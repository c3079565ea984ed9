"""The lines of the table for data sets of still images. Nothing here imports torch."""

from __future__ import annotations

from fl_sim.datasets.entry import DatasetEntry

_FACES_TERMS = (
    "free for research with credit to Olivetti Research Laboratory / AT&T Laboratories Cambridge; cite Samaria and "
    "Harter 1994"
)
_FACES_SOURCE = (
    "fetched by scikit-learn: a version of the same 400 images at 64x64, its grey levels stretched, written as PGM "
    "files under 'olivetti_faces'. The original 112x92 PGM files under 'att_faces' are preferred"
)
_FACES_LAYOUTS = ("att_faces", "olivetti_faces")

IMAGES = {
    "digits": DatasetEntry(
        "fl_sim.datasets.images.digits:load",
        summary="1,797 handwritten digits that come with scikit-learn, resized to 28x28; no download",
        terms="BSD licence of scikit-learn / CC BY 4.0 (UCI); cite Alpaydin and Kaynak 1998",
        source="comes with scikit-learn: the test set of the UCI handwritten digits, 8x8 with 17 grey levels",
        counts="1,297 train, 500 test (50 per class)",
        shape=(1, 28, 28),
        classes=10,
    ),
    "mnist": DatasetEntry(
        "fl_sim.datasets.images.mnist:load",
        summary="70,000 handwritten digits, 28x28 grey",
        terms="copyright Y. LeCun and C. Cortes, usually given as CC BY-SA 3.0; cite LeCun et al. 1998",
        source="fetched by torchvision: the original release, all of it; each file is checked by its hash",
        counts="60,000 train, 10,000 test",
        shape=(1, 28, 28),
        classes=10,
        layouts=("MNIST/raw",),
    ),
    "fashion_mnist": DatasetEntry(
        "fl_sim.datasets.images.mnist:load_fashion",
        summary="70,000 articles of clothing of 10 kinds, 28x28 grey",
        terms="MIT; cite Xiao, Rasul and Vollgraf 2017",
        source="fetched by torchvision: the original release, all of it; each compressed file is checked by its hash",
        counts="60,000 train, 10,000 test",
        shape=(1, 28, 28),
        classes=10,
        layouts=("FashionMNIST/raw",),
    ),
    "cifar10": DatasetEntry(
        "fl_sim.datasets.images.cifar10:load",
        summary="60,000 colour photographs of 10 kinds of things, 32x32",
        terms="no licence stated; cite Krizhevsky 2009, 'Learning Multiple Layers of Features from Tiny Images'",
        source="fetched by torchvision: the original release, all of it, checked by its hashes",
        counts="50,000 train, 10,000 test",
        shape=(3, 32, 32),
        classes=10,
        layouts=("cifar-10-batches-py",),
    ),
    "cifar100": DatasetEntry(
        "fl_sim.datasets.images.cifar100:load",
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
        "fl_sim.datasets.images.lfw:load",
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
        "fl_sim.datasets.images.att_faces:load",
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
        "fl_sim.datasets.images.att_faces:load_8_9",
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
}
