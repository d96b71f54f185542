"""One engine for every training: by steps, epochs or time, killed and resumed at any step."""

import json
import math
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import distribution, framework, identity, plots, storage
from cityseg_utils.errors import DataError, StorageError, TrainingError
from cityseg_utils.framework import deterministic, load_tensorflow
from cityseg_utils.models import check_fits, load_weights, save_weights
from cityseg_utils.pipeline import WHOLE, Batches, Part

# Their names of before, for one release.
from cityseg_utils.prediction import commonest_by_location, evaluate, predict, score  # noqa: F401
from cityseg_utils.runs import RunFolder

tf = load_tensorflow()

MONITOR = "val_mean_iou"
_TIMED = 8  # steps, at most, by which a budget of time becomes one of steps


@tf.keras.utils.register_keras_serializable("cityseg_utils")
class MeanIoU(tf.keras.metrics.Metric):
    """Mean IoU over all pixels seen in an epoch, with the rules of `metrics.ConfusionMatrix`.

    Takes one-hot truth, all zeros for void, and probabilities, ``(N, H, W, C)`` both.
    """

    def __init__(self, num_classes: int, name: str = "mean_iou", **options):
        super().__init__(name=name, **options)
        self.num_classes = num_classes
        shape = (num_classes, num_classes)
        # float64 holds counts exactly up to 2**53 and can be reset and averaged like any weight.
        self.counts = self.add_weight("counts", shape, initializer="zeros", dtype=tf.float64)

    def update_state(self, y_true, y_pred, sample_weight=None):
        labelled = tf.reduce_sum(tf.cast(y_true, tf.float32), -1) > 0
        truth = tf.argmax(y_true, -1)[labelled]
        prediction = tf.argmax(y_pred, -1)[labelled]
        codes = tf.cast(truth * self.num_classes + prediction, tf.int32)
        counted = tf.math.bincount(codes, minlength=self.num_classes**2, dtype=tf.float64)
        self.counts.assign_add(tf.reshape(counted, self.counts.shape))

    def result(self):
        intersection = tf.linalg.diag_part(self.counts)
        union = tf.reduce_sum(self.counts, 0) + tf.reduce_sum(self.counts, 1) - intersection
        occurs = tf.cast(union > 0, tf.float64)
        iou = tf.math.divide_no_nan(intersection, union)
        return tf.math.divide_no_nan(tf.reduce_sum(iou), tf.reduce_sum(occurs))

    def reset_state(self):
        self.counts.assign(tf.zeros_like(self.counts))

    def get_config(self) -> dict:
        return {**super().get_config(), "num_classes": self.num_classes}


@dataclass
class Run:
    """A finished training.

    Attributes
    ----------
    folder : Path
        See `runs`; and a TensorBoard log.
    history : DataFrame
        One row per epoch, from 1; the columns are the logs of Keras and ``seconds``.
    reused : bool
        True if the run was finished before and nothing was trained.
    result : dict
        ``steps``, the ``losses`` of each, ``training seconds`` and ``processor seconds`` without
        the first step, which compiles, ``precision``, and the machine.
    """

    folder: Path
    history: pd.DataFrame
    reused: bool
    result: dict

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest validation mean IoU."""
        return int(self.history[MONITOR].idxmax())

    @property
    def seconds(self) -> float:
        """Time spent in training and validation, all sittings together."""
        return float(self.history["seconds"].sum())

    @property
    def losses(self) -> np.ndarray:
        """The loss of each step, ``(steps,)``."""
        return np.array(self.result["losses"])


def fit(
    model,
    train: Batches | Mapping[str, Batches],
    val: Batches | None = None,
    epochs: int | None = None,
    name: str = "run",
    runs: Path | str | None = None,
    callbacks: Sequence = (),
    progress: bool = True,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    processor_seconds: float | None = None,
    schedule: Callable[[float], float] | None = None,
    average: float = 0.0,
    refresh: int = 0,
    refresh_on: str | None = None,
    keep: str = "best",
    save_every: float | None = None,
    strategy=None,
    parts: int = 1,
) -> Run:
    """Train a compiled model for a budget, and survive being killed.

    Every configuration (network, first weights, optimizer, loss, data, budget) has a folder of its
    own, whose name is made of its content (see `identity`). If that folder holds a finished run,
    its weights are loaded and nothing is trained; if it holds a run that was killed, training goes
    on from the last state and ends with the same numbers as if it had never stopped.

    Parameters
    ----------
    model : keras.Model
        Compiled, with a :class:`MeanIoU` among its metrics if there is `val`; XLA compiles the step
        of one without metrics that was compiled with ``jit_compile=True``, on one device. A model
        with a ``train_step`` of its own may hold several networks and optimizers; the one in its
        attribute ``predictor`` is averaged, scored and kept. What is random in a step should come
        from stateless operations, or a killed run starts anew. After the call the model has the
        kept weights.
    train : Batches, or mapping of names to Batches
        From `pipeline.make_dataset`. With names, a step gets a dict of one batch of each, and an
        epoch is one of the first.
    val : Batches, optional
        What to score on after each epoch.
    epochs, steps : int, optional
    seconds, processor_seconds : float, optional
        The budget, one of the four. One of time becomes one of steps by timing the first ones,
        which are then done again; it counts from after the first step, which compiles.
    name : str
        Begins the folder's name, a hash of the configuration ends it.
    runs : Path or str, optional
        Where run folders lie; default ``runs/``.
    callbacks : sequence of keras Callbacks
        More callbacks. What they do is not part of the configuration.
    progress : bool
        Show a progress bar and, in a notebook, curves that grow.
    schedule : callable, optional
        The learning rate at each point of the training, 0 being its start and 1 its end.
    average : float
        Momentum of an exponential average of the weights, BatchNorm's among them, which is what is
        scored and kept; 0: none.
    refresh : int
        Batches of the first data set, not augmented, from which BatchNorm's averages are computed
        anew in the end; 0: they stay.
    refresh_on : str, optional
        The name of another data set for that.
    keep : {"best", "last"}
        Which epoch's weights the model gets; without `val` the last one's.
    save_every : float, optional
        Seconds between two states to go on from; default ``CITYSEG_SAVE_EVERY``, or 60. With
        several workers a state is kept after each epoch instead, in a folder that all must see;
        what but the first returns of its run's folder is gone when it ends.
    strategy : tf.distribute.Strategy, optional
        Learn on all its devices, or machines, as if they were one: the one in whose scope the model
        was made, its BatchNorm synchronised (`models.synchronized`). Each device gets its part of
        every batch. Not with `val`, or a model that has a ``train_step`` of its own; budgets are
        `epochs` or `steps`.
    parts : int
        Take each batch in so many parts, one after the other, and add up their gradients, where
        memory holds no more. The mean of their losses, by frames, is learned from, and BatchNorm
        sees a part at a time. Not with a strategy.

    Raises
    ------
    FrameworkError
        If the model or a callback is of Keras 3.
    ValueError
        If the model cannot take the batches or lacks the metric, or the name begins no folder's; or
        if several devices would learn something else than one.
    TrainingError
        If the loss is no number any more, or another process trains the same.
    StorageError
        If the run folder cannot be written.
    CitysegError
        Whatever was wrong with a file of the data set or of the run.
    """
    data = _Data(train)
    if refresh_on is not None and refresh_on not in data.sets:
        raise ValueError(f"refresh_on must be one of {list(data.sets)}, got {refresh_on!r}")
    predictor = getattr(model, "predictor", model)
    budget = _Budget(epochs, steps, seconds, processor_seconds, data.steps)
    team = distribution.Team(strategy)
    team.check(model, predictor, data.first, val, budget.steps, parts)
    _check(model, predictor, data, val, callbacks, name)
    options = {"schedule": schedule, "average": average, "refresh": refresh}
    if refresh_on is not None:
        options["refresh_on"] = refresh_on
    if parts > 1:
        options["parts"] = parts
    config = _describe(model, data, val, budget, options)
    folder = RunFolder(Path(runs or storage.home() / "runs") / f"{name}-{_digest(config)}")
    reused = folder.is_finished()
    if not reused:
        with team.claimed(folder) as folder:
            if not folder.is_finished():  # as it was by another process, a moment ago
                folder.note_config(config)
                if save_every is None:
                    save_every = float(os.environ.get("CITYSEG_SAVE_EVERY", 60))
                watch = _Watch(val, callbacks, progress, save_every, team)
                _Training(model, predictor, data, folder, budget, options, watch).run()
    history, result = folder.read()
    best = keep == "best" and "best_epoch" in result
    load_weights(predictor, folder.best if best else folder.last)
    return Run(folder.path, history, reused, result)


def _check(model, predictor, data: "_Data", val, callbacks: Sequence, name: str) -> None:
    """Refuse what cannot be trained before anything is written."""
    if not re.fullmatch(r"[^/\\:\0\ud800-\udfff]{1,100}", name):
        raise ValueError(f"name must begin a folder's name, without / \\ or :, got {name!r}")
    framework.refuse_keras_3(model=model)
    if isinstance(callbacks, tf.keras.callbacks.Callback):
        raise ValueError("callbacks is a list, also of one")
    for callback in callbacks:
        framework.refuse_keras_3(callback=callback)
        if not isinstance(callback, tf.keras.callbacks.Callback):
            raise ValueError(f"callbacks holds {callback!r}, which is no object of a tf.keras one")
    for loss in tf.nest.flatten(getattr(model, "loss", None)):
        framework.refuse_keras_3(loss=loss)
    if not isinstance(val, Batches | None):
        raise ValueError(f"val must come from pipeline.make_dataset, is a {type(val).__name__}")
    for batches in (*data.sets.values(), *([val] if val else [])):
        size = batches.element_spec[0].shape[1:3]
        if size.is_fully_defined():
            check_fits(predictor, tuple(size))
    if predictor is model and getattr(model, "optimizer", None) is None:
        metrics = ", metrics=[training.MeanIoU(num_classes)]" if val is not None else ""
        raise ValueError(f"compile the model first: model.compile(optimizer, loss{metrics})")
    if predictor is model and val is not None:
        names = {metric.name for metric in model.compiled_metrics._user_metrics or []}
        if MONITOR.removeprefix("val_") not in names:
            raise ValueError("compile the model with metrics=[training.MeanIoU(num_classes)]")
        if model.jit_compile:
            raise ValueError("XLA cannot compile MeanIoU: leave val out, and score afterwards")
    if any(getattr(optimizer, "use_ema", False) for optimizer in _optimizers(model).values()):
        raise ValueError(
            "an optimizer with use_ema=True averages weights for the end alone; leave it out and "
            "call fit(..., average=0.99)"
        )


class _Data:
    """One data set, or several by name, of which a step gets a batch each."""

    def __init__(self, train):
        self.named = isinstance(train, Mapping)
        self.sets: dict[str, Batches] = dict(train) if self.named else {"labelled": train}
        for name, batches in self.sets.items():
            if not isinstance(batches, Batches):
                raise ValueError(
                    f"the {name} data must come from pipeline.make_dataset as they are, is a "
                    f"{type(batches).__name__}: of other data nobody knows where to go on"
                )
        self.first = next(iter(self.sets.values())).source
        self.steps = self.first.steps

    @property
    def element_spec(self):
        specs = {name: batches.element_spec for name, batches in self.sets.items()}
        return specs if self.named else specs["labelled"]

    def from_step(self, step: int, part: Part = WHOLE):
        """Return the endless batches from that step on, or a worker's part of each."""
        streams = {
            name: batches.source.from_step(step, part) for name, batches in self.sets.items()
        }
        return tf.data.Dataset.zip(streams) if self.named else streams["labelled"]


class _Budget:
    """How long a training is: in steps, or in seconds that become steps."""

    def __init__(self, epochs, steps, seconds, processor_seconds, per_epoch: int):
        given = {
            "epochs": epochs,
            "steps": steps,
            "seconds": seconds,
            "processor_seconds": processor_seconds,
        }
        self.said = {name: value for name, value in given.items() if value is not None}
        if len(self.said) != 1 or not 0 < next(iter(self.said.values())) < math.inf:
            raise ValueError(f"a training needs one budget above 0, of {', '.join(given)}")
        self.per_epoch = per_epoch
        self.steps = epochs * per_epoch if epochs else steps
        self.clock = time.process_time if processor_seconds else time.perf_counter

    def in_steps(self, times: list[float]) -> int:
        """Return how many steps there is time for, and the first one, which compiles."""
        return 1 + max(1, math.ceil(next(iter(self.said.values())) / np.median(times)))


# -- what tells a training from others ------------------------------------------------------------


def _describe(model, data: _Data, val, budget: _Budget, options: dict) -> dict:
    config = {**budget.said}
    parts = {
        "model": lambda: _describe_model(model),
        "train": lambda: {name: x.source.config() for name, x in data.sets.items()},
        "val": lambda: val and val.source.config(),
        "options": lambda: identity.describe(options),
    }
    for part, describe in parts.items():
        try:
            config[part] = describe()
        except identity.Unknown as reason:
            print(f"{reason}: nobody can tell whether this training was done before, so it is new")
            config[part] = ["unknown", str(reason), secrets.token_hex(8)]
    return config


def _digest(config: dict) -> str:
    return identity.digest(json.dumps(config, sort_keys=True, default=str))[:10]


def _describe_model(model) -> dict:
    optimizers = {
        name: [type(x).__qualname__, tf.keras.optimizers.serialize(x)]
        for name, optimizer in _optimizers(model).items()
        for x in [getattr(optimizer, "inner_optimizer", optimizer)]  # in any precision
    }
    described = {
        "network": _fingerprint(model),
        "first_weights": identity.digest(model.get_weights()),
        "optimizers": identity.describe(optimizers),
        "loss": identity.describe(getattr(model, "loss", None)),
    }
    if weights := getattr(getattr(model, "compiled_loss", None), "_user_loss_weights", None):
        described["loss weights"] = identity.describe(weights)
    if not _is_keras_s(type(model)):  # a method
        parts = {name: x for name, x in vars(model).items() if name not in vars(_empty_model())}
        described["method"] = identity.describe(type(model))
        described["parts"] = {
            name: _fingerprint(part)
            if isinstance(part, tf.keras.Model)
            else identity.describe(part)
            for name, part in parts.items()
            if not name.startswith("_") and not isinstance(part, _KNOWN_PARTS)
        }
    return described


@cache
def _empty_model():
    # Made late: TensorFlow takes no strategy over machines after its first use.
    return tf.keras.Model()


_OPTIMIZERS = (tf.keras.optimizers.Optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
_KNOWN_PARTS = (*_OPTIMIZERS, tf.keras.metrics.Metric)


def _is_keras_s(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "tf_keras"


def _optimizers(model) -> dict:
    """Return the optimizers that a model holds, by the name of the attribute."""
    return {name: x for name, x in sorted(vars(model).items()) if isinstance(x, _OPTIMIZERS)}


def _fingerprint(model) -> object:
    """Describe an architecture, without names that Keras counts up and without the precision."""
    layers = [x for x in model.submodules if isinstance(x, tf.keras.layers.Layer)]
    own = [identity.describe(type(x)) for x in layers if not _is_keras_s(type(x))]
    lambdas = [x for x in layers if isinstance(x, tf.keras.layers.Lambda)]
    functions = [identity.describe(layer.function) for layer in lambdas]
    try:
        text = model.to_json()
    except NotImplementedError:  # no graph of layers: its class says all
        return [own, functions]
    for k, part in enumerate([model, *model.layers]):
        text = text.replace(f'"{part.name}"', f'"part {k}"')
    return [identity.digest(_without_precision(json.loads(text))), own, functions]


def _without_precision(config):
    if isinstance(config, list):
        return [_without_precision(x) for x in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "Lambda":  # compiled code; its text is looked at
        return "Lambda"
    return {name: _without_precision(x) for name, x in config.items() if name != "dtype"}


# -- the training ---------------------------------------------------------------------------------


def make_step(
    model, average: "Average | None" = None, spec=None, team=distribution.ALONE, parts: int = 1
):
    """Return the function that learns from one batch and returns its logs.

    Parameters
    ----------
    model : keras.Model
    average : Average, optional
        Weights that follow the model's.
    spec : nested structure of TensorSpec, optional
        Shapes and types of a batch.
    team : distribution.Team
        The devices that do it together.
    parts : int
        In how many parts a device takes its share of the batch.
    """

    def learn(batch):
        logs = model.train_step(batch) if parts == 1 else _learn_in_parts(model, parts, batch)
        for metric in model.metrics:
            if isinstance(metric, tf.keras.metrics.Mean):  # so that each step's own can be noted
                metric.reset_state()
        if average is not None:
            average.update()
        return logs

    return team.together(learn, spec, model.jit_compile)


def _learn_in_parts(model, parts: int, batch) -> dict:
    """Do Keras's ``train_step`` with only a part of the batch in memory at a time."""
    images, truth = batch
    variables, optimizer = model.trainable_variables, model.optimizer
    scales = isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def add_gradients(k, sums):
        with tf.GradientTape() as tape:
            answer = model(images[k::parts], training=True)
            loss = model.compute_loss(images[k::parts], truth[k::parts], answer)
            loss *= tf.cast(tf.shape(images[k::parts])[0] / tf.shape(images)[0], loss.dtype)
            loss = optimizer.get_scaled_loss(loss) if scales else loss
        model.compute_metrics(images[k::parts], truth[k::parts], answer, None)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return k + 1, [a + b for a, b in zip(sums, gradients, strict=True)]

    zeros = [tf.zeros_like(x) for x in variables]
    _, gradients = tf.while_loop(
        lambda k, _: k < parts, add_gradients, (0, zeros), parallel_iterations=1
    )
    if scales:
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return {metric.name: metric.result() for metric in model.metrics}


class Average(tf.Module):
    """An exponential average of all weights of a network, BatchNorm's averages among them.

    Unlike Keras's ``use_ema`` it may be looked at in between, and leaves the weights alone.

    Parameters
    ----------
    model : keras.Model
    momentum : float
    """

    def __init__(self, model, momentum: float):
        super().__init__()
        self.momentum, self._weights = momentum, model.weights
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # on several devices all are equal
        self.values = [
            tf.Variable(x, trainable=False, aggregation=first) for x in model.get_weights()
        ]

    def update(self) -> None:
        """Go a little towards the weights of now."""
        for value, weight in zip(self.values, self._weights, strict=True):
            value.assign_add((1 - self.momentum) * (tf.cast(weight, value.dtype) - value))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the averaged weights for a while."""
        raw = [x.numpy() for x in self._weights]
        self._assign([x.numpy() for x in self.values])
        try:
            yield
        finally:
            self._assign(raw)

    def _assign(self, arrays: list[np.ndarray]) -> None:
        for weight, array in zip(self._weights, arrays, strict=True):
            weight.assign(array)


@dataclass
class _Watch:
    """What looks at a training and does not decide it."""

    val: Batches | None
    callbacks: Sequence
    progress: bool
    save_every: float
    team: distribution.Team = distribution.ALONE


class _Training:
    """A training from its first step, or from a state, to its end."""

    def __init__(self, model, predictor, data, folder, budget, options, watch):
        self.model, self.predictor, self.data = model, predictor, data
        self.folder, self.budget, self.watch = folder, budget, watch
        self.schedule, self.refresh = options["schedule"], options["refresh"]
        self.refresh_on = options.get("refresh_on", next(iter(data.sets)))
        momentum, self.team = options["average"], watch.team
        self.parts = options.get("parts", 1)
        with self.team.scope():
            self.average = Average(predictor, momentum) if momentum else None
        self.total, self.done = budget.steps, 0
        self.logs: list[dict[str, float]] = []  # of each step
        self.seconds = self.processor_seconds = 0.0
        self.history = pd.DataFrame(index=pd.Index([], name="epoch", dtype=int))

    def run(self) -> None:
        sources = [x.frames for x in (*self.data.sets.values(), self.watch.val) if x is not None]
        try:
            self._prepare()
            self.team.check_start(self.done)
            with deterministic(self.model, graph=self.graph):
                self._go_on()
                self._finish()
        except tf.errors.OpError as error:
            self.team.say_who_is_gone(error)
            raise own_error(error, self.folder.path, sources) from None

    def _prepare(self) -> None:
        """Trace the step, which makes all variables, and give them the values of the last state."""
        if self.predictor is self.model:  # or a step that makes variables is traced twice
            optimizer = self.model.optimizer
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            with self.team.scope():
                inner.build(self.model.trainable_variables)
        spec = self.data.element_spec
        self.step = make_step(self.model, self.average, spec, self.team, self.parts)
        self.graph = self.step.get_concrete_function().graph
        if drawn := framework.stateful_randomness(self.graph):
            self.watch.save_every = math.inf
            print(f"{', '.join(drawn)} cannot go on where it was: killed, this run starts anew")
        self.running = {
            x.name for x in self.model.metrics if not isinstance(x, tf.keras.metrics.Mean)
        }
        parts = {
            "model": self.model,
            "metrics": list(self.model.metrics),
            **_optimizers(self.model),
        }
        if self.average is not None:
            parts["average"] = self.average
        self.checkpoint = tf.train.Checkpoint(**parts)
        if (state := self.folder.restore_state(self.checkpoint)) is not None:
            noted, self.history = state
            self.total, self.done, self.logs = noted["total"], len(noted["logs"]), noted["logs"]
            self.seconds, self.processor_seconds = noted["seconds"], noted["processor seconds"]

    def _go_on(self) -> None:
        if self.total is None:
            self._find_steps_for_the_time()
        callbacks = tf.keras.callbacks.CallbackList(
            [
                *self.watch.callbacks,
                tf.keras.callbacks.TensorBoard(self.folder.path / "tensorboard", write_graph=False),
                *([_Progress(self)] if self.watch.progress else []),
            ],
            model=self.model,
            epochs=math.ceil(self.total / self.budget.per_epoch),
            steps=self.budget.per_epoch,
            total=self.total,
            done=self.done,
        )
        self.model.stop_training = False
        callbacks.on_train_begin()
        self.saved, self.begun = time.perf_counter(), None
        batches = self.data.from_step(self.done, self.team.part)
        for batch in islice(batches, max(0, self.total - self.done)):
            self._learn_from(batch, callbacks)
            if self.model.stop_training:
                break
            if self._is_time_to_save():
                self._save()
        callbacks.on_train_end()

    def _is_time_to_save(self) -> bool:
        if self.team.has_workers and self.watch.save_every < math.inf:
            return self.done % self.budget.per_epoch == 0  # they save together
        return time.perf_counter() - self.saved > self.watch.save_every

    def _learn_from(self, batch, callbacks) -> None:
        epoch, number = divmod(self.done, self.budget.per_epoch)
        if number == 0:
            self.model.reset_metrics()
        if number == 0 or self.begun is None:
            callbacks.on_epoch_begin(epoch)
            self.begun = time.perf_counter()
        callbacks.on_train_batch_begin(number)
        before = time.perf_counter(), time.process_time()
        logs = self._step(batch)
        if self.done > 0:  # the first one compiles
            self.seconds += time.perf_counter() - before[0]
            self.processor_seconds += time.process_time() - before[1]
        self.logs.append(logs)
        self.done += 1
        callbacks.on_train_batch_end(number, logs)
        ends = number + 1 == self.budget.per_epoch or self.done == self.total
        if ends or self.model.stop_training:
            self._end_epoch(epoch, callbacks)

    def _step(self, batch) -> dict[str, float]:
        if self.schedule is not None:
            share = self.done / self.total if self.total else 0.0
            self.model.optimizer.learning_rate = self.schedule(share)
        logs = {name: float(value) for name, value in self.step(batch).items()}
        for name, value in logs.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self.folder.path}: {name} is {value} in step {self.done + 1}. A lower "
                    "learning rate helps most often"
                )
        return logs

    def _end_epoch(self, epoch: int, callbacks) -> None:
        steps = self.logs[epoch * self.budget.per_epoch :]
        row = {
            name: steps[-1][name] if name in self.running else np.mean([x[name] for x in steps])
            for name in steps[-1]
        }
        with self.average.in_place() if self.average else nullcontext():
            if self.watch.val is not None:
                row |= {f"val_{name}": x for name, x in self._score(self.watch.val).items()}
            row["seconds"] = round(time.perf_counter() - self.begun, 2)
            row = pd.DataFrame(row, index=pd.Index([epoch + 1], name="epoch"))
            self.history = pd.concat([self.history, row]) if epoch else row
            if self.watch.val is not None and self.history[MONITOR].idxmax() == epoch + 1:
                save_weights(self.predictor, self.folder.best)
        self.folder.write_history(self.history)
        callbacks.on_epoch_end(epoch, row.iloc[0].to_dict())

    def _score(self, val) -> dict[str, float]:
        if self.predictor is self.model:
            return self.model.evaluate(val, verbose=0, return_dict=True)
        self.predictor.compile(metrics=[MeanIoU(self.predictor.output_shape[-1])])
        scores = self.predictor.evaluate(val, verbose=0, return_dict=True)
        return {name: value for name, value in scores.items() if name != "loss"}

    def _find_steps_for_the_time(self) -> None:
        """Time some steps, undo them, and note how many the budget holds."""
        self._save()
        times, timed = [], islice(self.data.from_step(0), 1 + _TIMED)
        for k, batch in enumerate(timed):
            before = self.budget.clock()
            self._step(batch)
            if k:
                times.append(self.budget.clock() - before)
        self.folder.restore_state(self.checkpoint)
        self.total = self.budget.in_steps(times)
        self.folder.forget_states()
        self._save()

    def _save(self) -> None:
        noted = {
            "total": self.total,
            "logs": self.logs,
            "seconds": self.seconds,
            "processor seconds": self.processor_seconds,
        }
        self.folder.save_state(self.done, self.checkpoint, noted, self.history)
        self.saved = time.perf_counter()

    def _finish(self) -> None:
        with self.average.in_place() if self.average else nullcontext():
            save_weights(self.predictor, self.folder.last)
        if self.refresh:
            plain = self.data.sets[self.refresh_on].source.plainly().from_step(0)
            for file in filter(Path.exists, (self.folder.best, self.folder.last)):
                load_weights(self.predictor, file)
                refresh_batch_norm(self.predictor, plain, self.refresh)
                save_weights(self.predictor, file)
        loss = "loss" if "loss" in self.logs[0] else next(iter(self.logs[0]), None)
        self.folder.finish(
            {
                **({"best_epoch": int(self.history[MONITOR].idxmax())} if self.watch.val else {}),
                "steps": self.done,
                "training seconds": round(self.seconds, 2),
                "processor seconds": round(self.processor_seconds, 2),
                "precision": tf.keras.mixed_precision.global_policy().name,
                "tensorflow": tf.__version__,
                "machine": platform.machine(),
                "cores": os.cpu_count(),
                "losses": [logs[loss] for logs in self.logs] if loss else [],
            }
        )


class _Progress(tf.keras.callbacks.Callback):
    """A bar over the steps and, in a notebook, curves that grow with every epoch."""

    def __init__(self, training: _Training):
        super().__init__()
        self.training = training
        self.bar = self.publish = None

    def on_train_begin(self, logs=None):
        from tqdm.auto import tqdm

        if plots.in_notebook():
            from IPython.display import DisplayHandle

            self.handle = DisplayHandle()
            self.publish = self.handle.display
        self.bar = tqdm(total=self.training.total, initial=self.training.done, unit="batch")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        epochs = self.params["epochs"]
        names = [name for name in ("loss", MONITOR) if name in logs]
        scores = ", ".join(f"{name} {logs[name]:.3f}" for name in names)
        text = f"epoch {epoch + 1}/{epochs}: {scores}"
        self.bar.set_description(text)
        if plots.in_notebook():
            curves = plots.curves(self.training.history, epochs)
            plots.show(curves, text, self.publish)
            self.publish = self.handle.update  # from now on, replace the picture

    def on_train_end(self, logs=None):
        self.bar.close()


def own_error(error, folder: Path | None, sources) -> Exception:
    """Return the exception of ours that stands behind one of TensorFlow's, or that one itself.

    Parameters
    ----------
    error : tf.errors.OpError
    folder : Path or None
        What was being written, if anything.
    sources : iterable of `pipeline.Frames`
        What was being read; they note what went wrong.
    """
    for frames in sources:
        if frames.fault is not None:
            return frames.fault
    if isinstance(error, tf.errors.DataLossError):
        folders = {str(Path(name).parent) for x in sources for name in getattr(x, "files", ())}
        return DataError(
            f"{', '.join(sorted(folders)) or 'the shards'}: one of the shards is damaged "
            f"({error.message}); delete the folder, and write them again"
        )
    if folder and any(
        words in str(error) for words in ("No space left", "File too large", "Permission denied")
    ):
        return StorageError(f"{folder}: the checkpoint cannot be written: {error.message}")
    return error


def refresh_batch_norm(model, dataset, batches: int = 30) -> None:
    """Compute BatchNorm's running averages anew, as plain means over some training batches.

    No trained weight changes. Useful after a short run, in which averages with a momentum of 0.99
    still remember their start, mean 0 and variance 1.

    Raises
    ------
    CitysegError
        Whatever was wrong with a file of the data set.
    """
    layers = [x for x in model.submodules if isinstance(x, tf.keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    try:
        for k, (images, _) in enumerate(islice(dataset, batches)):
            for layer in layers:
                layer.momentum = k / (k + 1)  # makes the running average the mean so far
            model(images, training=True)
    except tf.errors.OpError as error:
        raise own_error(error, None, filter(None, [getattr(dataset, "frames", None)])) from error
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
