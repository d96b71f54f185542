"""Losses that leave void out and are fair to classes that a batch does not hold."""

from functools import partial

from cityseg_utils.framework import load_tensorflow

tf = load_tensorflow()

EPSILON = 1e-6


def soft_counts(truth, probabilities):
    """Return intersection, truth and prediction mass per class over a batch, ``(C,)`` each.

    Pixels whose truth is all zeros (void) count nowhere, whatever is predicted there.

    Parameters
    ----------
    truth : ``(N, H, W, C)``
        One-hot.
    probabilities : ``(N, H, W, C)``
    """
    truth, probabilities = _widened(truth, probabilities)
    labelled = tf.reduce_sum(truth, -1, keepdims=True)
    probabilities = probabilities * labelled
    axes = [0, 1, 2]
    return over_all_copies(
        tf.reduce_sum(truth * probabilities, axes),
        tf.reduce_sum(truth, axes),
        tf.reduce_sum(probabilities, axes),
    )


def _widened(truth, probabilities):
    """Return both as float32, or as float64 if that is what the network computes in."""
    wide = tf.float64 if probabilities.dtype == tf.float64 else tf.float32
    return tf.cast(truth, wide), tf.cast(probabilities, wide)


def over_all_copies(*sums):
    """Add up sums over the copies of a network that learn together; alone, return them.

    Copies on several devices each see a part of a batch. A loss that is a ratio of sums, as Dice
    and a mean over labelled pixels are, is that of the whole batch only if its sums are. Each copy
    gets the loss over the number of copies, as Keras divides it, and their gradients are added.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return sums
    return tuple(context.all_reduce(tf.distribute.ReduceOp.SUM, list(sums)))


def surprise(likelihood):
    """Return the negative logarithm of a probability, which is finite at 0."""
    return -tf.math.log(tf.maximum(likelihood, EPSILON))


@tf.keras.utils.register_keras_serializable("cityseg_utils")
class DiceLoss(tf.keras.losses.Loss):
    """One minus the soft Dice coefficient, averaged over the classes that the batch holds.

    Soft Dice (after Milletari et al., 2016, who square the terms below the line) puts
    probabilities in the place of counts: ``2 * sum(t * p) / (sum(t) + sum(p))``. Where
    segmentation-models averages over all classes, so that an absent class costs nearly 1 as soon
    as it gets any probability, here only classes present in the batch's truth have a say; a false
    alarm of an absent class still costs, as it takes probability from the class that is there. A
    batch of void alone has loss 0.

    Takes one-hot ``(N, H, W, C)`` with all zeros for void, and probabilities of the same shape.
    """

    def __init__(self, name: str = "dice_loss"):
        super().__init__(name=name)

    def call(self, y_true, y_pred):
        intersection, truth, prediction = soft_counts(y_true, y_pred)
        dice = 2 * intersection / (truth + prediction + EPSILON)
        return _mean_of_present(1 - dice, truth)

    def get_config(self) -> dict:
        return {"name": self.name}


@tf.keras.utils.register_keras_serializable("cityseg_utils")
class TverskyLoss(tf.keras.losses.Loss):
    """One minus the soft Tversky index, averaged as :class:`DiceLoss` does.

    The index (Salehi et al., 2017) is ``I / (I + a * F + b * M)`` with the mass I that is right,
    F of false alarms and M that is missed. With a = b = 0.5 it is Dice, with 1 the soft IoU; with
    b > a misses cost more, as they do where a class is rare.

    Parameters
    ----------
    false_alarms, misses : float
        a and b.
    """

    def __init__(self, false_alarms: float = 0.3, misses: float = 0.7, name: str = "tversky_loss"):
        super().__init__(name=name)
        self.false_alarms, self.misses = false_alarms, misses

    def call(self, y_true, y_pred):
        intersection, truth, prediction = soft_counts(y_true, y_pred)
        wrong = self.false_alarms * (prediction - intersection)
        wrong += self.misses * (truth - intersection)
        return _mean_of_present(1 - intersection / (intersection + wrong + EPSILON), truth)

    def get_config(self) -> dict:
        return {"false_alarms": self.false_alarms, "misses": self.misses, "name": self.name}


def _mean_of_present(loss, truth):
    """Return the mean over the classes that the batch holds; 0 if it is void."""
    present = tf.cast(truth > 0, loss.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(loss * present), tf.reduce_sum(present))


@tf.keras.utils.register_keras_serializable("cityseg_utils")
class CrossEntropy(tf.keras.losses.Loss):
    """Mean negative log-likelihood over labelled pixels.

    Takes one-hot ``(N, H, W, C)`` with all zeros for void, and probabilities of the same shape.

    Parameters
    ----------
    weights : sequence of C floats, optional
        How much a pixel of each class counts; see :func:`class_weights`.
    focus : float
        Pixels that are nearly right count less, by ``(1 - p) ** focus``: the focal loss of Lin et
        al., ICCV 2017, with their gamma. 0 is plain cross-entropy.

    Raises
    ------
    ValueError
        If `focus` lies between 0 and 1, or there is not a weight for each class.
    """

    def __init__(self, weights=None, focus: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name=name)
        if 0 < focus < 1:
            raise ValueError(
                f"focus is 0, or 1 or more: in between a sure answer has no gradient; got {focus}"
            )
        self.weights = None if weights is None else [float(weight) for weight in weights]
        self.focus = focus

    def call(self, y_true, y_pred):
        y_true, y_pred = _widened(y_true, y_pred)
        if self.weights is not None and len(self.weights) != y_pred.shape[-1]:
            raise ValueError(f"{len(self.weights)} weights for {y_pred.shape[-1]} classes")
        likelihood = tf.reduce_sum(y_true * y_pred, -1)
        counts = tf.reduce_sum(y_true if self.weights is None else y_true * self.weights, -1)
        loss = surprise(likelihood) * counts
        if self.focus:
            loss *= (1 - likelihood) ** self.focus
        return tf.math.divide_no_nan(*over_all_copies(tf.reduce_sum(loss), tf.reduce_sum(counts)))

    def get_config(self) -> dict:
        return {"weights": self.weights, "focus": self.focus, "name": self.name}


def class_weights(pixels, largest: float = 5.0) -> list[float]:
    """Return a weight per class, one over the square root of its share, 1 for the commonest.

    Parameters
    ----------
    pixels : ``(C,)`` integers
        How many pixels each class has in the train split.
    largest : float
        No weight is larger, lest a handful of pixels rule.
    """
    commonest = max(pixels)
    return [min(largest, (commonest / max(number, 1)) ** 0.5) for number in map(float, pixels)]


@tf.keras.utils.register_keras_serializable("cityseg_utils")
class SumOfLosses(tf.keras.losses.Loss):
    """A weighted sum of losses, such as cross-entropy plus Dice.

    Parameters
    ----------
    losses : sequence of keras Losses
    weights : sequence of float, optional
        Default 1 each.
    """

    def __init__(self, losses, weights=None, name: str = "sum_of_losses"):
        super().__init__(name=name)
        self.losses = list(losses)
        self.weights = list(weights) if weights is not None else [1.0] * len(self.losses)
        if len(self.weights) != len(self.losses):
            raise ValueError(
                f"{len(self.weights)} weights were given for {len(self.losses)} losses"
            )

    def call(self, y_true, y_pred):
        pairs = zip(self.weights, self.losses, strict=True)
        # Called as Keras calls losses, ours would refuse to learn on several devices.
        return tf.add_n(
            [
                weight * (loss.call if isinstance(loss, WHOLE_BATCH) else loss)(y_true, y_pred)
                for weight, loss in pairs
            ]
        )

    def get_config(self) -> dict:
        parts = [tf.keras.losses.serialize(loss, use_legacy_format=True) for loss in self.losses]
        return {"losses": parts, "weights": self.weights, "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "SumOfLosses":
        """Make the loss again from :meth:`get_config`."""
        # The older format, as Keras reads no newer one within an .h5 file.
        read = partial(tf.keras.losses.deserialize, use_legacy_format=True)
        return cls(**{**config, "losses": map(read, config["losses"])})


# On several devices these are the loss of the whole batch (`over_all_copies`).
WHOLE_BATCH = (DiceLoss, TverskyLoss, CrossEntropy, SumOfLosses)
