"""Learning on several devices or machines as if they were one.

Each device has a copy of the network and gets its part of every batch. What a copy needs to know of
the others is summed over all of them: gradients by the strategy, BatchNorm's means by
`models.synchronized`, a loss that is a ratio of sums by `losses.over_all_copies`. Then the copies
learn what one device would learn from the whole batch, but for rounding.

    python -m cityseg_utils.distribution --workers 2 train.py
    python -m cityseg_utils.distribution --addresses 10.0.0.1:4000,10.0.0.2:4000 --index 0 train.py

run a script that trains with ``tf.distribute.MultiWorkerMirroredStrategy()``: as two processes of
this machine, or as the first of two machines. The other machine gets the same line with another
index. Processes of one machine are all started again when one of them ends early.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from cityseg_utils import storage
from cityseg_utils.errors import TrainingError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.losses import WHOLE_BATCH
from cityseg_utils.pipeline import WHOLE, Part, Source
from cityseg_utils.runs import RunFolder

tf = load_tensorflow()


class Team:
    """The devices of a strategy, and which of its workers this process is.

    Parameters
    ----------
    strategy : tf.distribute.Strategy, optional
        Default: this process alone, on one device.
    """

    def __init__(self, strategy=None):
        self.strategy = strategy
        self.copies = 1 if strategy is None else strategy.num_replicas_in_sync
        self.part: Part = _place_among_workers() if self._is_over_machines() else WHOLE

    def _is_over_machines(self) -> bool:
        return isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)

    @property
    def has_workers(self) -> bool:
        """Whether other processes learn, too."""
        return self.part[1] > 1

    def scope(self):
        """Return the context in which variables are made, one for each device."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def check(self, model, predictor, source: Source, val, steps: int | None, parts: int) -> None:
        """Refuse what several devices, or several parts of a batch, would do in another way.

        Raises
        ------
        ValueError
        """
        if self.strategy is None and parts == 1:
            return
        if predictor is not model or type(model).train_step is not tf.keras.Model.train_step:
            raise ValueError("a model with a train_step of its own learns from whole batches alone")
        if self.strategy is not None and parts != 1:
            raise ValueError("a batch goes to several devices or is taken in parts, not both")
        shares, left = self.copies * parts, len(source.frames) % source.batch_size
        if parts < 1 or source.batch_size % shares or 0 < left < shares:
            raise ValueError(
                f"each batch is dealt to {self.copies} devices, in {parts} parts: of its "
                f"{source.batch_size} frames, and of the {left or source.batch_size} of an epoch's "
                "last one, all must get some; choose another batch size"
            )
        if self.strategy is None:
            return
        if left % self.copies and not isinstance(model.loss, WHOLE_BATCH):
            raise ValueError(
                f"the last batch of an epoch has {left} frames, and the devices that get fewer of "
                "them would count as much; choose another batch size, or one of the course's losses"
            )
        if self.has_workers and source.mix is not None:
            raise ValueError("several workers would mix frames of their own part of a batch alone")
        if val is not None:
            raise ValueError("with a strategy, score afterwards: leave val out")
        if steps is None:
            raise ValueError("with a strategy, give the budget as epochs or as steps")
        layers = [x for x in model.submodules if isinstance(x, tf.keras.layers.BatchNormalization)]
        if any(not layer.synchronized for layer in layers) and self.copies > 1:
            raise ValueError(
                "each device would normalise by the means of its own part of a batch; make the "
                "model with models.synchronized(model) in the strategy's scope"
            )

    @contextmanager
    def claimed(self, folder: RunFolder) -> Iterator[RunFolder]:
        """Give the folder to write to: the run's own, or that of a worker whose files nobody needs.

        All workers see the same state to go on from, for none takes a step before all have read it.
        """
        if self.part[0] == 0:
            with folder.claimed():
                yield folder
            return
        self._own = storage.scratch()  # as long as there is this team
        copy = RunFolder(Path(self._own.name))
        for state in folder.path.glob("state-*"):
            shutil.copytree(state, copy.path / state.name)
        yield copy

    def check_start(self, step: int) -> None:
        """Refuse workers that would go on from different steps.

        Raises
        ------
        TrainingError
            If they do not see one folder of runs.
        """
        if not self.has_workers:
            return
        own = self.strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([step, step * step], tf.float64)
        )
        total, squares = self.strategy.reduce("SUM", own, axis=None).numpy()
        if squares * self.copies != total * total:  # equal if all steps are, and only then
            raise TrainingError(
                f"this worker would go on from step {step}, another one from elsewhere: all of "
                "them must see the same folder of runs"
            )

    def say_who_is_gone(self, error) -> None:
        """Raise an error of ours if that of TensorFlow says that another worker has ended.

        Raises
        ------
        TrainingError
        """
        lost = tf.errors.UnavailableError, tf.errors.AbortedError
        if self.has_workers and isinstance(error, lost):
            raise TrainingError(
                "another worker has ended or cannot be reached; start all of them again, and they "
                "go on from the end of the last epoch"
            ) from error

    def together(self, learn: Callable, spec, jit_compile: bool | None = None):
        """Return the function in which each device learns from its part of a batch.

        Parameters
        ----------
        learn : callable
            From a batch to logs, as one device does it.
        spec : nested structure of TensorSpec, optional
            Of a batch.
        jit_compile : bool, optional
            Whether XLA compiles the step of a single device.

        Returns
        -------
        callable
            From a batch, or a worker's part of it, to logs.
        """
        if self.strategy is None:
            signature = None if spec is None else [spec]
            return tf.function(learn, input_signature=signature, jit_compile=jit_compile)
        return _Together(self.strategy, self.copies // self.part[1], learn, spec)


class _Together:
    """A step that the devices of this process do with those of all others."""

    def __init__(self, strategy, devices: int, learn: Callable, spec):
        self.strategy, self.devices, self.spec = strategy, devices, spec
        self.function = tf.function(partial(_run, strategy, learn), reduce_retracing=True)

    def __call__(self, batch) -> dict:
        return self.function(self._dealt(batch))

    def get_concrete_function(self):
        """Trace it, which makes all variables, without a step."""
        empty = tf.nest.map_structure(
            lambda x: tf.zeros([self.devices, *x.shape[1:]], x.dtype), self.spec
        )
        return self.function.get_concrete_function(self._dealt(empty))

    def _dealt(self, batch):
        def part(context):
            device = context.replica_id_in_sync_group % self.devices
            return tf.nest.map_structure(lambda x: x[device :: self.devices], batch)

        return self.strategy.experimental_distribute_values_from_function(part)


def _run(strategy, learn: Callable, parts) -> dict:
    logs = strategy.run(learn, (parts,))
    return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}


def _place_among_workers() -> Part:
    """Return which of how many workers this process is, as ``TF_CONFIG`` says."""
    said = json.loads(os.environ.get("TF_CONFIG", "{}"))
    cluster = said.get("cluster", {"worker": [""]})
    if set(cluster) != {"worker"}:
        raise ValueError(f"TF_CONFIG names {sorted(cluster)}; this course knows workers alone")
    return int(said.get("task", {}).get("index", 0)), len(cluster["worker"])


ALONE = Team()


def start(script: list[str], addresses: list[str], index: int) -> subprocess.Popen:
    """Start a script as one of the workers that have these addresses, ``host:port``."""
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        [sys.executable, *script], env=os.environ | {"TF_CONFIG": json.dumps(task)}
    )


def run_here(script: list[str], workers: int, restarts: int) -> int:
    """Run a script as several workers of this machine; return the last exit status.

    When one of them ends with a fault, the others are stopped and all are started again.
    """
    for left in range(restarts, -1, -1):
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
        running = [start(script, addresses, k) for k in range(workers)]
        try:
            status = _first_fault(running)
        finally:
            for process in running:
                process.kill()
                process.wait()
        if status == 0:
            return 0
        print(f"a worker has ended with {status}; {left} more tries", file=sys.stderr, flush=True)
    return status


def _first_fault(running: list[subprocess.Popen]) -> int:
    """Wait until all processes have ended well, or one has not; return its status."""
    with ThreadPoolExecutor(len(running)) as pool:
        ends = [pool.submit(process.wait) for process in running]
        try:
            return next((end.result() for end in as_completed(ends) if end.result() != 0), 0)
        finally:  # also when this process is told to stop: the pool waits for all
            for process in running:
                process.kill()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()


def main() -> None:
    """Run a script as several workers."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.distribution")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--workers", type=int, help="processes of this machine")
    where.add_argument(
        "--addresses", type=lambda text: text.split(","), help="host:port of each machine"
    )
    parser.add_argument(
        "--index", type=int, help="which of the addresses is this machine's, from 0"
    )
    parser.add_argument("--restarts", type=int, default=3, help="with --workers (%(default)s)")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="those of the script")
    options = parser.parse_args()
    script = [options.script, *options.arguments]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.addresses is None:
        if options.workers < 1 or options.restarts < 0:
            parser.error("--workers is 1 or more, --restarts 0 or more")
        sys.exit(run_here(script, options.workers, options.restarts))
    if options.index is None or not 0 <= options.index < len(options.addresses):
        parser.error("--index says which of the addresses is this machine's, from 0")
    process = start(script, options.addresses, options.index)
    try:
        sys.exit(process.wait())
    finally:
        process.kill()


if __name__ == "__main__":
    main()
