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
        source="fetched by tonic: the original release, all of it, its archives checked by their hashes. Also read: "
        "its two archives as they are (Train.zip, Test.zip), a part of it in a zip "
        "'NMNIST/Train/<digit>/<number>.bin', and SpikingJelly's folder events_np",
        counts="60,000 train, 10,000 test recordings; fewer if a subset is found",
        shape=(2, 34, 34),
        classes=10,
        layouts=(
            "NMNIST",
            "NMNIST.zip",
            "N-MNIST",
            "N-MNIST.zip",
            "Train",
            "Train.zip",
            "train.zip",
            "events_np",
        ),
    ),
    "dvs_gesture": DatasetEntry(
        "fl_sim.datasets.recordings.dvs_gesture:load",
        summary="DVS128 Gesture: recordings of 11 gestures of 29 people by an event camera, 128x128 on/off",
        terms="CC BY 4.0; cite Amir et al. 2017",
        events=True,
        source="fetched by tonic: the authors' recordings, cut by gesture, archives checked by their hashes. Also "
        "read: a part in a zip 'DVSGesture/ibmGestureTrain/user<number>_<light>/<class>.npy', the authors' own folder "
        "(trials_to_train.txt, user01_led.aedat, user01_led_labels.csv), and SpikingJelly's folder events_np",
        counts="as many as there are files, split by person. A subset with one recording per class is split by "
        "recording, classes 8 and above for test: the splits share no class, so held-out accuracy is 0 by construction",
        shape=(2, 128, 128),
        classes=11,
        layouts=(
            "DVSGesture",
            "DVSGesture.zip",
            "DVS128Gesture",
            "DvsGesture",
            "ibmGestureTrain",
            "events_np",
            "trials_to_train.txt",
        ),
    ),
    "cifar10_dvs": DatasetEntry(
        "fl_sim.datasets.recordings.cifar10_dvs:load",
        summary="CIFAR10-DVS: 10,000 pictures of CIFAR-10 moved before an event camera, 128x128 on/off",
        terms="CC BY 4.0; cite Li et al. 2017",
        events=True,
        source="the authors' ten archives (AEDAT 2) or those of tonic's copy (AEDAT 4) in one folder, as they are or "
        "unpacked, or SpikingJelly's folder events_np",
        by_hand="figshare (the authors' airplane.zip to truck.zip)",
        counts="9,000 train, 1,000 test: the original has no split, and the last tenth of each class is for test",
        shape=(2, 128, 128),
        classes=10,
        layouts=("CIFAR10DVS", "CIFAR10DVS.zip", "CIFAR10-DVS", "airplane", "airplane.zip", "events_np"),
    ),
    "ncars": DatasetEntry(
        "fl_sim.datasets.recordings.ncars:load",
        summary="N-CARS: 24,029 recordings of 0.1 s of cars and of background by an event camera, 120x120 on/off",
        terms="published by Prophesee for research; ask there for the licence; cite Sironi et al. 2018",
        events=True,
        source="Prophesee's archive, unpacked once: n-cars_train and n-cars_test, as folders or zips",
        by_hand="Prophesee",
        counts="15,422 train, 8,607 test recordings; fewer if a part is found",
        shape=(2, 120, 120),
        classes=2,
        layouts=(
            "N-CARS",
            "N-CARS.zip",
            "NCARS",
            "n-cars",
            "Prophesee_Dataset_n_cars",
            "n-cars_train",
            "n-cars_train.zip",
        ),
    ),
    "shd": DatasetEntry(
        "fl_sim.datasets.recordings.shd:load",
        summary="Spiking Heidelberg Digits: 10,420 spoken digits as spikes of 700 channels, on a square of 27x27",
        terms="CC BY 4.0; cite Cramer et al. 2020",
        events=True,
        source="fetched by tonic: the original release, all of it, its archives checked by their hashes. The files "
        "shd_train.h5 and shd_test.h5 are also read in their zips",
        counts="8,156 train, 2,264 test recordings",
        shape=(1, 27, 27),
        classes=20,
        layouts=("SHD", "shd_train.h5", "shd_train.h5.zip"),
    ),
}
