"""The lines of the table for recordings of events. Nothing here imports torch."""

from __future__ import annotations

from fl_sim.datasets.entry import DatasetEntry

RECORDINGS = {
    "digits_dvs": DatasetEntry(
        "fl_sim.datasets.recordings.digits_dvs:load",
        summary="scikit-learn's 1,797 digits seen by a simulated event camera, 28x28 on/off; no download",
        terms="BSD licence of scikit-learn / CC BY 4.0 (UCI); cite Alpaydin and Kaynak 1998",
        events=True,
        source="simulated from `digits`: three saccades of 0.1 s, without noise",
        counts="1,297 train, 500 test (50 per class) recordings",
        shape=(2, 28, 28),
        classes=10,
    ),
    "nmnist": DatasetEntry(
        "fl_sim.datasets.recordings.nmnist:load",
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
        "fl_sim.datasets.recordings.dvs_gesture:load",
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
