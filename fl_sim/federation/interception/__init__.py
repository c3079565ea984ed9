"""The curious server: wrappers that record every client's update and forward everything unchanged.

One line added to an existing app, with any strategy:

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        grid = CuriousGrid(grid, CaptureStore(Path("/data/captures")), model=spec)
        FedAvg().start(grid=grid, initial_arrays=arrays)

`CuriousStrategy` does the same by wrapping the strategy instead. Both record the same bytes.
"""

from fl_sim.federation.interception.observers import CuriousGrid, CuriousStrategy
from fl_sim.federation.interception.recorder import Sink

__all__ = ["CuriousGrid", "CuriousStrategy", "Sink"]
