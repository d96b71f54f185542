"""U-Net and GAN: a network learns to give answers that a discriminator cannot tell from others."""

from dataclasses import dataclass

from cityseg_utils.framework import load_tensorflow
from cityseg_utils.losses import EPSILON, surprise
from cityseg_utils.methods import Learner, Method

tf = load_tensorflow()

AGAINST = ("truth", "source")


@dataclass(frozen=True, kw_only=True, repr=False)
class Adversarial(Method):
    """A loss from a discriminator (Goodfellow et al., 2014) beside that from the labels.

    Parameters
    ----------
    against : str
        ``"truth"``: true label maps against answers to the same frames (Luc et al., 2016);
        ``"source"``: answers to labelled frames, as drawn ones, against those to frames without
        labels, as photographs (Tsai et al., CVPR 2018).
    weight : float
        Of the discriminator's loss for the network; 0 is the control.
    soften : float, optional
        Against truth: the one-hot truth keeps this probability at least, and the other classes
        share the rest as the answer does, so that sharpness alone does not betray it (Luc's
        "scaling").
    confident : float, optional
        Against truth: where the discriminator takes the answer to a frame without labels for true
        with this probability, it is a pseudo-label (Hung et al., BMVC 2018); without it no such
        frames are used.
    confident_weight : float
        Of the loss on these.
    rate : float
        Of the discriminator's Adam.
    smooth : float
        It learns to say 1 less this, where it sees the first kind (Salimans et al., 2016).
    shrink : int
        Maps are averaged over so many pixels a side before it sees them.
    batch_size, size, augment, own_frames, warm, refresh_on
        As for `methods.Method`.

    Raises
    ------
    ValueError
        If a setting is none of these.
    """

    against: str = "truth"
    weight: float = 0.01
    soften: float | None = None
    confident: float | None = None
    confident_weight: float = 0.1
    rate: float = 1e-4
    smooth: float = 0.1
    shrink: int = 2

    def __post_init__(self):
        super().__post_init__()
        self.check_word("against", AGAINST)
        self.check_shares(
            "smooth", *(x for x in ("soften", "confident") if getattr(self, x) is not None)
        )
        if self.against == "source" and (self.soften, self.confident) != (None, None):
            raise ValueError("soften and confident are for a discriminator that sees the truth")

    @property
    def needs_others(self) -> bool:
        """Whether frames without labels are used."""
        return self.against == "source" or self.confident is not None

    def build(self, network, steps: int, seed: int, pixels) -> "Rivals":
        """Return the network with its discriminator; see `methods.Method.build`."""
        return Rivals(network, self, round(self.warm * steps))


def build_discriminator(num_classes: int, widths: tuple[int, ...] = (32, 64, 128)):
    """Build the network that tells label maps apart, without BatchNorm, in float32.

    Gets ``(N, H, W, C)`` probabilities or one-hot truth and answers ``(N, H / 8, W / 8, 1)``, a
    number for each patch: above 0 the first kind.
    """
    layers = tf.keras.layers
    network = tf.keras.Sequential([layers.InputLayer((None, None, num_classes))])
    for width in widths:
        network.add(layers.Conv2D(width, 4, 2, "same", dtype="float32"))
        network.add(layers.LeakyReLU(0.2, dtype="float32"))
    network.add(layers.Conv2D(1, 4, 1, "same", dtype="float32"))
    return network


def soften(truth, answer, least: float):
    """Return a softer truth, shared out as an answer is, ``(N, H, W, C)`` both.

    The true class gets ``max(least, its answer)``, the others the rest in proportion to theirs;
    void stays all zeros.
    """
    of_true = tf.reduce_sum(truth * answer, -1, keepdims=True)
    new = tf.maximum(of_true, least)
    others = answer * (1 - new) / tf.maximum(1 - of_true, EPSILON)
    labelled = tf.reduce_sum(truth, -1, keepdims=True)
    return (truth * new + (1 - truth) * others) * labelled


class Rivals(Learner):
    """A network and the discriminator of its answers.

    Parameters
    ----------
    network : keras.Model
    method : Adversarial
    warm_steps : int
    """

    logged = ("adversarial loss", "discriminator loss", "told apart")

    def __init__(self, network, method: Adversarial, warm_steps: int):
        super().__init__(network, warm_steps)
        self.method = method
        self.discriminator = build_discriminator(network.output_shape[-1])
        self.discriminator_optimizer = tf.keras.optimizers.Adam(method.rate, 0.9, 0.99)

    def compile(self, optimizer, loss, **options) -> None:
        """Set the network's optimizer and loss; the discriminator has its own."""
        super().compile(optimizer, loss, **options)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    def judge(self, maps):
        """Return what the discriminator says of ``(N, H, W, C)`` maps, as logits."""
        return self.discriminator(
            tf.nn.avg_pool2d(maps, self.method.shrink, self.method.shrink, "SAME")
        )

    def together(self, data) -> dict:
        """Learn, the network from labels and the discriminator, that one from the network."""
        (images, truth), method = data["labelled"], self.method
        with tf.GradientTape() as tape:
            answer = self._answer(images)
            whole = loss = self.loss(truth, answer)
            if method.against == "source":
                first, second = answer, self._answer(data["unlabelled"][0])
            else:  # void is zero in both, or it would betray the truth
                first, second = truth, answer * tf.reduce_sum(truth, -1, keepdims=True)
            fooled = _entropy(1.0, self.judge(second))
            if method.confident is not None:
                others = self._answer(data["unlabelled"][0])
                fooled += _entropy(1.0, self.judge(others))
                whole += method.confident_weight * self._loss_where_confident(others)
            whole += method.weight * fooled
        self.learn(whole, tape)
        if method.soften is not None:
            first = soften(truth, answer, method.soften)
        taught, told_apart = self.teach(tf.stop_gradient(first), tf.stop_gradient(second))
        return {"loss": loss, **dict(zip(self.logged, (fooled, taught, told_apart), strict=True))}

    def _answer(self, images):
        return tf.cast(self.predictor(images, training=True), tf.float32)

    def _loss_where_confident(self, answer):
        """Return cross-entropy of the answer to itself where it is taken for true."""
        true = tf.sigmoid(tf.stop_gradient(self.judge(answer)))
        true = tf.image.resize(true, tf.shape(answer)[1:3])[..., 0] > self.method.confident
        return tf.reduce_mean(surprise(tf.reduce_max(answer, -1)) * tf.cast(true, tf.float32))

    def teach(self, first, second):
        """Let the discriminator learn from ``(N, H, W, C)`` maps of both kinds.

        Returns
        -------
        loss, told_apart : float32
            Its loss, 0.69 where it knows nothing, and the share of patches it was right about.
        """
        with tf.GradientTape() as tape:
            of_first, of_second = self.judge(first), self.judge(second)
            loss = _entropy(1 - self.method.smooth, of_first) / 2 + _entropy(0.0, of_second) / 2
        variables = self.discriminator.trainable_variables
        self.discriminator_optimizer.minimize(loss, variables, tape)
        right = [tf.reduce_mean(tf.cast(x, tf.float32)) for x in (of_first > 0, of_second < 0)]
        return loss, (right[0] + right[1]) / 2


def _entropy(wanted: float, logits):
    wanted = tf.fill(tf.shape(logits), wanted)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits))
