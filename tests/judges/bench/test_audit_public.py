"""Public pictures give an audit the controls that need other examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fl_sim.captures import CaptureStore, SealedStore
from fl_sim.errors import ConfigError, DataError
from fl_sim.models import build_model
from fl_sim.records import InputSpec, ModelSpec, SealedBatch
from fl_sim.specs import SpikingSpec
from fl_sim.training import capture_gradient, parameters_of
from judges.cli import app
from judges.plans.audit import read_audit
from judges.runs.manifest import read_manifest
from judges.runs.rows import read_scores
from tests.judges.bench.test_audit import audit, leave_captures

SIGNED = ModelSpec("lenet", InputSpec(channels=1, height=8, width=8, classes=4, low=-1.0))


def pictures(
    folder: Path, names: tuple[str, ...] = ("b", "d", "a", "c"), size: tuple[int, int] = (8, 8)
) -> dict[str, npt.NDArray[np.uint8]]:
    """Write two or three pictures a class, and return them, (n, H, W) by class; a class of "" is the folder itself."""
    found = {}
    for place, name in enumerate(names):
        count = 2 + place % 2
        (folder / name).mkdir(parents=True, exist_ok=True)
        found[name] = np.random.default_rng(place).integers(0, 256, (count, *size), dtype=np.uint8)
        for number, pixels in enumerate(found[name]):
            Image.fromarray(pixels).save(folder / name / f"{number}.{('png', 'bmp')[number % 2]}")
    return found


def mses(folder: Path, control: str) -> dict[str, float]:
    return {row.capture_id: row.mse for row in read_scores(folder / "scores.csv") if row.control == control}


def test_the_means_of_public_pictures_are_scored_as_controls(tmp_path: Path) -> None:
    leave_captures(tmp_path / "mine", sealed=3, spec=SIGNED)
    held = pictures(tmp_path / "public")
    (tmp_path / "public" / "a" / ".hidden").write_bytes(b"no picture")
    (tmp_path / "public" / "a" / "notes.txt").write_text("no picture either")
    audit(tmp_path / "mine", "attack.iterations=0", f"public={tmp_path / 'public'}")
    scaled = {name: 2.0 * images.astype(np.float64) / 255.0 - 1.0 for name, images in held.items()}
    overall = np.concatenate(list(scaled.values())).mean(0)
    of_class, of_all = mses(tmp_path / "mine", "class mean"), mses(tmp_path / "mine", "mean image")
    for truth in SealedStore(tmp_path / "mine" / "sealed"):
        own = scaled["abcd"[int(truth.labels)]].mean(0)  # sorted names are the labels
        for found, mean in ((of_class, own), (of_all, overall)):
            error = float(np.square(truth.inputs.numpy()[0, 0] - mean).mean())
            assert found.pop(truth.capture_id) == pytest.approx(error, rel=1e-5)
    assert of_class == of_all == {}
    manifest = read_manifest(tmp_path / "mine")
    assert (manifest["public"]["pictures"], manifest["public"]["classes"]) == (10, ["a", "b", "c", "d"])
    assert manifest["public"]["path"] == str(tmp_path / "public")
    told = f"of 10 public pictures in 4 classes, '{tmp_path / 'public'}' (0 to 255 mapped to [-1, 1])."
    assert manifest["controls"].endswith(told)
    assert "of 10 public pictures in 4 classes" in (tmp_path / "mine" / "report.html").read_text()


def test_whole_numbers_are_labels_and_pictures_are_made_to_fit(tmp_path: Path) -> None:
    spec = ModelSpec("lenet", InputSpec(channels=3, height=8, width=8, classes=12))
    inputs, labels = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10])
    capture = capture_gradient(spec, parameters_of(build_model(spec, seed=1)), inputs, labels)
    CaptureStore(tmp_path / "mine" / "captures")(capture)
    SealedStore(tmp_path / "mine" / "sealed")(SealedBatch(capture.id, inputs, labels))
    held = pictures(tmp_path / "public", tuple(map(str, range(12))), size=(16, 16))
    audit(tmp_path / "mine", "attack.iterations=0", f"public={tmp_path / 'public'}")
    small = [np.asarray(Image.fromarray(one).resize((8, 8), Image.Resampling.BILINEAR)) for one in held["10"]]
    mean = np.stack(small).astype(np.float64).mean(0) / 255.0
    error = float(np.square(inputs.numpy()[0] - mean).mean())
    assert mses(tmp_path / "mine", "class mean") == {capture.id: pytest.approx(error, rel=1e-5)}
    told = "(converted from grey to RGB, resized from 16x16 to 8x8 (height x width), 0 to 255 mapped to [0, 1])"
    assert told in read_manifest(tmp_path / "mine")["controls"]


def test_pictures_without_classes_give_the_mean_image_only(tmp_path: Path) -> None:
    leave_captures(tmp_path / "mine", sealed=1, count=1)
    mean = pictures(tmp_path / "public", ("",))[""].astype(np.float64).mean(0) / 255.0
    audit(tmp_path / "mine", "attack.iterations=0", f"public={tmp_path / 'public'}")
    (truth,) = SealedStore(tmp_path / "mine" / "sealed")
    error = float(np.square(truth.inputs.numpy()[0, 0] - mean).mean())
    assert mses(tmp_path / "mine", "mean image") == {truth.capture_id: pytest.approx(error, rel=1e-5)}
    assert mses(tmp_path / "mine", "class mean") == {}
    assert "The mean of each class is lacking" in read_manifest(tmp_path / "mine")["controls"]


def test_without_public_pictures_the_report_says_which_controls_are_lacking(tmp_path: Path) -> None:
    leave_captures(tmp_path, sealed=1, count=1)
    page = audit(tmp_path, "attack.iterations=0").read_text()
    assert "Two controls are lacking, the mean image and the mean of each class" in page
    assert "--public FOLDER (public pictures of the same kind" in page
    assert "public" not in read_manifest(tmp_path)


def test_other_pictures_at_the_same_place_are_noticed(tmp_path: Path) -> None:
    leave_captures(tmp_path / "mine", sealed=1, count=1)
    pictures(tmp_path / "public")
    command = ["audit", str(tmp_path / "mine"), "--public", str(tmp_path / "public")]
    command += ["--set", "attack=idlg", "--set", "attack.iterations=0", "--set", "checks=0"]
    found, told = [], []
    for _ in range(2):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        told.append("are others than those of the audit before" in " ".join(done.output.split()))
        found.append(mses(tmp_path / "mine", "class mean"))
        (tmp_path / "public" / "a" / "0.png").unlink(missing_ok=True)
    assert told == [False, True]
    assert found[0] != found[1]


def _one_class_less(folder: Path) -> None:
    pictures(folder, ("a", "b", "c"))


def _from_one(folder: Path) -> None:
    pictures(folder, ("1", "2", "3", "4"))


def _truncated(folder: Path) -> None:
    pictures(folder)
    path = folder / "c" / "0.png"
    path.write_bytes(path.read_bytes()[:60])


def _a_web_page(folder: Path) -> None:
    pictures(folder)
    (folder / "d" / "0.png").write_text("<html>not found</html>")


def _deep(folder: Path) -> None:
    pictures(folder)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(folder / "a" / "0.png")


def _an_empty_class(folder: Path) -> None:
    pictures(folder)
    for path in (folder / "b").iterdir():
        path.unlink()


def _too_deep(folder: Path) -> None:
    for place in ("train", "test", "val", "more"):
        pictures(folder / place)


def _both(folder: Path) -> None:
    pictures(folder)
    pictures(folder, ("",))


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: folder, "but there is no such folder"),
    "empty": (lambda folder: folder.mkdir(), "but it holds no picture, it is empty"),
    "no picture": (lambda folder: (folder / "a").mkdir(parents=True), "the model has 4 classes and the folder 1"),
    "one class less": (_one_class_less, r"the model has 4 classes and the folder 3 subfolders \(a, b, c\)"),
    "from one": (_from_one, r"whole numbers, but not the labels 0 to 3 \(1, 2, 3, 4\)"),
    "an empty class": (_an_empty_class, "its subfolder 'b' holds no picture, it is empty"),
    "too deep": (_too_deep, r"its subfolder '\w+' holds no picture \(its first entry is 'a'\)\. Did you mean '.*'\?"),
    "both": (_both, r"it holds 4 subfolders \('a'\) and 2 pictures \('0.png'\)"),
    "truncated": (_truncated, r"c/0.png: expected a picture that Pillow reads, found 60 bytes .* cannot be decoded"),
    "a web page": (_a_web_page, r"d/0.png: .* begin with '<html>not found</html>' and .*not of that format"),
    "16 bits": (_deep, r"a/0.png: expected a picture of 8 bits a channel, found Pillow's mode I"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_cannot_be_meant_is_refused_before_anything_is_computed(case: str, tmp_path: Path) -> None:
    leave, reason = FOLDERS[case]
    leave_captures(tmp_path / "mine", sealed=1, count=1)
    leave(tmp_path / "public")
    with pytest.raises(DataError) as caught:
        audit(tmp_path / "mine", f"public={tmp_path / 'public'}")
    assert re.search(reason, str(caught.value)), str(caught.value)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["captures", "sealed"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (InputSpec(2, 16, 16, 4, timesteps=2), "takes recordings of events"),
        (InputSpec(2, 8, 8, 4), "2 channels"),
    ],
)
def test_inputs_that_are_no_pictures_are_refused_with_the_reason(spec: InputSpec, reason: str, tmp_path: Path) -> None:
    steps = (spec.timesteps,) if spec.timesteps else ()
    neurons = SpikingSpec(timesteps=2) if steps else None
    model = ModelSpec("spiking_mlp" if steps else "mlp", spec, spiking=neurons, hidden=4)
    pictures(tmp_path / "public")
    capture = capture_gradient(
        model, parameters_of(build_model(model, seed=0)), torch.rand(*steps, 1, *spec.frame), torch.tensor([1])
    )
    CaptureStore(tmp_path / "mine" / "captures")(capture)
    with pytest.raises(ConfigError, match=f"^public: the captures' model takes .*{reason.split()[-1]}"):
        audit(tmp_path / "mine", f"public={tmp_path / 'public'}")


def test_a_data_set_and_public_pictures_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^public: .* 'digits' or from 'somewhere', not from both"):
        read_audit(["dataset=digits"], public="somewhere")
