"""What TensorBoard and MLflow read of an exported run, by their own readers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.settings import IDLGSettings
from judges.bench.gradient_inversion.added import attack_run
from judges.export.cells import Export, ExportedCell, read_export
from judges.export.trackers import CELL_TAG, DIGEST_TAG, log_mlflow, write_tensorboard
from judges.runs.names import attack_name
from judges.runs.pictures import ANSWER, TRUTH, load_pictures
from judges.summaries.gradient_inversion import read_summary
from judges.summaries.model_inversion import read_inversions
from tests.judges.bench.test_gradient_inversion import quiet, run
from tests.judges.bench.test_model_inversion import RAW as INVERTED
from tests.judges.bench.test_model_inversion import run as run_inversion

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning"),
]  # of MLflow's tables

RAW: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits", "split": "test", "size": 12},
    "model": "lenet",
    "federation": {"clients": 2},
    "attack": {"name": ["dlg", "idlg"], "iterations": 2},
    "judge": "none",
}
CELL = "digits-lenet-uniform/idlg"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two attacks in the config and one that was added."""
    folder = tmp_path_factory.mktemp("exports") / "tiny"
    run(folder, RAW)
    attack_run(folder, ["attack=idlg", "attack.iterations=1"], quiet())
    return folder


@pytest.fixture(scope="module")
def inverted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "inverted"
    run_inversion(folder, {**INVERTED, "model": {**INVERTED["model"], "name": "mlp"}})
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "tiny"))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Return the address of an empty store of MLflow, where that is installed."""
    pytest.importorskip("mlflow")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def boards(folder: Path) -> dict[str, Any]:
    """Return TensorBoard's own reader of each folder of events."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = {}
    for path in sorted({path.parent for path in folder.rglob("*.tfevents.*")}):
        found[path.relative_to(folder).as_posix()] = accumulator.EventAccumulator(
            str(path), size_guidance={"scalars": 0, "images": 0, "tensors": 0}
        ).Reload()
    return found


def scalars(board: Any) -> dict[str, list[tuple[int, Any]]]:
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def settings_in(board: Any) -> dict[str, Any]:
    """Return the hyperparameters that TensorBoard's page of them shows."""
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    content = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    given = plugin.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}


def runs_in(uri: str, name: str) -> dict[str, Any]:
    """Return MLflow's runs of an experiment by their names, with its own client."""
    client = pytest.importorskip("mlflow.tracking").MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert len(found) == len({one.info.run_name for one in found})
    return {one.info.run_name: one for one in found}


def altered(folder: Path) -> None:
    """Change a number of the run's summary and drop its last cell."""
    path = folder / "summary.json"
    told = json.loads(path.read_text())
    (cell,) = [cell for cell in told["cells"] if cell["cell"] == CELL]
    cell["ssim"]["mean"] = 0.125
    told["cells"] = told["cells"][:-1]
    path.write_text(json.dumps(told))


def test_tensorboard_reads_the_numbers_of_each_cell(finished: Path, tmp_path: Path) -> None:
    write_tensorboard(read_export(finished), tmp_path)
    found, summary = boards(tmp_path), read_summary(finished / "summary.json")
    assert len(found) == len(summary.cells) == 3 + 5 + 3  # each attack has a control of its own
    for cell in summary.cells:
        place = cell.cell.replace(": ", "__").replace(" ", "_")
        told = {name.partition("/")[2]: values for name, values in scalars(found[place]).items() if "score/" in name}
        for name in ("ssim", "psnr_db", "mse", "l2"):
            assert told[name] == [(0, pytest.approx(getattr(cell, name).mean))]
        assert cell.recognisable is not None
        assert told["recognisable"] == [(0, pytest.approx(cell.recognisable.share))]
        assert told["diverged"] == [(0, cell.diverged)]
        assert told["victims"] == [(0, 2)]
        assert "asr" not in told  # there was no judge
        settings = settings_in(found[place])
        assert (settings["dataset"], settings["model"], settings["init"]) == ("digits", "lenet", "uniform")
        assert (settings["defence"], settings["attack"]) == ("none", attack_name(cell))
        texts = {
            tag: found[place].Tensors(tag)[0].tensor_proto.string_val[0].decode()
            for tag in ("verdict/text_summary", "reason/text_summary")
        }
        assert texts == {"verdict/text_summary": cell.verdict, "reason/text_summary": cell.reason}


def test_tensorboard_reads_the_settings_of_each_attack(finished: Path, tmp_path: Path) -> None:
    write_tensorboard(read_export(finished), tmp_path)
    found = {place: settings_in(board) for place, board in boards(tmp_path).items()}
    assert found[CELL]["attack.iterations"] == 2
    assert found[CELL]["attack.label_rule"] == IDLGSettings().label_rule  # which the config did not tell
    assert found[CELL]["federation.clients"] == 2
    assert found[CELL]["model.name"] == "lenet"
    assert "attack.label_rule" not in found["digits-lenet-uniform/dlg"]
    (added,) = [place for place in found if place.startswith(CELL) and place != CELL]
    assert found[added]["attack.iterations"] == 1
    assert found[added]["federation.clients"] == 2


def test_tensorboard_reads_pictures_and_loss_curves(finished: Path, tmp_path: Path) -> None:
    write_tensorboard(read_export(finished), tmp_path)
    board = boards(tmp_path)[CELL]
    (gallery,) = [one for one in load_pictures(finished / "gallery") if one.cell == CELL]
    assert board.Tags()["images"] == sorted(f"gallery/{role}" for role in gallery.roles)
    for at, role in enumerate(gallery.roles):
        (event,) = board.Images(f"gallery/{role}")
        picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        factor = picture.shape[0] // 12
        for shown, true in (
            (picture[:, : 12 * factor], gallery.images[TRUTH]),
            (picture[:, -12 * factor :], gallery.images[ANSWER]),
        ):
            pixels = torch.from_numpy(shown[::factor, ::factor, 0].copy()) / 255
            assert float((pixels - true[at, 0].clamp(0, 1)).abs().max()) <= 0.5 / 255 + 1e-6
    curves = {tag: values for tag, values in scalars(board).items() if tag.startswith("loss/")}
    assert len(curves) == len(gallery.loss_curves) == 2
    for number, curve in enumerate(gallery.loss_curves.tolist()):
        expected = [(step, pytest.approx(loss)) for step, loss in enumerate(curve) if loss == loss]
        assert curves[f"loss/{number:02d}"] == expected


def test_a_model_inversion_is_read_by_both(inverted: Path, tmp_path: Path, uri: str) -> None:
    export, summary = read_export(inverted), read_inversions(inverted / "summary.json")
    write_tensorboard(export, tmp_path / "board")
    board = boards(tmp_path / "board")["digits-mlp-torch/mi_face"]
    (cell,) = [cell for cell in summary.cells if not cell.control]
    told = scalars(board)
    assert told["score/attack_accuracy"] == [(cell.round, pytest.approx(cell.scores.mean.attack_accuracy))]
    assert told["score/target_confidence"] == [(cell.round, pytest.approx(cell.target_confidence))]
    settings = settings_in(board)
    assert (settings["attack.iterations"], settings["model.hidden"], settings["training.epochs"]) == (3, 24, 1)
    assert "attack.learning_rate" in settings
    (album,) = load_pictures(inverted / "gallery")
    assert board.Tags()["images"] == sorted(f"gallery/{name} {name}" for name in album.subjects)
    assert len(album.subjects) == 10
    log_mlflow(export, uri)
    runs = runs_in(uri, "inverted")
    assert set(runs) == {cell.name for cell in export.cells}
    assert len(runs) == len(summary.cells)
    assert runs["digits-mlp-torch/mi_face"].data.metrics["daa"] == pytest.approx(cell.scores.mean.daa)


def test_pictures_of_people_are_exported_on_request_only(folder: Path, tmp_path: Path) -> None:
    path = folder / "manifest.json"
    told = json.loads(path.read_text())
    told["datasets"]["digits"]["people"] = True
    path.write_text(json.dumps(told))
    write_tensorboard(read_export(folder), tmp_path / "hidden")
    assert all(not board.Tags()["images"] for board in boards(tmp_path / "hidden").values())
    write_tensorboard(read_export(folder, show_faces=True), tmp_path / "shown")
    assert boards(tmp_path / "shown")[CELL].Tags()["images"]


def test_an_export_to_tensorboard_takes_the_place_of_the_one_before(folder: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    (board / CELL).mkdir(parents=True)
    (board / CELL / "events.out.tfevents.1.theirs").touch()
    write_tensorboard(read_export(folder), board)
    before = {place: scalars(one) for place, one in boards(board).items()}
    write_tensorboard(read_export(folder), board)
    assert {place: scalars(one) for place, one in boards(board).items()} == before
    assert len(list(board.rglob("*.spikeleak"))) == len(before) == 11
    altered(folder)
    write_tensorboard(read_export(folder), board)
    after = {place: scalars(one) for place, one in boards(board).items()}
    assert after[CELL]["score/ssim"] == [(0, 0.125)]
    assert len(after) == len([path for path in board.glob("*/*") if path.is_dir()]) == 10
    assert (board / CELL / "events.out.tfevents.1.theirs").is_file()


def test_mlflow_reads_settings_numbers_and_versions(finished: Path, uri: str) -> None:
    log_mlflow(read_export(finished), uri)
    runs, summary = runs_in(uri, "tiny"), read_summary(finished / "summary.json")
    assert len(runs) == len(summary.cells)
    (cell,) = [cell for cell in summary.cells if cell.cell == CELL]
    found = runs[CELL]
    assert found.info.status == "FINISHED"
    assert cell.ssim is not None
    assert cell.recognisable is not None
    assert found.data.metrics["ssim"] == cell.ssim.mean
    assert found.data.metrics["recognisable"] == cell.recognisable.share
    assert found.data.params["attack.iterations"] == "2"
    assert found.data.params["federation.clients"] == "2"
    manifest = json.loads((finished / "manifest.json").read_text())
    assert {name: found.data.tags[f"version.{name}"] for name in manifest["versions"]} == manifest["versions"]
    assert found.data.tags["git_commit"] == manifest["git_commit"]
    assert found.data.tags["verdict"] == cell.verdict


def test_an_export_to_mlflow_takes_the_place_of_the_one_before(folder: Path, uri: str) -> None:
    log_mlflow(read_export(folder), uri)
    before = {name: one.info.run_id for name, one in runs_in(uri, "tiny").items()}
    client = pytest.importorskip("mlflow.tracking").MlflowClient(uri)
    theirs = client.create_run(client.get_experiment_by_name("tiny").experiment_id, run_name="theirs").info.run_id
    log_mlflow(read_export(folder), uri)
    assert {name: one.info.run_id for name, one in runs_in(uri, "tiny").items()} == {**before, "theirs": theirs}
    client.delete_tag(before[CELL], DIGEST_TAG)  # as where the export was interrupted
    log_mlflow(read_export(folder), uri)
    again = {name: one.info.run_id for name, one in runs_in(uri, "tiny").items()}
    assert {name for name in before if again[name] != before[name]} == {CELL}
    altered(folder)
    log_mlflow(read_export(folder), uri)
    after = runs_in(uri, "tiny")
    assert after[CELL].data.metrics["ssim"] == 0.125
    assert len(after) == 10 + 1
    assert len(client.get_metric_history(after[CELL].info.run_id, "ssim")) == 1
    assert after["theirs"].data.tags.get(CELL_TAG) is None


def test_no_name_of_a_cell_leads_out_of_the_folder(tmp_path: Path) -> None:
    numbers: Mapping[str, float] = {"ssim": 0.5}
    names = ["../../up", "/root", "a/../../b", "a/.._.._b", "a/b", "a b", "a_b", ""]
    cells = tuple(ExportedCell(name, 0, {"seed": 0}, numbers, {}) for name in names)
    write_tensorboard(Export("evil", 0.0, {}, cells), tmp_path / "board")
    assert [path.name for path in tmp_path.iterdir()] == ["board"]
    found = boards(tmp_path / "board")
    assert len(found) == len(names)
    assert all(scalars(board)["score/ssim"] == [(0, 0.5)] for board in found.values())
