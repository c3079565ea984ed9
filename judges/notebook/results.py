"""What a run, an audit or an attack found, read from its folder: shown, drawn, or handed to pandas."""

from __future__ import annotations

import importlib
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attacks.contracts import Reconstruction
from attacks.thresholding import thresholded
from fl_sim.errors import ConfigError
from fl_sim.records import load_record
from judges.bench.jobs import reconstruction_path
from judges.kinds import kind_in
from judges.notebook.display import console, display, in_notebook
from judges.notebook.page import html_of
from judges.notebook.pictures import Pair, figure_of, in_unit_range, pairs_in
from judges.plans.gradient_inversion import Cell
from judges.report.words import Verdict
from judges.runs.manifest import ANSWERS, GALLERY, LADDER, WARNINGS, failed_cells, read_manifest, without_people
from judges.runs.names import group_name, line_name
from judges.runs.pictures import load_pictures
from judges.runs.rows import Score, read_scores
from judges.scoring.assignment import assigned

if TYPE_CHECKING:
    import pandas

    from judges.notebook.client import Clients


def _plain(name: str) -> str:
    """Return a name as it is compared: "inverting_gradients" is "Inverting Gradients"."""
    return name.casefold().replace("_", " ").replace("-", " ")


class Result:
    """What is in the folder of a run or of an audit.

    In a notebook it shows itself.

    Args:
        folder: of the run.
        show_faces: whether pictures of real people are shown.
        notes: what the run had to say.

    Attributes:
        folder: where everything is.
        report: the page of the whole run.
        verdicts: what is said of each attack, and why.
        failed: {cell: why it could not be computed}.
        notes: what the run had to say, and the reasons to doubt its scores.
    """

    def __init__(self, folder: Path, *, show_faces: bool = False, notes: Sequence[str] = ()) -> None:
        self.folder, self.report = folder, folder / "report.html"
        self._kind, self._show_faces, self._manifest = kind_in(folder), show_faces, read_manifest(folder)
        self.verdicts: tuple[Verdict, ...] = tuple(self._kind.part("verdicts")(folder))
        self.failed = failed_cells(self._manifest)
        told = [f"warning: {text}" for text in self._manifest.get(WARNINGS, ())]
        self.notes = tuple(dict.fromkeys([*notes, *told]))

    def __repr__(self) -> str:
        found = "; ".join(f"{one.attack} on {one.victims}: {one.verdict}" for one in self.verdicts)
        return f"<{found or 'nothing was scored'}; {self.folder}>"

    @property
    def ladder(self) -> Result | None:
        """What was found on the ladder from the attacker's best case to the clients' own setting; None without one."""
        folder = self.folder / LADDER
        return Result(folder, show_faces=self._show_faces) if (folder / "summary.json").is_file() else None

    @property
    def answers(self) -> tuple[Pair, ...]:
        """The answers that have pictures, each beside the truth where it is known; those of people are left out."""
        galleries = [one for name in (GALLERY, ANSWERS) for one in load_pictures(self.folder / name)]
        return tuple(pairs_in(one for one in galleries if self._may_show(one.dataset)))

    def show(self) -> None:
        """Show the result in a notebook; elsewhere print its table, and say where its pictures are."""
        if in_notebook():
            display(self)
            return
        out = console()
        table = self._kind.part("results")(self.folder)
        out.print("Nothing could be scored." if table is None else table, markup=False)
        for line in (*self.notes, *self._lost, f"report with all pictures: {self._place()}"):
            out.print(line, markup=False, highlight=False, soft_wrap=True)

    def figure(self, kind: str = "answers", *, attack: str = "") -> Figure:
        """Return a matplotlib figure, which belongs to no window.

        Args:
            kind: "answers", each below its truth, or "search", the pictures of each search from guess to answer.
            attack: name of an attack, as in `answers` or in the table of attacks, to draw that one alone.

        Raises:
            ConfigError: there is no such kind or picture, or the pictures show people.
        """
        if self._hidden:
            raise ConfigError(f"figure: {self._hidden}")
        pairs = [pair for pair in self.answers if _plain(attack) in ("", _plain(pair.attack))]
        return figure_of(pairs, kind)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows of `scores.csv`, those of controls too.

        Raises:
            ConfigError: pandas is not installed.
        """
        return data_frame(self.folder / "scores.csv")

    def _repr_html_(self) -> str:
        """Return verdicts, pictures and notes as HTML that loads nothing."""
        lost = [f"not done: {cell}: {why}" for cell, why in self.failed.items()]
        return html_of(
            self.verdicts, self.answers, [*self.notes, *lost, f"Report: {self._place()}"], hidden=self._hidden
        )

    @property
    def _lost(self) -> list[str]:
        """Return the cells that could not be computed, as sentences."""
        return [f"not done: {cell}: {why}" for cell, why in self.failed.items()]

    @property
    def _hidden(self) -> str:
        """Return why no picture is shown; "" if some may be."""
        datasets = self._manifest.get("datasets") or {}
        if not datasets or any(self._may_show(name) for name in datasets):
            return ""
        return "The pictures may show people and are hidden; show_faces=True shows them."

    def _may_show(self, dataset: str) -> bool:
        return self._show_faces or without_people(self._manifest, dataset)

    def _place(self) -> str:
        return self.report.resolve().as_uri()


class AttackResult(Result):
    """What attacks on a client of one's own model found, with an answer for each of its images.

    Args:
        folder: of the audit.
        clients: what the answers are compared with.
        ids: ids of the clients' captures.
        cells: the attacks.
        people: whether the images show people.
        temporary: whether the folder goes when this object does.
        show_faces, notes: as for `Result`.
    """

    def __init__(
        self,
        folder: Path,
        clients: Clients,
        ids: Sequence[str],
        cells: Sequence[Cell],
        *,
        people: bool,
        temporary: bool,
        show_faces: bool,
        notes: Sequence[str],
    ) -> None:
        super().__init__(folder, show_faces=show_faces, notes=notes)
        self._clients, self._ids, self._cells = clients, tuple(ids), tuple(cells)
        self._people, self._is_temporary = people, temporary
        if temporary:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @property
    def answers(self) -> tuple[Pair, ...]:
        """The answers, each beside the image that it is an answer for; none where these show people."""
        rows = [row for row in read_scores(self.folder / "scores.csv") if not row.is_control]
        shown = [row for row in rows if self._may_show(row.dataset)]
        return tuple(self._pair(row) for row in shown)

    def _pair(self, row: Score) -> Pair:
        """Return the picture of one row."""
        (cell,) = (
            cell
            for cell in self._cells
            if (cell.attack, cell.varied, cell.thresholding, cell.tau)
            == (row.attack, row.attack_settings, row.thresholding, row.tau)
        )
        number = self._ids.index(row.capture_id)
        batch, spec = self._clients.batches[number], self._clients.spec
        answer = load_record(Reconstruction, reconstruction_path(self.folder, cell.kept.source, row.capture_id))
        if cell.tau is not None and cell is not cell.kept:
            answer = thresholded(answer, cell.tau)
        place = int(assigned(answer.inputs, batch.inputs, spec)[row.example])
        truth = _picture(batch.inputs, row.example)
        low, high = (0.0, max(float(truth.max()), 1e-12)) if spec.timesteps else (spec.low, spec.high)
        film: dict[str, Any] = {}
        if answer.snapshots is not None and answer.snapshot_steps is not None:
            shots = torch.stack([_picture(shot, place) for shot in answer.snapshots])
            film = {"snapshots": in_unit_range(shots, low, high), "steps": tuple(answer.snapshot_steps.tolist())}
        return Pair(
            attack=line_name(row),
            victim=group_name(row),
            subject=f"image {number * len(batch.labels) + row.example}",
            truth=in_unit_range(truth, low, high),
            answer=in_unit_range(_picture(answer.inputs, place), low, high),
            ssim=row.ssim,
            psnr_db=row.psnr_db,
            label=row.label,
            **film,
        )

    def _may_show(self, dataset: str) -> bool:
        """Return whether pictures may be shown: whatever data set is named for the controls, the caller knows best."""
        return super()._may_show(dataset) and (self._show_faces or not self._people)

    def _place(self) -> str:
        kept = " (until this result is gone; name a folder to keep it)" if self._is_temporary else ""
        return super()._place() + kept


def data_frame(source: Path | dict[str, list[Any]]) -> pandas.DataFrame:
    """Return a CSV file, or columns, as a pandas DataFrame; a ConfigError if pandas is not installed."""
    try:
        found = importlib.import_module("pandas")
    except ImportError as error:
        raise ConfigError("to_pandas: needs the package pandas, which is not installed; pip install pandas.") from error
    is_file = isinstance(source, Path)
    frame: pandas.DataFrame = (
        found.read_csv(source, keep_default_na=False, na_values=[""]) if is_file else found.DataFrame(source)
    )
    return frame


def _picture(inputs: Tensor, place: int) -> Tensor:
    """Return one example of images (N, C, H, W), or of events (T, N, C, H, W) summed over time, as (C, H, W)."""
    return inputs[:, place].sum(0) if inputs.dim() == 5 else inputs[place]
