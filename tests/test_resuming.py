"""Trainings that are killed inside an epoch end as if they had not been, to the last bit."""

import signal
import sys

import numpy as np
import pytest

from cityseg_utils import adversarial as rivals
from cityseg_utils import training
from cityseg_utils.augmentation import ScaleAndCrop
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import DataError, TrainingError
from cityseg_utils.framework import load_tensorflow, set_seed
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.losses import DiceLoss
from cityseg_utils.pipeline import make_dataset
from cityseg_utils.semi_supervised import MeanTeacher

tf = load_tensorflow()
pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.slow]

SIZE, STEPS = (32, 64), 11  # three epochs of three steps, and two


def network(name):
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Conv2D(6, 3, padding="same", input_shape=(*SIZE, 3), name=f"{name}_see"),
            layers.BatchNormalization(momentum=0.9),
            *([layers.Dropout(0.5)] if name == "dropout" else []),
            layers.Conv2D(19, 1, activation="softmax"),
        ]
    )


class Adversarial(tf.keras.Model):
    """Two networks, two optimizers, two data sets; and noise that comes again with the step."""

    def __init__(self):
        super().__init__()
        self.predictor = network("predictor")
        self.critic = tf.keras.Sequential(
            [tf.keras.layers.Conv2D(1, 3, strides=4, input_shape=(*SIZE, 19))]
        )
        self.critic_optimizer = tf.keras.optimizers.Adam(0.01)

    def train_step(self, data):
        (images, masks), (others, _) = data["labelled"], data["unlabelled"]
        key = tf.stack([7, tf.cast(self.optimizer.iterations, tf.int32)])
        others += tf.random.stateless_normal(tf.shape(others), key, stddev=0.1)
        with tf.GradientTape(persistent=True) as tape:
            loss = self.loss(masks, self.predictor(images, training=True))
            real, made = self.critic(masks), self.critic(self.predictor(others, training=True))
            critic_loss = tf.reduce_mean((real - 1) ** 2) + tf.reduce_mean(made**2)
            whole = loss + 0.1 * tf.reduce_mean((made - 1) ** 2)
        self.optimizer.minimize(whole, self.predictor.trainable_variables, tape)
        self.critic_optimizer.minimize(critic_loss, self.critic.trainable_variables, tape)
        return {"loss": loss, "critic": critic_loss}


METHODS = {
    "teacher": MeanTeacher(warm=0.2),
    "rivals": rivals.Adversarial(against="source", weight=0.1, warm=0.2),
}


class Stop(tf.keras.callbacks.Callback):
    """Hold the training after a step, until the process is killed."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_begin(self, logs=None):
        self.done = self.params["done"]

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done == self.step:
            print("stopped", flush=True)
            sys.stdin.read()


def fit(kind, data, runs, callbacks=(), **options):
    """Train one kind; return the run and all that it has left."""
    tf.keras.backend.clear_session()
    set_seed(0)
    pairs = find_pairs(data)
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    labelled = make_dataset(train, CITYSCAPES, SIZE, 3, shuffle=True, seed=3)
    if kind in ("method", *METHODS):
        model = Adversarial()
        if kind in METHODS:
            model = METHODS[kind].build(network("predictor"), STEPS, 0, None)
        model.compile(tf.keras.optimizers.Adam(0.01), DiceLoss())
        others = make_dataset(
            train.assign(mask=None), CITYSCAPES, SIZE, 2, shuffle=True, unlabelled=True
        )
        labelled = {"labelled": labelled, "unlabelled": others}
    else:
        model = network(kind)
        metrics = [training.MeanIoU(19)]
        model.compile(tf.keras.optimizers.Adam(0.01), DiceLoss(), metrics=metrics)
    if kind not in ("plain", "dropout"):
        options = {"average": 0.8, "refresh": 2} | options
    run = training.fit(
        model,
        labelled,
        make_dataset(val, CITYSCAPES, SIZE, 3),
        steps=STEPS,
        runs=runs,
        callbacks=callbacks,
        progress=False,
        schedule=halving,
        **options,
    )
    weights = {name: np.load(run.folder / f"{name}.npz") for name in ("best", "last")}
    return run, {f"{name} {k}": x for name, file in weights.items() for k, x in file.items()}


def halving(progress):
    return 0.01 * 0.5**progress


IN_ANOTHER_PROCESS = """
import sys
import test_resuming
kind, data, runs, step, save_every = sys.argv[1:]
test_resuming.fit(
    kind, data, runs, [test_resuming.Stop(int(step))], save_every=float(save_every)
)
"""


@pytest.fixture(scope="module", params=["averaged", "method"])
def undisturbed(request, tiny_city, tmp_path_factory):
    return request.param, fit(request.param, tiny_city, tmp_path_factory.mktemp("undisturbed"))


def start(kind, data, runs, step, start_python, save_every=0):
    """Start a training and wait for it to stop after a step."""
    process = start_python(IN_ANOTHER_PROCESS, kind, data, runs, step, save_every)
    if not any("stopped" in line for line in process.stdout):
        raise AssertionError(process.stderr.read())  # it has ended
    return process


def kill(*arguments, **options):
    process = start(*arguments, **options)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def assert_same(one, other):
    (run, left), (other_run, other_left) = one, other
    assert run.folder.name == other_run.folder.name
    np.testing.assert_array_equal(run.losses, other_run.losses)
    columns = [name for name in run.history if name != "seconds"]
    assert run.history[columns].equals(other_run.history[columns])
    assert left.keys() == other_left.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, other_left[name])


@pytest.mark.parametrize("step", [1, 2, 4, 8, 11])
def test_killed_after_any_step(undisturbed, tiny_city, tmp_path, start_python, step):
    """The state is of the step before, so that weights, optimizers, order and averages go on."""
    kind, expected = undisturbed
    kill(kind, tiny_city, tmp_path, step, start_python)
    outcome = fit(kind, tiny_city, tmp_path)
    assert not outcome[0].reused
    assert_same(outcome, expected)


@pytest.mark.parametrize("kind", METHODS)
def test_a_killed_method_goes_on_with_all_that_it_holds(kind, tiny_city, tmp_path, start_python):
    """The teacher, or the discriminator and its optimizer: what they say is in the history."""
    expected = fit(kind, tiny_city, tmp_path / "one")
    assert len(expected[0].history.columns) == 6
    kill(kind, tiny_city, tmp_path / "two", 5, start_python)
    assert_same(fit(kind, tiny_city, tmp_path / "two"), expected)


def test_what_cannot_go_on_starts_anew(tiny_city, tmp_path, start_python, capsys):
    """As Keras's Dropout, whose state is TensorFlow's alone."""
    kill("dropout", tiny_city, tmp_path / "one", 5, start_python)
    outcome = fit("dropout", tiny_city, tmp_path / "one")
    assert "cannot go on where it was: killed, this run starts anew" in capsys.readouterr().out
    assert_same(outcome, fit("dropout", tiny_city, tmp_path / "two"))


def test_killed_before_there_is_a_state(undisturbed, tiny_city, tmp_path, start_python):
    kind, expected = undisturbed
    kill(kind, tiny_city, tmp_path, 7, start_python, save_every=999)
    assert_same(fit(kind, tiny_city, tmp_path), expected)


def test_losses_are_those_of_a_bare_loop(tiny_city, tmp_path):
    run, _ = fit("plain", tiny_city, tmp_path)
    set_seed(0)
    model = network("bare")
    pairs = find_pairs(tiny_city).query("split == 'train'")
    data = make_dataset(pairs, CITYSCAPES, SIZE, 3, shuffle=True, seed=3)
    model.compile(tf.keras.optimizers.Adam(0.01), DiceLoss())
    losses = []
    for epoch in range(4):
        for batch in data.take(3 if epoch < 3 else 2):
            model.optimizer.learning_rate = halving(len(losses) / STEPS)
            losses.append(float(model.train_on_batch(*batch)))
    np.testing.assert_allclose(run.losses, losses, rtol=1e-5)


def test_the_average_is_what_is_scored_and_kept(tiny_city, tmp_path):
    """By hand: the mean that forgets, of the weights after each step."""
    seen = []

    class Look(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights())

    set_seed(0)
    first = network("averaged").get_weights()
    run, left = fit("averaged", tiny_city, tmp_path, [Look()], refresh=0)
    for weights in seen:
        first = [0.8 * x + 0.2 * y for x, y in zip(first, weights, strict=True)]
    for k, expected in enumerate(first):
        np.testing.assert_allclose(left[f"last arr_{k}"], expected, rtol=1e-4, atol=1e-6)
    assert run.history["val_mean_iou"].between(0, 1).all()


@pytest.mark.parametrize("kind", ["plain", "method"])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tiny_city, tmp_path, kind):
    class Break(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                weight = getattr(self.model, "predictor", self.model).trainable_weights[0]
                weight.assign(weight * np.nan)

    for _ in range(2):
        with pytest.raises(TrainingError, match=r"loss is nan in step 3\. A lower"):
            fit(kind, tiny_city, tmp_path, [Break()])
    assert not list(tmp_path.rglob("result.json"))
    assert not list(tmp_path.rglob("*.npz"))


def test_two_at_once_are_one_too_many(tiny_city, tmp_path, start_python):
    process = start("plain", tiny_city, tmp_path, 5, start_python)
    (folder,) = tmp_path.iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*[!k]")}  # not the lock
    with pytest.raises(TrainingError, match="this training is going on already, in another"):
        fit("plain", tiny_city, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*[!k]")} == before
    process.kill()
    process.wait()
    assert not fit("plain", tiny_city, tmp_path)[0].reused


@pytest.mark.parametrize("damage", ["variables", "noted", "history", "weights"])
def test_a_damaged_state_ends_in_words(tiny_city, tmp_path, start_python, damage):
    kill("plain", tiny_city, tmp_path, 5, start_python)
    (state,) = tmp_path.glob("*/state-4")
    file = {
        "variables": state / "variables.data-00000-of-00001",
        "noted": state / "noted.json",
        "history": state / "history.csv",
        "weights": state / "variables.index",
    }[damage]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"state-4.*is damaged.*remove .* to train anew") as caught:
        fit("plain", tiny_city, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("file", ["history.csv", "result.json", "best.npz"])
def test_a_finished_run_that_is_damaged_is_not_handed_back(tiny_city, tmp_path, file):
    run, _ = fit("plain", tiny_city, tmp_path)
    path = run.folder / file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=file):
        fit("plain", tiny_city, tmp_path)


def test_what_a_killed_writer_left_is_removed(tiny_city, tmp_path, start_python):
    kill("plain", tiny_city, tmp_path, 5, start_python)
    (folder,) = tmp_path.iterdir()
    (folder / ".writing-x").mkdir()
    (folder / ".writing-x" / "best.npz").write_bytes(b"half")
    fit("plain", tiny_city, tmp_path)
    names = {"config.json", "history.csv", "best.npz", "last.npz", "result.json", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == names


def test_best_weights_that_are_gone_are_no_last_ones(tiny_city, tmp_path):
    run, _ = fit("plain", tiny_city, tmp_path)
    (run.folder / "best.npz").unlink()
    with pytest.raises(DataError, match=r"best\.npz"):
        fit("plain", tiny_city, tmp_path)


def test_a_callback_may_end_a_training(tiny_city, tmp_path):
    class End(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    run, _ = fit("plain", tiny_city, tmp_path, [End()])
    assert run.result["steps"] == len(run.losses) == 2
    assert len(run.history) == 1


def test_crops_of_larger_frames_fit_a_network_of_their_size(tiny_city, tmp_path):
    pairs = find_pairs(tiny_city).query("split == 'train'")
    crops = make_dataset(pairs, CITYSCAPES, (64, 128), 3, augment=ScaleAndCrop(SIZE, (1.0, 2.0)))
    model = network("alone")
    model.compile("sgd", DiceLoss())
    run = training.fit(model, crops, steps=2, runs=tmp_path, progress=False)
    assert np.isfinite(run.losses).all()


@pytest.mark.parametrize(
    "budget", [{}, {"epochs": 1, "steps": 3}, {"steps": 0}, {"seconds": float("nan")}]
)
def test_there_is_one_budget(tiny_city, tmp_path, budget):
    pairs = find_pairs(tiny_city).query("split == 'train'")
    model = network("alone")
    model.compile("sgd", DiceLoss())
    with pytest.raises(ValueError, match="one budget above 0, of epochs, steps, seconds"):
        training.fit(model, make_dataset(pairs, CITYSCAPES, SIZE, 3), runs=tmp_path, **budget)


def test_data_of_tensorflow_s_own_are_refused(tiny_city, tmp_path):
    pairs = find_pairs(tiny_city).query("split == 'train'")
    data = make_dataset(pairs, CITYSCAPES, SIZE, 3).map(lambda x, y: (x, y))
    model = network("alone")
    model.compile("sgd", DiceLoss())
    with pytest.raises(ValueError, match=r"must come from pipeline\.make_dataset"):
        training.fit(model, data, epochs=1, runs=tmp_path)


def test_an_optimizer_that_averages_for_itself_is_refused(tiny_city, tmp_path):
    pairs = find_pairs(tiny_city).query("split == 'train'")
    model = network("alone")
    model.compile(tf.keras.optimizers.Adam(use_ema=True), DiceLoss())
    with pytest.raises(ValueError, match=r"call fit\(\.\.\., average=0\.99\)"):
        training.fit(model, make_dataset(pairs, CITYSCAPES, SIZE, 3), epochs=1, runs=tmp_path)
