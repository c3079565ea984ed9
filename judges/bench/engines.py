"""Where the jobs of a run are executed: in this process, in worker processes, or on a running Ray cluster.

The results are the same bytes everywhere, since a job depends only on its own fields, the files that it names and the
number of torch's threads, which is the same in every process.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fl_sim.errors import ConfigError
from judges.bench.engine_options import RAY, EngineOptions
from judges.bench.jobs import Job, Outcome, perform
from judges.bench.process import prepare_worker
from judges.progress import Advance

if TYPE_CHECKING:
    from pebble import ProcessFuture, ProcessPool

_FOLDERS, _CARRIED = ("SPIKELEAK_DATA", "SPIKELEAK_CACHE"), ("OMP_NUM_THREADS", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")
"""Variables that a worker on another machine of a cluster needs; local processes inherit them."""

_PATIENCE = 10.0
_POLL = 1.0
_MOST_STARTS = 3
"""How often a job is handed to processes that die while they start."""

Wait = Callable[[Advance], Outcome]
Preparation = tuple[int, str, tuple[str, ...]]
"""The arguments of `prepare_worker`."""


class Engine(Protocol):
    """Executes jobs."""

    def start(self, job: Job) -> Wait:
        """Start a job and return the function that waits for its end, or that does the job when it is called."""


class Started:
    """A job that was started. If memory does not suffice, it is tried again in smaller and smaller pieces."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine, self._job = engine, job
        self._wait = engine.start(job)
        self._outcome: Outcome | None = None

    def finish(self, advance: Advance) -> Outcome:
        """Wait for its end. The seconds of the outcome are those of all tries."""
        seconds = 0.0
        while self._outcome is None:
            outcome = self._wait(advance)
            seconds += outcome.seconds
            smaller = self._job.smaller() if outcome.failure and not outcome.lasting else None
            if smaller is None:
                self._outcome = Outcome(seconds, outcome.failure, getattr(self._job, "pieces", 1))
            else:
                self._job, self._wait = smaller, self._engine.start(smaller)
        return self._outcome


@contextlib.contextmanager
def open_engine(options: EngineOptions, threads: int, *, apart: bool = False) -> Iterator[Engine]:
    """Yield an engine; if an error leaves the context, its unfinished jobs are stopped at once.

    Args:
        options: which engine.
        threads: torch threads of each process.
        apart: whether even a single worker is a separate process.

    Raises:
        ConfigError: the options contradict each other, or the cluster cannot be reached.
    """
    options.check()
    workers = options.settled(alone=False).workers or 1
    preparation = threads, str(Path.cwd()), options.imports
    if options.name == RAY:
        with _ray_cluster(options.ray_address, preparation) as cluster:
            yield cluster
    elif workers > 1 or apart:
        with _worker_processes(workers, preparation) as processes:
            yield processes
    else:
        yield _Here()


class _Here:
    """Does a job in this process when it is waited for."""

    def start(self, job: Job) -> Wait:
        """Return the function that does the job."""
        return functools.partial(perform, job)


class _Workers:
    """Processes that take jobs in order. One that dies is replaced, and its job is taken to have lacked memory.

    The system's out-of-memory killer ends processes so, and a killed process cannot report the reason. Where one dies
    before it has taken a job, the pool is broken for all jobs; they are then handed to another one, a few times.

    Args:
        make: starts a pool.
    """

    def __init__(self, make: Callable[[], ProcessPool]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._pool = make()

    def start(self, job: Job) -> Wait:
        """Hand the job to the pool."""
        return functools.partial(self._wait, job, [self._schedule(job)])

    def close(self) -> None:
        """Let the processes end when there are no more jobs."""
        self._pool.close()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """End the processes at once."""
        self._pool.stop()  # type: ignore[no-untyped-call]

    def join(self) -> None:
        """Wait for the end of the processes."""
        self._pool.join()

    def _schedule(self, job: Job) -> ProcessFuture[Outcome]:
        """Hand the job to the pool, or to a new one if it is broken."""
        with self._lock:
            if not self._pool.active:
                self.stop()
                self.join()
                self._pool = self._make()
            return self._pool.schedule(_perform_elsewhere, args=(job,))

    def _wait(self, job: Job, futures: list[ProcessFuture[Outcome]], _advance: Advance) -> Outcome:
        """Wait for a job that was handed over; the last of `futures` is that of its last try."""
        from pebble import ProcessExpired

        while len(futures) <= _MOST_STARTS:
            pool = self._pool
            try:
                return futures[-1].result(timeout=_POLL)
            except ProcessExpired as error:
                return Outcome(0.0, f"its process was killed (exit code {error.exitcode}), as where memory runs out")
            except BrokenProcessPool:
                futures.append(self._schedule(job))
            except TimeoutError:
                if futures[-1].done():
                    raise  # the job's own
                if pool is self._pool and not pool.active:  # it never came so far as to be handed over
                    futures.append(self._schedule(job))
        return Outcome(0.0, "its process was killed while it started, as where memory runs out")


class _RayCluster:
    """Hands jobs to a Ray cluster. The path of the run's folder must be the same folder on all its machines."""

    def __init__(self, remote: Any) -> None:  # noqa: ANN401 - Ray's remote functions are not typed
        self._remote = remote

    def start(self, job: Job) -> Wait:
        """Hand the job to the cluster."""
        import ray

        reference = self._remote.remote(job)
        lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)

        def wait(_advance: Advance) -> Outcome:
            try:
                outcome: Outcome = ray.get(reference)
            except lost as error:
                return Outcome(0.0, f"its process was killed ({type(error).__name__}), as where memory runs out")
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            return outcome

        return wait


@contextlib.contextmanager
def _worker_processes(count: int, preparation: Preparation) -> Iterator[_Workers]:
    from pebble import ProcessPool

    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in an arbitrary state

    def make() -> ProcessPool:
        pool = ProcessPool(max_workers=count, initializer=prepare_worker, initargs=preparation, context=context)
        with _interrupts_blocked():
            pool.schedule(int)  # the first job makes the pool start its threads, and these start its processes
        return pool

    workers = _Workers(make)
    try:
        yield workers
        workers.close()
    except BaseException:
        workers.stop()
        raise
    finally:
        workers.join()


@contextlib.contextmanager
def _ray_cluster(address: str, preparation: Preparation) -> Iterator[_RayCluster]:
    _reach(address)
    threads = preparation[0]
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; Ray warns until it is set
    import ray

    folders = {name: str(Path(os.environ[name]).resolve()) for name in _FOLDERS if os.environ.get(name)}
    carried = folders | {name: os.environ[name] for name in _CARRIED if name in os.environ}
    try:
        ray.init(address=address or "auto", log_to_driver=False, runtime_env={"env_vars": carried})
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error

    machines = ray.nodes()  # type: ignore[no-untyped-call]
    cores = max((node["Resources"].get("CPU", 0) for node in machines if node["Alive"]), default=0)
    if cores < threads:
        ray.shutdown()
        raise ConfigError(f"threads: {threads} of a job do not fit on a machine of the cluster, which have {cores:g}.")

    def perform_there(job: Job) -> Outcome:
        prepare_worker(*preparation)
        return _perform_elsewhere(job)

    try:
        yield _RayCluster(ray.remote(num_cpus=threads, max_retries=0)(perform_there))
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Reject an address that does not answer before Ray tries it for minutes; "ray://" and "" are left to Ray."""
    if not address or "/" in address:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConfigError:
    """Return the error for an address without a cluster."""
    return ConfigError(
        f"--ray-address: expected the address of a running Ray cluster, such as 127.0.0.1:6379; there is none at "
        f"'{address or 'auto'}' ({str(error).splitlines()[0]}). `ray start --head` starts one."
    )


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C, and the end of the terminal, in the threads and processes started within the context.

    This process handles them and stops the others.
    """
    resource_tracker.ensure_running()  # starting it unblocks the signal in the thread that does so
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _perform_elsewhere(job: Job) -> Outcome:
    return perform(job, lambda _done, _total: None)
