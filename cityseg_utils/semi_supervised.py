"""Learning from streets without labels: a teacher labels them, and a student learns from that.

The teacher is the average of the student over its last steps. It sees a frame as it is, the student
sees it with other colours and with parts of another frame pasted in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cityseg_utils.augmentation import ClassMix, Colors, CutMix
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import VOID
from cityseg_utils.losses import DiceLoss, surprise
from cityseg_utils.methods import Learner, Method

tf = load_tensorflow()

LOSSES = ("cross-entropy", "dice")
HALF_THE_CLASSES, OTHER_COLORS = ClassMix(), Colors(0.5)
RARE = 0.02  # of the labelled pixels; what has less is pasted more often


@dataclass(frozen=True, kw_only=True, repr=False)
class MeanTeacher(Method):
    """Pseudo-labels from an average of earlier students (Tarvainen and Valpola, NeurIPS 2017).

    With ``mix=CutMix(own=True), paste=False`` after French et al. (BMVC 2020), with ``ClassMix()``
    Olsson et al. (WACV 2021), and with ``paste=True`` Tranheden et al. ("DACS", WACV 2021), who
    paste classes of labelled frames.

    Parameters
    ----------
    mix : CutMix, ClassMix or None
        What is pasted into a frame without labels.
    paste : bool
        Whether that is of a labelled frame, with its true labels; else it is of the batch's frame
        before, with the teacher's.
    rare_first : bool
        Paste classes with few labelled pixels half of the time, the others a quarter of it.
    loss : str
        One of `LOSSES`, on the mixed frames.
    weight : float
        Of that loss.
    threshold : float
        How sure the teacher must be of a pixel.
    share : bool
        Instead of leaving out pixels that it is less sure of, weigh all its labels by the share of
        those that it is sure of (as DACS does; with cross-entropy alone).
    momentum : float
        Of the average; its memory is of ``1 / (1 - momentum)`` steps.
    fixed : bool
        Leave the teacher as it is when the student begins to learn from it: pseudo-labelling in two
        rounds (Lee, 2013).
    strong : callable, optional
        Changes what the student sees; as for `pipeline.make_dataset`, colours alone.
    strong_on : str
        ``"others"``: of the frames without labels, before anything is pasted; ``"mixture"``: of
        all that it sees, what was pasted too, as DACS has it.
    batch_size, size, augment, own_frames, warm, refresh_on
        As for `methods.Method`.

    Raises
    ------
    ValueError
        If a setting is none of these.
    """

    mix: CutMix | ClassMix | None = HALF_THE_CLASSES
    paste: bool = True
    rare_first: bool = False
    loss: str = "cross-entropy"
    weight: float = 1.0
    threshold: float = 0.0
    share: bool = False
    momentum: float = 0.99
    fixed: bool = False
    strong: Callable | None = OTHER_COLORS
    strong_on: str = "others"

    def __post_init__(self):
        super().__post_init__()
        self.check_shares("threshold", "momentum")
        self.check_word("loss", LOSSES)
        self.check_word("strong_on", ("others", "mixture"))
        if self.share and self.loss != "cross-entropy":
            raise ValueError("share=True weighs pixels, which Dice cannot; take cross-entropy")
        if self.rare_first and not (self.paste and isinstance(self.mix, ClassMix)):
            raise ValueError("rare_first=True is for mix=ClassMix() and paste=True")

    def build(self, network, steps: int, seed: int, pixels) -> "Student":
        """Return the network with its teacher; see `methods.Method.build`."""
        mix = self.mix
        if self.rare_first:
            rare = np.asarray(pixels) < RARE * np.sum(pixels)
            mix = ClassMix(tuple(np.where(rare, 0.5, 0.25).tolist()))
        return Student(network, self, mix, round(self.warm * steps), seed)


class Student(Learner):
    """A network and the teacher that follows it.

    Parameters
    ----------
    network : keras.Model
    method : MeanTeacher
    mix : CutMix, ClassMix or None
    warm_steps, seed : int
    """

    logged = ("mixed loss", "agreement", "sure")

    def __init__(self, network, method: MeanTeacher, mix, warm_steps: int, seed: int):
        super().__init__(network, warm_steps)
        self.teacher = tf.keras.models.clone_model(network)
        self.teacher.set_weights(network.get_weights())
        self.method, self.mix, self.seed = method, mix, seed

    def together(self, data) -> dict:
        """Learn from labelled frames, and from others as the teacher labels them."""
        images, truth = data["labelled"]
        mixed, labels, weights, sure = self.mixture(images, truth, data["unlabelled"][0])
        with tf.GradientTape() as tape:
            loss = self.loss(truth, self.predictor(images, training=True))
            answer = self.predictor(mixed, training=True)
            mixed_loss = self.mixed_loss(labels, answer, weights)
            whole = loss + self.method.weight * mixed_loss
        self.learn(whole, tape)
        labels = tf.cast(labels, tf.int32)
        known = labels != VOID
        agrees = (tf.argmax(answer, -1, tf.int32) == labels) & known
        agreement = tf.math.divide_no_nan(
            *(tf.reduce_sum(tf.cast(x, tf.float32)) for x in (agrees, known))
        )
        values = (mixed_loss, agreement, sure)
        return {"loss": loss, **dict(zip(self.logged, values, strict=True))}

    def mixture(self, images, truth, others):
        """Return what the student sees of frames without labels, and what it shall answer.

        Parameters
        ----------
        images, truth : ``(N, H, W, 3)`` and ``(N, H, W, C)``
            A labelled batch, one-hot with all zeros for void.
        others : ``(M, H, W, 3)``

        Returns
        -------
        mixed, labels, weights : ``(M, H, W, 3)``, ``(M, H, W) uint8`` and ``(M, H, W) float32``
            The pictures, their labels, and how much each pixel counts. Of fewer labelled frames
            than others, so many.
        sure : float32
            The share of the pixels that the teacher is sure enough of.
        """
        method = self.method
        key = tf.stack([self.seed, tf.cast(self.optimizer.iterations, tf.int32)])
        if self.mix is not None and method.paste:
            others = others[: tf.shape(images)[0]]
        answer = self.teacher(others, training=False)
        labels = tf.cast(tf.argmax(answer, -1), tf.uint8)
        weights = tf.cast(tf.reduce_max(answer, -1) >= method.threshold, tf.float32)
        sure = tf.reduce_mean(weights)
        if method.share:
            weights = tf.fill(tf.shape(labels), sure)
        change_first = method.strong_on == "others" or self.mix is None
        mixed = self._changed(others, labels, key) if change_first else others
        if self.mix is None:
            return mixed, labels, weights, sure
        if method.paste:
            number = tf.shape(others)[0]
            donors = images[:number], _train_ids(truth[:number]), tf.ones_like(weights)
        else:
            donors = (tf.roll(x, 1, 0) for x in (mixed, labels, weights))
        pictures, donor_labels, donor_weights = donors
        where = self.mix.where(donor_labels, key)
        mixed = tf.where(where[..., None], pictures, mixed)
        return (
            mixed if change_first else self._changed(mixed, labels, key),
            tf.where(where, donor_labels, labels),
            tf.where(where, donor_weights, weights),
            sure,
        )

    def _changed(self, pictures, labels, key):
        if self.method.strong is None:
            return pictures

        def of_one(inputs):
            picture, label, number = inputs
            own = tf.random.experimental.stateless_fold_in(key, number)
            return self.method.strong(picture, label, own)[0]

        numbers = tf.range(tf.shape(pictures)[0])
        return tf.map_fn(of_one, (pictures, labels, numbers), fn_output_signature=tf.float32)

    def mixed_loss(self, labels, answer, weights):
        """Return the loss of an answer, ``(M, H, W, C)``, to mixed frames."""
        answer = tf.cast(answer, tf.float32)
        wanted = tf.one_hot(labels, answer.shape[-1])
        if self.method.loss == "dice":
            return DiceLoss()(wanted * weights[..., None], answer)
        likelihood = tf.reduce_sum(wanted * answer, -1)
        known = tf.reduce_sum(wanted, -1)  # not void, which may be pasted from a labelled frame
        return tf.reduce_mean(surprise(likelihood) * weights * known)

    def after_step(self) -> None:
        """Let the teacher follow, BatchNorm's averages too."""
        still = self.method.fixed and self.optimizer.iterations > self.warm_steps
        momentum = tf.where(still, 1.0, self.method.momentum)
        for mine, its in zip(self.teacher.weights, self.predictor.weights, strict=True):
            mine.assign_add((1 - tf.cast(momentum, mine.dtype)) * (tf.cast(its, mine.dtype) - mine))


def _train_ids(truth):
    """Return ``(N, H, W) uint8`` train ids of a one-hot batch, 255 for void."""
    void = tf.reduce_sum(truth, -1) == 0
    return tf.where(void, tf.constant(VOID, tf.uint8), tf.cast(tf.argmax(truth, -1), tf.uint8))
