"""A training in one value: network, what it sees, how it learns and for how long."""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from cityseg_utils import framework, losses, models, pipeline, storage, training
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow, set_seed
from cityseg_utils.labels import ClassScheme
from cityseg_utils.methods import Method
from cityseg_utils.preprocessing import Size, read_mask

tf = load_tensorflow()

LOSSES = (
    "dice",
    "tversky",
    "cross-entropy",
    "cross-entropy + dice",
    "weighted cross-entropy",
    "weighted cross-entropy + dice",
    "focal",
)
_BUDGETS = ("steps", "seconds", "processor_seconds")
SCHEDULES = ("constant", "cosine", "one cycle", "rising")

# What the settings of a recipe may be; nothing compares to NaN.
_WORDS = {
    "architecture": models.ARCHITECTURES,
    "loss": LOSSES,
    "schedule": SCHEDULES,
    "precision": ("auto", *framework.PRECISIONS),
}
_NUMBERS = (
    ("batch_size steps", "a whole number from 1", lambda x: x >= 1 and x % 1 == 0),
    ("refresh", "a whole number from 0", lambda x: x >= 0 and x % 1 == 0),
    ("learning_rate seconds processor_seconds", "a number above 0", lambda x: 0 < x < math.inf),
    ("weight_decay repeat", "a number from 0", lambda x: 0 <= x < math.inf),
    ("average batch_norm_momentum", "from 0 to less than 1", lambda x: 0 <= x < 1),
    ("largest_weight", "a number from 1", lambda x: 1 <= x < math.inf),
    (
        "size read_size",
        "two whole numbers above 0",
        lambda x: len(x) == 2 and min(x) > 0 == sum(x) % 1,
    ),
)


@dataclass(frozen=True)
class Recipe:
    """All that decides a training, but the data and the seed.

    Parameters
    ----------
    architecture, backbone, encoder_weights, batch_norm_momentum, freeze_encoder
        As for `models.build_model`.
    first_weights : Path or str, optional
        A file of `models.save_weights` to start from, or ``"reference"`` for the model that comes
        with the course; there is one of the small network, and an older one of U-Net with
        ResNet-34. If it has another last layer, that one starts at random.
    size : (height, width)
        What the network sees, and what it is scored at.
    read_size : (height, width), optional
        What frames are resized to before `augment`, default `size`. A crop out of a larger frame is
        sharp; out of one of the network's own size it is blown up.
    augment, mix, batch_size
        As for `pipeline.make_dataset`.
    repeat : float
        Frames with a class that less than this share of the frames hold come more often; see
        :func:`repeat_rare`.
    loss : str
        One of `LOSSES`.
    largest_weight : float
        Of a class, where the loss is weighted; see `losses.class_weights`.
    learning_rate, weight_decay : float
        Of Adam, or of AdamW (Loshchilov and Hutter, ICLR 2019) if there is decay.
    schedule : str
        One of `SCHEDULES`: how the learning rate goes from its peak to nearly 0. ``"rising"`` is
        for finding the peak: from a millionth of it, by the same factor at each step (after Smith,
        "Cyclical learning rates", WACV 2017, who raises it evenly).
    average : float
        Momentum of an exponential average of the weights, which is what counts in the end; 0: none.
        It begins with the first weights, of which momentum ** steps are left in the end.
    refresh : int
        Batches of plain train frames from which BatchNorm's averages are computed anew at the end.
    precision : str
        As for `framework.precision`: by default what is fastest where the training runs.
    method : Method, optional
        How to learn from frames without labels, or from more than the labels: of `semi_supervised`
        or `adversarial`. Its budget is one of steps.
    steps, seconds, processor_seconds : number, optional
        The budget; one of the three, as for `training.fit`.
    """

    architecture: str = "Unet"
    backbone: str = "resnet34"
    encoder_weights: str | None = None
    batch_norm_momentum: float = 0.9
    freeze_encoder: bool = False
    first_weights: Path | str | None = None
    size: Size = (128, 128)
    read_size: Size | None = None
    augment: Callable | None = None
    mix: Callable | None = None
    batch_size: int = 8
    repeat: float = 0.0
    loss: str = "cross-entropy + dice"
    largest_weight: float = 5.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "cosine"
    average: float = 0.0
    refresh: int = 30
    precision: str = "auto"
    method: Method | None = None
    steps: int | None = None
    seconds: float | None = None
    processor_seconds: float | None = None

    def __post_init__(self):
        for what, known in _WORDS.items():
            if getattr(self, what) not in known:
                raise ValueError(f"{what} must be one of {known}, got {getattr(self, what)!r}")
        for names, kind, holds in _NUMBERS:
            for what in names.split():
                value = getattr(self, what)
                if value is None and what in ("batch_norm_momentum", "read_size", *_BUDGETS):
                    continue
                with suppress(TypeError):
                    if holds(value):
                        continue
                raise ValueError(f"{what} must be {kind}, got {value!r}")
        if self.method is not None and (self.seconds or self.processor_seconds):
            raise ValueError("a method needs a budget of steps, to know when it has to begin")
        models.check_network(self.architecture, self.backbone)
        models.check_size(self.architecture, *self.size)

    def but(self, **changes) -> "Recipe":
        """Return the same recipe with some changes."""
        return dataclasses.replace(self, **changes)

    def __str__(self) -> str:
        """Name what differs from the default."""
        fields = [field for field in dataclasses.fields(self)]
        changed = [
            (f.name, getattr(self, f.name)) for f in fields if getattr(self, f.name) != f.default
        ]
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in changed)})"


@dataclass
class Trained:
    """What :func:`train` returns.

    Attributes
    ----------
    model : keras.Model
        In float32, for images of any size whose sides 32 divides; PSPNet for the recipe's size.
    steps : int
        As many batches were learned from.
    seconds, processor_seconds : float
        Time of training alone, without the first step.
    losses : ``(steps,)``
        The loss of each step.
    precision : str
        The one that "auto" came to.
    """

    model: object
    steps: int
    seconds: float
    processor_seconds: float
    losses: np.ndarray
    precision: str


def rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate at a point of the training, 0 being its start and 1 its end."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "rising":
        return recipe.learning_rate * 1e-6 ** max(0.0, 1 - progress)
    rise = 0.25 if recipe.schedule == "one cycle" else 0.0
    if progress < rise:
        return recipe.learning_rate * (0.1 + 0.9 * progress / rise)
    fall = min(1.0, (progress - rise) / (1 - rise))
    return recipe.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * fall)) / 2)


def make_loss(recipe: Recipe, pixels=None):
    """Return the Keras loss that a recipe names; `pixels` per class are for the weighted ones."""
    if recipe.loss == "dice":
        return losses.DiceLoss()
    if recipe.loss == "tversky":
        return losses.TverskyLoss()
    weights = None
    if "weighted" in recipe.loss:
        weights = losses.class_weights(pixels, recipe.largest_weight)
    entropy = losses.CrossEntropy(weights, focus=2.0 if recipe.loss == "focal" else 0.0)
    return losses.SumOfLosses([entropy, losses.DiceLoss()]) if "dice" in recipe.loss else entropy


def make_model(recipe: Recipe, num_classes: int):
    """Build the recipe's network, with its first weights."""
    model = models.build_model(
        num_classes,
        (None, None, 3) if recipe.architecture != "PSPNet" else (*recipe.size, 3),
        recipe.backbone,
        recipe.architecture,
        recipe.encoder_weights,
        recipe.batch_norm_momentum,
        recipe.freeze_encoder,
    )
    if recipe.first_weights is not None:
        models.load_matching(model, _first_weights(recipe))
    return model


def first_weights_digest(recipe: Recipe) -> str | None:
    """Return what tells the weights that a recipe starts from, whatever their files are called.

    Raises
    ------
    DataError
        If their file cannot be read.
    """
    files = [] if recipe.first_weights is None else [_first_weights(recipe)]
    if recipe.encoder_weights not in (None, "imagenet"):
        files.append(Path(recipe.encoder_weights))
    digests = []
    for path in files:
        try:
            digests.append(hashlib.sha256(storage.read_bytes(path)).hexdigest())
        except DataError as error:
            raise DataError(f"{path}: no weights to start from can be read: {error}") from error
    return " ".join(digests) or None


def _first_weights(recipe: Recipe) -> Path:
    if recipe.first_weights != "reference":
        return Path(recipe.first_weights)
    return models.REFERENCE if recipe.backbone == models.SMALL else models.FIRST_REFERENCE


def train(
    recipe: Recipe,
    pairs: pd.DataFrame,
    scheme: ClassScheme,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
    runs: Path | str | None = None,
    name: str = "recipe",
) -> Trained:
    """Train for the recipe's budget, without looking at any other data.

    Parameters
    ----------
    recipe : Recipe
    pairs : DataFrame
        The train split. For a method, frames whose mask is None are those without labels.
    scheme : ClassScheme
    seed : int
        Decides first weights, order and augmentation.
    progress : callable, optional
        Called after each step with its number and the share of the budget that is used.
    runs : Path or str, optional
        Where the folder of the run lies, from which it goes on when killed; without one, nothing
        is kept.
    name : str
        Begins that folder's name.

    Raises
    ------
    CitysegError
        Whatever was wrong with a file of the data set.
    """
    budget = {name: x for name in _BUDGETS if (x := getattr(recipe, name)) is not None}
    if len(budget) != 1:
        raise ValueError(f"a recipe needs a budget: either {'=... or '.join(_BUDGETS)}=...")
    with nullcontext(runs) if runs else TemporaryDirectory() as folder:
        options = {
            "runs": folder,
            "name": name,
            "callbacks": [_Steps(progress)] if progress else [],
        }
        run, model = _fit(recipe, pairs, None, scheme, seed, progress=False, **budget, **options)
    result = run.result
    times = result["training seconds"], result["processor seconds"]
    return Trained(model, result["steps"], *times, run.losses, result["precision"])


def tell(step: int, share: float) -> None:
    """Print every 100 steps how far a training is: a `progress` for :func:`train`."""
    if step % 100 == 0:
        print(f"step {step}, {share:.0%}", flush=True)


def fit(
    recipe: Recipe,
    train_pairs: pd.DataFrame,
    val_pairs: pd.DataFrame,
    scheme: ClassScheme,
    epochs: int,
    seed: int = 0,
    name: str = "recipe",
):
    """Train for some epochs, watched on val; the recipe's budget is not used.

    Returns
    -------
    run, model : training.Run, keras.Model
        The model has the last epoch's weights, not the best one's, and is in float32.
    """
    return _fit(recipe, train_pairs, val_pairs, scheme, seed, epochs=epochs, name=name)


def _fit(recipe, train_pairs, val_pairs, scheme, seed, **options):
    """Say a recipe in the words of `training.fit`."""
    set_seed(seed)
    others = None
    if recipe.method is not None:
        train_pairs, others = recipe.method.frames(train_pairs)
    data, val = make_data(recipe, train_pairs, scheme, seed), None
    with _precision(recipe):
        model = network = make_model(recipe, scheme.num_classes)
        metrics = []
        if val_pairs is not None:
            val = make_data(_plainly(recipe), val_pairs, scheme, seed, shuffle=False)
            metrics = [training.MeanIoU(scheme.num_classes)]
        if recipe.method is not None:
            steps = options.get("steps") or options["epochs"] * data.source.steps
            pixels = count_pixels(train_pairs, scheme)
            model, metrics = recipe.method.build(network, steps, seed, pixels), []
            data = {"labelled": data}
            if not others.empty:
                data["unlabelled"] = make_others(recipe, others, scheme, seed)
                options["refresh_on"] = recipe.method.refresh_on
        model.compile(_optimizer(recipe), _loss_for(recipe, train_pairs, scheme), metrics=metrics)
        run = training.fit(
            model,
            data,
            val,
            schedule=partial(rate, _rates(recipe)),
            average=recipe.average,
            refresh=recipe.refresh,
            keep="last",
            **options,
        )
    plain = make_model(recipe.but(first_weights=None, encoder_weights=None), scheme.num_classes)
    plain.set_weights(network.get_weights())
    return run, plain


def _rates(recipe: Recipe) -> Recipe:
    """Return what decides the learning rate, and nothing else."""
    return Recipe(schedule=recipe.schedule, learning_rate=recipe.learning_rate)


class _Steps(tf.keras.callbacks.Callback):
    """Tells after each step how far the training is."""

    def __init__(self, progress: Callable[[int, float], None]):
        super().__init__()
        self.progress, self.done = progress, 0

    def on_train_begin(self, logs=None):
        self.done = self.params["done"]

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        self.progress(self.done, self.done / self.params["total"])


def make_data(
    recipe: Recipe, pairs: pd.DataFrame, scheme: ClassScheme, seed: int, shuffle: bool = True
):
    """Return the batches that a recipe learns from."""
    if recipe.repeat:
        pairs = repeat_rare(pairs, scheme, recipe.repeat)
    return pipeline.make_dataset(
        pairs,
        scheme,
        recipe.size,
        recipe.batch_size,
        augment=recipe.augment,
        mix=recipe.mix,
        shuffle=shuffle,
        seed=seed,
        read_size=recipe.read_size,
    )


def make_others(recipe: Recipe, pairs: pd.DataFrame, scheme: ClassScheme, seed: int):
    """Return the batches of frames without labels that a recipe's method learns from."""
    method = recipe.method
    return pipeline.make_dataset(
        pairs,
        scheme,
        method.size or recipe.size,
        method.batch_size,
        augment=method.augment,
        shuffle=True,
        seed=seed + 1_000_000,  # or frames of both kinds would be changed alike
        unlabelled=True,
    )


def _plainly(recipe: Recipe) -> Recipe:
    """Return the recipe with the frames as they are."""
    return recipe.but(augment=None, mix=None, repeat=0.0, read_size=None)


def _loss_for(recipe: Recipe, pairs: pd.DataFrame, scheme: ClassScheme):
    return make_loss(recipe, count_pixels(pairs, scheme) if "weighted" in recipe.loss else None)


@contextmanager
def _precision(recipe: Recipe):
    before = tf.keras.mixed_precision.global_policy()
    precision = framework.precision(recipe.precision)
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        yield precision
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _optimizer(recipe: Recipe):
    optimizer = tf.keras.optimizers.Adam(rate(recipe, 0))
    if recipe.weight_decay:
        optimizer = tf.keras.optimizers.AdamW(rate(recipe, 0), weight_decay=recipe.weight_decay)
    if tf.keras.mixed_precision.global_policy().name == "mixed_float16":
        return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def count_pixels(pairs: pd.DataFrame, scheme: ClassScheme, frames: int = 200) -> np.ndarray:
    """Return how many pixels each class has, ``(C,)``, in so many of the masks, evenly chosen.

    Of fewer than twice as many masks all are counted.
    """
    counts = np.zeros(256, np.int64)
    for path in islice(pairs["mask"], 0, None, max(1, len(pairs) // frames)):
        counts += np.bincount(read_mask(path, scheme).ravel(), minlength=256)
    return counts[: scheme.num_classes]


def repeat_rare(pairs: pd.DataFrame, scheme: ClassScheme, threshold: float) -> pd.DataFrame:
    """Return the pairs with those repeated that hold a rare class.

    A frame comes ``max(1, sqrt(threshold / share))`` times, for the rarest class that it holds;
    share is that of the frames that hold the class (repeat factor sampling: Gupta et al., "LVIS",
    CVPR 2019). Of a fraction, as many frames as it says get one repetition more.
    """
    holds = np.zeros((len(pairs), 256), bool)
    for row, path in zip(holds, pairs["mask"], strict=True):
        row[np.unique(read_mask(path, scheme))] = True
    holds = holds[:, : scheme.num_classes]
    share = np.maximum(holds.mean(0), 1 / len(pairs))
    factor = np.where(holds, np.maximum(1, np.sqrt(threshold / share)), 1).max(1)
    whole = np.floor(factor).astype(int)
    more = np.random.default_rng(0).random(len(pairs)) < factor - whole
    return pairs.iloc[np.repeat(np.arange(len(pairs)), whole + more)].reset_index(drop=True)
