"""What all methods share that learn from frames with labels and from others without any."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import pandas as pd

from cityseg_utils import datasets
from cityseg_utils.errors import DataError, ShapeError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.preprocessing import Size

tf = load_tensorflow()


@dataclass(frozen=True, kw_only=True, repr=False)
class Method:
    """How a recipe learns from more than labels; the kinds are in the modules named for them.

    Parameters
    ----------
    batch_size : int
        Frames without labels in a step, 2 or more.
    size : (height, width), optional
        What these are resized to before `augment`; default the recipe's.
    augment : callable, optional
        As for `pipeline.make_dataset`. It must not look beyond the frame, for nobody says there
        what is void: scales from 1.
    own_frames : bool
        Take the labelled frames, without their labels, in place of others: the control that tells
        what other frames bring from what the method brings.
    warm : float
        Share of the steps in the beginning that learn from labels alone.
    refresh_on : str
        ``"labelled"`` or ``"unlabelled"``: of which frames BatchNorm's averages are computed in the
        end, if the recipe says so.
    """

    batch_size: int = 4
    size: Size | None = None
    augment: Callable | None = None
    own_frames: bool = False
    warm: float = 0.25
    refresh_on: str = "labelled"

    needs_others = True

    def __post_init__(self):
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size must be 2 or more, got {self.batch_size}: BatchNorm computes its mean "
                "and variance from a batch, and frames are mixed with others of it"
            )
        self.check_shares("warm")
        self.check_word("refresh_on", ("labelled", "unlabelled"))

    def __repr__(self) -> str:
        """Name what differs from the default, so that stored tables outlive new settings."""
        held = [(field, getattr(self, field.name)) for field in fields(self)]
        changed = [f"{field.name}={value!r}" for field, value in held if value != field.default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def check_word(self, name: str, known: tuple[str, ...]) -> None:
        """Refuse a setting that is none of these words."""
        if getattr(self, name) not in known:
            raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")

    def check_shares(self, *names: str) -> None:
        """Refuse a setting that is no share, 0 to 1."""
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)!r}")

    def frames(self, pairs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the train frames that have a mask, and those without that the method uses.

        Raises
        ------
        DataError
            If either are missing, if a frame is among both, or if any is of a test split.
        """
        labelled, others = pairs[pairs["mask"].notna()], pairs[pairs["mask"].isna()]
        if "split" in pairs and (pairs["split"] == "test").any():
            raise DataError(
                f"{(pairs['split'] == 'test').sum()} frames are of the test split, not even whose "
                "pictures may be learned from"
            )
        if labelled.empty:
            raise DataError("not one frame has a mask, so there is no label to learn from")
        if not self.needs_others:
            others = others.iloc[:0]
        elif self.own_frames:
            others = labelled.assign(mask=None)
        elif others.empty:
            raise DataError(
                "every frame has a mask; datasets.hide_masks leaves some without, or say "
                "own_frames=True"
            )
        elif both := _pictures(labelled) & _pictures(others):
            raise DataError(f"{len(both)} frames are there with and without their mask")
        return labelled, others

    def build(self, network, steps: int, seed: int, pixels) -> "Learner":
        """Return what `training.fit` trains.

        Parameters
        ----------
        network : keras.Model
        steps : int
            Of the whole training.
        seed : int
            Decides what is random in a step.
        pixels : ``(C,)``
            How many each class has in the labelled frames.
        """
        raise NotImplementedError


def _pictures(pairs: pd.DataFrame) -> set[str]:
    return {image for image, _ in datasets.digests(pairs.assign(mask=None))}


class Learner(tf.keras.Model):
    """A network that first learns from labelled batches alone, and then from others beside them.

    Parameters
    ----------
    network : keras.Model
        Gets ``(N, H, W, 3) float32`` and answers ``(N, H, W, C)`` probabilities.
    warm_steps : int
        So many steps are of the first kind.

    Attributes
    ----------
    predictor : keras.Model
        The network.
    logged : tuple of str
        What :meth:`together` logs beside ``loss``; 0 before it has begun.
    """

    logged: tuple[str, ...] = ()

    def __init__(self, network, warm_steps: int):
        super().__init__()
        self.predictor, self.warm_steps = network, warm_steps

    def compile(self, optimizer, loss, **options) -> None:
        """Set the optimizer and the loss on labelled pixels, and make the optimizer's variables."""
        super().compile(optimizer, loss, **options)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        inner.build(self.predictor.trainable_variables)

    def train_step(self, data) -> dict:
        """Learn from a batch of each kind: ``labelled`` and, if it needs them, ``unlabelled``."""
        for name, (_, labels) in data.items():
            if labels.shape[-1] != self.predictor.output_shape[-1]:
                raise ShapeError(
                    f"the network tells {self.predictor.output_shape[-1]} classes apart, and the "
                    f"{name} frames have {labels.shape[-1]}"
                )
        early = self.optimizer.iterations < self.warm_steps
        logs = tf.cond(early, lambda: self.alone(data), lambda: self.together(data))
        self.after_step()
        return logs

    def alone(self, data) -> dict:
        """Learn from the labelled batch."""
        images, truth = data["labelled"]
        with tf.GradientTape() as tape:
            loss = self.loss(truth, self.predictor(images, training=True))
        self.learn(loss, tape)
        return {"loss": loss, **dict.fromkeys(self.logged, tf.constant(0.0))}

    def together(self, data) -> dict:
        """Learn from both."""
        raise NotImplementedError

    def learn(self, loss, tape) -> None:
        """Take a step of the network's optimizer."""
        self.optimizer.minimize(loss, self.predictor.trainable_variables, tape)

    def after_step(self) -> None:
        """Do what every step ends with."""
        return

    def get_config(self) -> dict:
        """Refuse: what is stored of a method is its network."""
        raise NotImplementedError
