"""Training that can be killed and resumed."""

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from cityseg_utils import framework, plots, storage
from cityseg_utils.errors import StorageError
from cityseg_utils.framework import deterministic, load_tensorflow
from cityseg_utils.models import check_fits, load_weights, save_weights

# Their names of before, for one release.
from cityseg_utils.prediction import commonest_by_location, evaluate, predict, score  # noqa: F401

tf = load_tensorflow()

MONITOR = "val_mean_iou"


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
        Holds ``config.json``, ``history.csv``, ``best.npz``, ``last.npz``,
        ``result.json`` and a TensorBoard log.
    history : DataFrame
        One row per epoch, from 1; the columns are the logs of Keras and ``seconds``.
    reused : bool
        True if the run was finished before and nothing was trained.
    """

    folder: Path
    history: pd.DataFrame
    reused: bool

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest validation mean IoU, whose weights the model has now."""
        return int(self.history[MONITOR].idxmax())

    @property
    def seconds(self) -> float:
        """Time spent in training and validation, all sittings together."""
        return float(self.history["seconds"].sum())


def fit(
    model,
    train,
    val,
    epochs: int,
    name: str = "run",
    runs: Path | str | None = None,
    callbacks: Sequence = (),
    progress: bool = True,
) -> Run:
    """Train a compiled model, keep the best epoch's weights, and survive being killed.

    Every configuration (network, first weights, optimizer, loss, data, epochs) has a folder of its
    own. If that folder holds a finished run, its weights are loaded and nothing is trained; if it
    holds a run that was killed, training goes on from the last finished epoch and ends with the
    same numbers as if it had never stopped.

    Parameters
    ----------
    model : keras.Model
        Compiled with a :class:`MeanIoU` among its metrics. After the call it has the best weights.
    train, val : tf.data.Dataset
        From `pipeline.make_dataset`.
    epochs : int
    name : str
        Begins the folder's name, a hash of the configuration ends it.
    runs : Path or str, optional
        Where run folders lie; default ``runs/``.
    callbacks : sequence of keras Callbacks
        More callbacks. What they do is not part of the configuration.
    progress : bool
        Show a progress bar and, in a notebook, curves that grow.

    Raises
    ------
    FrameworkError
        If the model or a callback is of Keras 3.
    ValueError
        If the model cannot take the batches or lacks the metric, or the name begins no folder's.
    StorageError
        If the run folder cannot be written.
    CitysegError
        Whatever was wrong with a file of the data set.
    """
    if not re.fullmatch(r"[^/\\:\0\ud800-\udfff]{1,100}", name):
        raise ValueError(f"name must begin a folder's name, without / \\ or :, got {name!r}")
    framework.refuse_keras_3(model=model)
    for callback in callbacks:
        framework.refuse_keras_3(callback=callback)
    for shape in (data.element_spec[0].shape[1:3] for data in (train, val)):
        if shape.is_fully_defined():
            check_fits(model, tuple(shape))
    config = _describe(model, train, val, epochs)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:10]
    folder = Path(runs or storage.home() / "runs") / f"{name}-{digest}"
    reused = (folder / "result.json").is_file()
    if not reused:
        _train(model, train, val, epochs, folder, config, callbacks, progress)
    load_weights(model, folder / "best.npz")
    return Run(folder, _read_history(folder), reused)


def _describe(model, train, val, epochs: int) -> dict:
    names = {metric.name for metric in model.compiled_metrics._user_metrics or []}
    if MONITOR.removeprefix("val_") not in names:
        raise ValueError("compile the model with metrics=[training.MeanIoU(num_classes)]")
    weights = hashlib.sha256()
    for array in model.get_weights():
        weights.update(array.tobytes())
    return {
        "network": _fingerprint(model),
        "parameters": model.count_params(),
        "first_weights": weights.hexdigest()[:16],
        "optimizer": tf.keras.optimizers.serialize(model.optimizer),
        "loss": _describe_loss(model.loss),
        "precision": tf.keras.mixed_precision.global_policy().name,
        "train": train.config,
        "val": val.config,
        "epochs": epochs,
    }


def _describe_loss(loss) -> str | dict:
    """Tell losses apart: by name, by Keras's own configuration, or by all that an object holds."""
    if isinstance(loss, str):
        return loss
    kind = f"{type(loss).__module__}.{getattr(loss, '__name__', type(loss).__qualname__)}"
    settings = loss.get_config() if hasattr(loss, "get_config") else vars(loss)
    return {"kind": kind, **{name: repr(value) for name, value in settings.items()}}


def _fingerprint(model) -> str:
    """Hash the architecture, without the names that Keras counts up with every model."""
    text = model.to_json().replace(f'"{model.name}"', '"model"')
    for k, layer in enumerate(model.layers):
        text = text.replace(f'"{layer.name}"', f'"layer {k}"')
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _train(model, train, val, epochs, folder, config, callbacks, progress):
    config_file = folder / "config.json"
    if not config_file.is_file():
        storage.write_bytes(config_file, json.dumps(config, indent=1, default=str).encode())
    model.optimizer.build(model.trainable_variables)
    finished = tf.Variable(0, dtype=tf.int64)
    state = tf.train.Checkpoint(model=model, optimizer=model.optimizer, finished=finished)
    manager = tf.train.CheckpointManager(state, folder / "last", max_to_keep=1)
    if manager.latest_checkpoint:
        state.restore(manager.latest_checkpoint).assert_existing_objects_matched()
    start = int(finished.numpy())
    for frames in (train.frames, val.frames):
        frames.epoch = start
    keeper = _Keeper(folder, manager, finished)
    show = [_Progress(epochs, train.cardinality().numpy(), keeper)] if progress else []
    board = tf.keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)
    try:
        with deterministic(model):
            model.fit(
                train,
                validation_data=val,
                initial_epoch=start,
                epochs=epochs,
                verbose=0,
                callbacks=[*callbacks, board, keeper, *show],
            )
    except tf.errors.OpError as error:
        raise own_error(error, folder, (train.frames, val.frames)) from error
    result = {
        "best_epoch": int(keeper.history[MONITOR].idxmax()),
        "seconds": round(keeper.history["seconds"].sum(), 1),
        "tensorflow": tf.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    storage.write_bytes(folder / "result.json", json.dumps(result, indent=1).encode())
    shutil.rmtree(folder / "last", ignore_errors=True)


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
    if folder and any(
        words in str(error) for words in ("No space left", "File too large", "Permission denied")
    ):
        return StorageError(f"{folder}: the checkpoint cannot be written: {error.message}")
    return error


def _read_history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv", index_col="epoch", float_precision="round_trip")


class _Keeper(tf.keras.callbacks.Callback):
    """After each epoch write the history, the best weights and, last, the state to resume from."""

    def __init__(self, folder: Path, manager, finished):
        super().__init__()
        self.folder, self.manager, self.finished = folder, manager, finished
        done = int(finished.numpy())
        # An epoch that was noted but not kept is trained again, with the same outcome.
        self.history = _read_history(folder).loc[:done] if done else pd.DataFrame()

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        row = {**logs, "seconds": round(time.perf_counter() - self.started, 2)}
        index = pd.Index([epoch + 1], name="epoch")
        self.history = pd.concat([self.history, pd.DataFrame(row, index=index)])
        self.history.index.name = "epoch"
        storage.write_bytes(self.folder / "history.csv", self.history.to_csv().encode())
        if self.history[MONITOR].idxmax() == epoch + 1:
            save_weights(self.model, self.folder / "best.npz")
        if epoch + 1 == self.params["epochs"]:
            save_weights(self.model, self.folder / "last.npz")
        self.finished.assign(epoch + 1)
        self.manager.save(checkpoint_number=epoch + 1)


class _Progress(tf.keras.callbacks.Callback):
    """A bar over the steps and, in a notebook, curves that grow with every epoch."""

    def __init__(self, epochs: int, steps: int, keeper: _Keeper):
        super().__init__()
        self.epochs, self.steps, self.keeper = epochs, steps, keeper
        self.bar = self.publish = None

    def on_train_begin(self, logs=None):
        from tqdm.auto import tqdm

        if plots.in_notebook():
            from IPython.display import DisplayHandle

            self.handle = DisplayHandle()
            self.publish = self.handle.display
        done = len(self.keeper.history) * self.steps
        self.bar = tqdm(total=self.epochs * self.steps, initial=done, unit="batch")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        scores = f"loss {logs['loss']:.3f}, {MONITOR} {logs[MONITOR]:.3f}"
        text = f"epoch {epoch + 1}/{self.epochs}: {scores}"
        self.bar.set_description(text)
        if plots.in_notebook():
            curves = plots.curves(self.keeper.history, self.epochs)
            plots.show(curves, text, self.publish)
            self.publish = self.handle.update  # from now on, replace the picture

    def on_train_end(self, logs=None):
        self.bar.close()


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
