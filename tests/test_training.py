import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from cityseg_utils import training
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import DataError, FrameworkError
from cityseg_utils.framework import load_segmentation_models, load_tensorflow, set_seed
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme
from cityseg_utils.losses import CrossEntropy, DiceLoss, SumOfLosses
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.pipeline import make_dataset
from cityseg_utils.preprocessing import one_hot

tf = load_tensorflow()
pytestmark = pytest.mark.usefixtures("own_home")

SIZE, EPOCHS = (32, 64), 4
LEARNED = ["loss", "mean_iou", "val_loss", "val_mean_iou"]
RED_GREEN = ClassScheme("lights", ("red", "green"), ((255, 0, 0), (0, 255, 0)), (0, 1), (9,))


# -- a small training that several tests run, some of them in another process ---------------------


def mirror_half(image, mask, seed):
    mirrored = tf.random.stateless_uniform((), seed) < 0.5
    return (
        tf.where(mirrored, image[:, ::-1], image),
        tf.where(mirrored, mask[:, ::-1], mask),
    )


def small_model(seed=0, filters=8):
    tf.keras.backend.clear_session()
    set_seed(seed)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Conv2D(filters, 3, padding="same", input_shape=(*SIZE, 3), name="see"),
            layers.BatchNormalization(momentum=0.9, name="even_out"),
            layers.ReLU(name="bend"),
            layers.Conv2D(19, 1, activation="softmax", name="decide"),
        ],
        name="small",
    )
    loss = SumOfLosses([CrossEntropy(), DiceLoss()])
    metrics = [training.MeanIoU(19)]
    model.compile(tf.keras.optimizers.Adam(0.01), loss=loss, metrics=metrics)
    return model


def small_data(data, cache="memory"):
    pairs = find_pairs(data)
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    options = {"shuffle": True, "seed": 3, "augment": mirror_half, "cache": cache}
    return (
        make_dataset(train, CITYSCAPES, SIZE, 3, **options),
        make_dataset(val, CITYSCAPES, SIZE, 3, cache=cache),
    )


def small_fit(data, runs, model=None, epochs=EPOCHS, cache="memory", **options):
    model = model or small_model()
    run = training.fit(
        model, *small_data(data, cache), epochs, runs=runs, progress=False, **options
    )
    return model, run


class Stop(tf.keras.callbacks.Callback):
    """Hold the training until the process is killed: in a batch of an epoch, or at its end."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            sys.stdin.read()

    def on_train_end(self, logs=None):
        sys.stdin.read()


IN_ANOTHER_PROCESS = """
import sys
import test_training
data, runs, epoch = sys.argv[1:]
callbacks = [test_training.Stop(int(epoch))] if epoch else []
test_training.small_fit(data, runs, callbacks=callbacks, save_every=0)
"""


@pytest.fixture(scope="module")
def undisturbed(tiny_city, tmp_path_factory):
    """Model and run of a training that nothing happened to."""
    return small_fit(tiny_city, tmp_path_factory.mktemp("undisturbed"))


def assert_same_outcome(one, two):
    """Two results of `small_fit` agree to the last bit."""
    (model, run), (other_model, other_run) = one, two
    assert run.folder.name == other_run.folder.name
    assert run.best_epoch == other_run.best_epoch
    pd.testing.assert_frame_equal(
        run.history[LEARNED], other_run.history[LEARNED], check_exact=True
    )
    for a, b in zip(model.get_weights(), other_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def epochs_noted(runs):
    files = list(runs.glob("*/history.csv"))
    return len(files[0].read_text().splitlines()) - 1 if files else 0


# -- the metric -----------------------------------------------------------------------------------


@given(arrays(np.uint8, (5, 3, 4), elements=st.sampled_from([0, 1, 2, VOID])), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_metric_equals_the_confusion_matrix(truth, seed):
    probabilities = np.random.default_rng(seed).random((5, 3, 4, 3), np.float32)
    metric = training.MeanIoU(3)
    for part in (slice(0, 2), slice(2, 5)):
        metric.update_state(one_hot(truth[part], 3), probabilities[part])
    expected = ConfusionMatrix(3).update(truth, probabilities).mean_iou()
    assert float(metric.result()) == pytest.approx(np.nan_to_num(expected), abs=1e-12)


def test_metric_in_a_graph_over_several_batches(tiny_city):
    """Model.evaluate compiles the metric; the last batch is smaller."""
    model = small_model()
    _, val = small_data(tiny_city)
    reported = model.evaluate(val, verbose=0, return_dict=True)["mean_iou"]
    matrix = ConfusionMatrix(19)
    for images, masks in val:
        truth = masks.numpy().argmax(-1)
        truth[masks.numpy().sum(-1) == 0] = VOID
        matrix.update(truth, model(images).numpy())
    assert reported == pytest.approx(matrix.mean_iou(), abs=1e-6)
    assert (matrix.true_pixels > 0).sum() > 5


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_metric_counts_exactly_under_mixed_precision(policy):
    """More pixels of one class than half precision can count one by one."""
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        metric = training.MeanIoU(2)
        half = tf.keras.mixed_precision.global_policy().compute_dtype
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    truth = np.zeros((1, 300, 300), np.uint8)
    truth[0, 0, :3] = 1
    said = one_hot(np.zeros_like(truth), 2) * 0.9 + 0.05

    @tf.function
    def update(truth, said):
        metric.update_state(truth, said)

    update(tf.cast(one_hot(truth, 2), half), tf.cast(said, half))
    assert float(metric.result()) == pytest.approx((90_000 - 3) / 90_000 / 2, rel=1e-6)


def test_metric_forgets_between_epochs():
    metric = training.MeanIoU(2)
    wrong, right = one_hot(np.uint8([[[0]]]), 2), one_hot(np.uint8([[[1]]]), 2)
    metric.update_state(right, wrong)
    metric.reset_state()
    metric.update_state(right, right)
    assert float(metric.result()) == 1


def test_metric_can_be_made_again_from_its_configuration():
    again = training.MeanIoU.from_config(training.MeanIoU(7, name="val").get_config())
    assert (again.num_classes, again.name) == (7, "val")


@pytest.mark.parametrize("file", ["m.keras", "m.h5", "saved"])
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "own"])
def test_a_saved_model_is_loaded_to_the_same_scores(tiny_city, tmp_path, file, loss):
    """Keras has a MeanIoU of its own, which counts otherwise."""
    model, (_, val) = small_model(), small_data(tiny_city)
    if loss != "own":
        model.compile("adam", loss, metrics=[training.MeanIoU(19)])
    before = model.evaluate(val, verbose=0)
    model.save(tmp_path / file)
    again = tf.keras.models.load_model(tmp_path / file)
    assert again.evaluate(val, verbose=0) == pytest.approx(before)
    plain = tf.keras.models.load_model(tmp_path / file, compile=False)
    for one, two in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


# -- fit ------------------------------------------------------------------------------------------


def test_a_run_leaves_its_folder(undisturbed):
    _, run = undisturbed
    names = {"config.json", "history.csv", "best.npz", "last.npz", "result.json"}
    assert set(names_in(run.folder)) == names | {"tensorboard"}
    assert not run.reused
    assert list(run.history.index) == [1, 2, 3, 4]
    assert set(LEARNED) | {"seconds"} == set(run.history.columns)
    config = json.loads((run.folder / "config.json").read_text())
    assert config["epochs"] == EPOCHS
    result = json.loads((run.folder / "result.json").read_text())
    assert result["best_epoch"] == run.best_epoch
    assert run.seconds > 0


def test_training_learns_something(undisturbed):
    _, run = undisturbed
    assert run.history["loss"].iloc[-1] < run.history["loss"].iloc[0]


def test_the_model_has_the_best_epoch_s_weights(undisturbed, tiny_city):
    model, run = undisturbed
    _, val = small_data(tiny_city)
    score = model.evaluate(val, verbose=0, return_dict=True)["mean_iou"]
    assert score == pytest.approx(run.history["val_mean_iou"].max(), abs=1e-6)


def test_one_seed_gives_one_outcome(undisturbed, tiny_city, tmp_path):
    assert_same_outcome(small_fit(tiny_city, tmp_path), undisturbed)


@pytest.mark.slow
def test_one_seed_gives_one_outcome_in_another_process(
    undisturbed, tiny_city, tmp_path, run_python
):
    run_python(IN_ANOTHER_PROCESS, tiny_city, tmp_path, "")
    outcome = small_fit(tiny_city, tmp_path)
    assert outcome[1].reused
    assert_same_outcome(outcome, undisturbed)


def test_a_finished_run_is_reused(undisturbed, tiny_city, tmp_path):
    folder = tmp_path / undisturbed[1].folder.name
    shutil.copytree(undisturbed[1].folder, folder)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    outcome = small_fit(tiny_city, tmp_path)
    assert outcome[1].reused
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    assert_same_outcome(outcome, undisturbed)


def test_the_same_network_built_again_finds_its_run(tiny_city, tmp_path):
    """As when a student runs the cells of a notebook twice: Keras counts its names up."""
    folders = []
    for _ in range(2):
        set_seed(0)
        inputs = tf.keras.Input((*SIZE, 3))
        outputs = tf.keras.layers.Conv2D(19, 1, activation="softmax")(inputs)
        model = tf.keras.Model(inputs, outputs)
        model.compile("sgd", loss=DiceLoss(), metrics=[training.MeanIoU(19)])
        folders.append(small_fit(tiny_city, tmp_path, model, epochs=1)[1].folder)
    assert folders[0] == folders[1]


def test_history_is_read_back_to_the_last_digit(undisturbed, tiny_city, tmp_path):
    """Else a resumed run would note its first epochs anew with other last digits."""
    folder = tmp_path / undisturbed[1].folder.name
    shutil.copytree(undisturbed[1].folder, folder)
    exact = np.random.default_rng(0).random(200)
    rows = [[k + 1, *[repr(float(x))] * 5] for k, x in enumerate(exact)]
    with (folder / "history.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["epoch", *LEARNED, "seconds"], *rows])
    _, run = small_fit(tiny_city, tmp_path)
    assert run.reused
    assert run.history["loss"].tolist() == exact.tolist()


@pytest.mark.parametrize("change", ["seed", "data", "rate"])
def test_another_configuration_has_another_folder(undisturbed, tiny_city, tmp_path, change):
    model = small_model(seed=1 if change == "seed" else 0)
    if change == "rate":
        optimizer = tf.keras.optimizers.Adam(0.02)
        model.compile(optimizer, loss=model.loss, metrics=[training.MeanIoU(19)])
    train, val = small_data(tiny_city)
    if change == "data":
        train = val
    run = training.fit(model, train, val, EPOCHS, runs=tmp_path, progress=False)
    assert run.folder.name != undisturbed[1].folder.name


EDITS = {
    "as it was": ("", ""),
    "comment": ("# why", "# because"),
    "body": ("image + SHIFT", "image - SHIFT"),
    "global": ("SHIFT = 0.1", "SHIFT = 0.2"),
    "default": ("seed, by=1", "seed, by=2"),
}


def test_an_edited_function_is_trained_anew_and_no_other(tiny_city, tmp_path, monkeypatch):
    text = """
SHIFT = 0.1

def augment(image, mask, seed, by=1):
    # why
    return by * (image + SHIFT), mask
"""
    pairs, folders = find_pairs(tiny_city).query("split == 'val'"), {}
    for what, edit in EDITS.items():
        file = tmp_path / what / "own_augmentation.py"
        file.parent.mkdir()
        file.write_text(text.replace(*edit))
        monkeypatch.syspath_prepend(file.parent)
        sys.modules.pop("own_augmentation", None)
        augment = __import__("own_augmentation").augment
        val = make_dataset(pairs, CITYSCAPES, SIZE, 3)
        train = make_dataset(pairs, CITYSCAPES, SIZE, 3, augment=augment)
        options = {"runs": tmp_path / "runs", "progress": False}
        run = training.fit(small_model(filters=2), train, val, 1, **options)
        folders[what] = run.folder
        assert run.reused == (what == "comment")
    assert folders["comment"] == folders["as it was"]
    assert len(set(folders.values())) == len(EDITS) - 1


def test_what_cannot_be_described_is_trained_anew_and_says_so(tiny_city, tmp_path, capsys):
    room = {"tf": tf}
    exec("def loss(truth, guess): return tf.reduce_mean((truth - guess) ** 2)", room)
    for _ in range(2):
        model = small_model(filters=2)
        model.compile("sgd", room["loss"], metrics=[training.MeanIoU(19)])
        _, run = small_fit(tiny_city, tmp_path, model, epochs=1)
        assert not run.reused
        said = capsys.readouterr().out
        assert "the text of" in said
        assert "nobody can tell whether this training was done before, so it is new" in said
    assert len(names_in(tmp_path)) == 2


def test_a_corrected_mask_is_trained_anew(tiny_city, tmp_path):
    """Of equal name, size and date, as from a tool that keeps dates."""
    shutil.copytree(tiny_city, tmp_path / "data")
    _, before = small_fit(tmp_path / "data", tmp_path / "runs", small_model(filters=2), epochs=1)
    path = sorted(tmp_path.glob("data/gtFine/train/*/*labelIds.png"))[0]
    stat, mask = path.stat(), np.array(Image.open(path))
    mask[:4, :4] = 7
    Image.fromarray(mask).save(path)
    path.write_bytes(path.read_bytes().ljust(stat.st_size, b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    _, after = small_fit(tmp_path / "data", tmp_path / "runs", small_model(filters=2), epochs=1)
    assert not after.reused
    assert before.folder != after.folder


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_nothing_is_written_where_the_data_are(tiny_city, tmp_path, cache):
    """They may lie on a disk that is read-only."""
    before = {path: path.stat().st_mtime_ns for path in (tiny_city, *tiny_city.rglob("*"))}
    small_fit(tiny_city, tmp_path, small_model(filters=2), epochs=1, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in (tiny_city, *tiny_city.rglob("*"))} == before


@pytest.mark.parametrize("moment", ["epoch 3", "the end", "any"])
def test_killed_and_resumed(undisturbed, tiny_city, tmp_path, start_python, wait_until, moment):
    """Kill -9 in the midst of an epoch, before the result is noted, or whenever it strikes."""
    stop = {"epoch 3": 2, "the end": 99, "any": 99}[moment]
    process = start_python(IN_ANOTHER_PROCESS, tiny_city, tmp_path, stop)
    wait_until(process, lambda: epochs_noted(tmp_path) >= {99: EPOCHS}.get(stop, stop))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    outcome = small_fit(tiny_city, tmp_path)
    assert_same_outcome(outcome, undisturbed)
    assert len(names_in(tmp_path)) == 1
    assert names_in(outcome[1].folder) == names_in(undisturbed[1].folder)


@pytest.mark.slow
def test_runs_with_different_losses_never_share_a_folder(tiny_city, tmp_path):
    library = load_segmentation_models().losses
    losses = [
        "categorical_crossentropy",
        "mse",
        DiceLoss(),
        CrossEntropy(),
        SumOfLosses([CrossEntropy(), DiceLoss()]),
        SumOfLosses([CrossEntropy(), DiceLoss()], [1, 0.5]),
        library.DiceLoss(),
        library.DiceLoss(beta=2),
        lambda truth, guess: tf.reduce_mean((truth - guess) ** 2),
    ]
    train, val = small_data(tiny_city)
    folders = set()
    for loss in losses:
        model = small_model()
        model.compile("sgd", loss=loss, metrics=[training.MeanIoU(19)])
        run = training.fit(model, train, val, 1, runs=tmp_path, progress=False)
        folders.add(run.folder.name)
    assert len(folders) == len(losses)


def test_fit_wants_the_metric(tiny_city, tmp_path):
    model = small_model()
    model.compile("sgd", loss=DiceLoss())
    with pytest.raises(ValueError, match="MeanIoU"):
        small_fit(tiny_city, tmp_path, model)


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/b", "a\\b", "C:x", "a\0b"])
def test_a_run_stays_in_its_folder(tiny_city, tmp_path, name):
    with pytest.raises(ValueError, match="name must begin a folder's name"):
        small_fit(tiny_city, tmp_path / "a" / "b", name=name)
    assert names_in(tmp_path) == []


def test_batches_that_do_not_fit_are_refused_before_anything_is_written(tiny_city, tmp_path):
    train, _ = small_data(tiny_city)
    pairs = find_pairs(tiny_city).query("split == 'val'")
    val = make_dataset(pairs, CITYSCAPES, (32, 32), 2)
    for data in ((train, val), (val, train)):
        with pytest.raises(ValueError, match=r"'small' takes images of \(32, 64\), got \(32, 32\)"):
            training.fit(small_model(), *data, 1, runs=tmp_path, progress=False)
    assert names_in(tmp_path) == []


def test_the_cheat_sheet_s_lines_lead_from_files_to_a_score(tiny_city, monkeypatch, capsys):
    monkeypatch.setenv("CITYSEG_DATA", str(tiny_city))
    page = (Path(training.__file__).parents[1] / "notebooks" / "cheat_sheet.md").read_text("utf-8")
    lines = page.split("## From files to a score")[1].split("```")[1].removeprefix("python")
    exec(compile(lines.replace("epochs=5", "epochs=1"), "cheat_sheet.md", "exec"), {})
    assert 0 < float(capsys.readouterr().out.split()[-1]) < 1


def test_a_model_that_is_not_compiled_is_refused_in_words(tiny_city, tmp_path):
    inputs = tf.keras.Input((32, 64, 3))
    model = tf.keras.Model(inputs, tf.keras.layers.Conv2D(19, 1, activation="softmax")(inputs))
    with pytest.raises(ValueError, match=r"compile the model first: model.compile\(optimizer"):
        small_fit(tiny_city, tmp_path, model)
    assert names_in(tmp_path) == []


def test_what_is_of_keras_3_is_refused(tiny_city, tmp_path):
    import keras

    with pytest.raises(
        FrameworkError, match=r"this callback is of Keras 3; take it from tf\.keras"
    ):
        small_fit(tiny_city, tmp_path, callbacks=[keras.callbacks.EarlyStopping()])
    inputs = keras.Input((8, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    with pytest.raises(FrameworkError, match="this model is of Keras 3"):
        small_fit(tiny_city, tmp_path, model)
    model = small_model()
    model.compile("sgd", keras.losses.MeanSquaredError())
    with pytest.raises(FrameworkError, match="this loss is of Keras 3"):
        small_fit(tiny_city, tmp_path, model)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("one", [tf.keras.callbacks.TerminateOnNaN, "stop"])
def test_what_is_no_callback_is_refused(tiny_city, tmp_path, one):
    with pytest.raises(ValueError, match="which is no object of a tf.keras one"):
        small_fit(tiny_city, tmp_path, callbacks=[one])
    with pytest.raises(ValueError, match="callbacks is a list, also of one"):
        small_fit(tiny_city, tmp_path, callbacks=tf.keras.callbacks.TerminateOnNaN())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(("split", "cache"), [("train", "memory"), ("val", "disk"), ("val", None)])
def test_a_damaged_file_surfaces_as_a_data_error(tiny_city, tmp_path, split, cache):
    shutil.copytree(tiny_city, tmp_path / "data")
    path = sorted(tmp_path.glob(f"data/leftImg8bit/{split}/*/*.png"))[-1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated") as caught:
        small_fit(tmp_path / "data", tmp_path / "runs", cache=cache)
    assert str(path) in str(caught.value)


FULL_DISK = """
import resource, sys
import test_training
from cityseg_utils.errors import StorageError
data, runs, limit = sys.argv[1:]
model = test_training.small_model(filters=400)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    test_training.small_fit(data, runs, model, epochs=1, save_every=0)
except StorageError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [60_000, 180_000])
def test_a_full_disk_is_a_storage_error_and_leaves_no_halves(
    tiny_city, tmp_path, run_python, limit
):
    """The limit strikes in the weights, of 90 kB, or in the state to resume from, of 250 kB."""
    printed = run_python(FULL_DISK, tiny_city, tmp_path, limit)
    assert str(tmp_path) in printed
    assert "cannot be written" in printed
    assert not list(tmp_path.rglob(".writing-*"))
    assert not list(tmp_path.rglob("result.json"))


# -- BatchNorm's averages ------------------------------------------------------------------------


def test_refresh_batch_norm_gives_the_mean_over_batches(tiny_city):
    model = small_model()
    train, _ = small_data(tiny_city)
    before = {w.name: w.numpy() for w in model.weights}
    seen = [model.get_layer("see")(images).numpy().reshape(-1, 8) for images, _ in train]
    train.frames.epoch = 0
    training.refresh_batch_norm(model, train)
    layer = model.get_layer("even_out")
    mean = np.mean([x.mean(0) for x in seen], 0)
    variance = np.mean([x.var(0) for x in seen], 0)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-3)
    assert layer.momentum == 0.9
    changed = {w.name for w in model.weights if not np.array_equal(w.numpy(), before[w.name])}
    assert changed == {"even_out/moving_mean:0", "even_out/moving_variance:0"}


def test_refresh_batch_norm_stops_after_the_batches_asked_for(tiny_city):
    train, _ = small_data(tiny_city)
    one, all_of_them = small_model(), small_model()
    training.refresh_batch_norm(one, train.take(1))
    train.frames.epoch = 0
    training.refresh_batch_norm(all_of_them, train, batches=1)
    for a, b in zip(one.get_weights(), all_of_them.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_refresh_batch_norm_names_a_damaged_file(tiny_city, tmp_path):
    shutil.copytree(tiny_city, tmp_path / "data")
    path = sorted(tmp_path.glob("data/leftImg8bit/train/*/*.png"))[-1]
    path.write_bytes(path.read_bytes()[:-20])
    model = small_model()
    with pytest.raises(DataError, match="truncated") as caught:
        training.refresh_batch_norm(model, small_data(tmp_path / "data")[0])
    assert str(path) in str(caught.value)
    assert model.get_layer("even_out").momentum == 0.9


def test_runs_lie_in_the_home_by_default(undisturbed, tiny_city, own_home):
    shutil.copytree(undisturbed[1].folder, own_home / "runs" / undisturbed[1].folder.name)
    _, run = small_fit(tiny_city, None)
    assert run.reused
    assert run.folder.parent == Path(own_home).resolve() / "runs"


# -- a batch in parts -----------------------------------------------------------------------------


@pytest.fixture
def unmixed(tmp_path, write_picture):
    """Batches of six frames without void, so that the parts of a batch weigh the same."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(12):
        picture = rng.integers(0, 256, (16, 32, 3), np.uint8)
        image, mask = tmp_path / f"{k}.png", tmp_path / f"{k}-mask.png"
        write_picture(image, picture)
        write_picture(mask, (picture[..., 0] > 128).astype(np.uint8))
        rows.append({"image": image, "mask": mask})
    return make_dataset(pd.DataFrame(rows), RED_GREEN, (16, 32), 6, shuffle=True)


def learned(batches, runs, optimizer, jit_compile=None, **options):
    tf.keras.backend.clear_session()
    set_seed(0)
    layer = tf.keras.layers.Conv2D(2, 3, padding="same", activation="softmax")
    model = tf.keras.Sequential([tf.keras.Input((16, 32, 3)), layer])
    model.compile(optimizer, CrossEntropy(), jit_compile=jit_compile)
    run = training.fit(model, batches, steps=5, runs=runs, progress=False, **options)
    return model.get_weights(), run.losses


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_parts_of_a_batch_add_up_to_the_step_of_all(unmixed, tmp_path, parts, scaled):
    def sgd():
        plain = tf.keras.optimizers.SGD(0.5)
        return tf.keras.mixed_precision.LossScaleOptimizer(plain) if scaled else plain

    (whole, losses), (added, others) = (
        learned(unmixed, tmp_path / "runs", sgd(), parts=number) for number in (1, parts)
    )
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    for a, b in zip(whole, added, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert np.ptp(losses) > 0.01  # it has learned something


@pytest.mark.parametrize("parts", [0, 4, 7])
def test_parts_that_leave_one_without_a_frame_are_refused(unmixed, tmp_path, parts):
    with pytest.raises(ValueError, match="choose another batch size"):
        learned(unmixed, tmp_path / "runs", "sgd", parts=parts)
    assert not (tmp_path / "runs").exists()


def test_a_train_step_of_one_s_own_is_not_replaced(unmixed, tmp_path):
    class Own(tf.keras.Sequential):
        def train_step(self, batch):
            return {"loss": tf.constant(7.0)}

    model = Own([tf.keras.Input((16, 32, 3)), tf.keras.layers.Conv2D(2, 1)])
    model.compile("sgd", "mse")
    run = training.fit(model, unmixed, steps=2, runs=tmp_path / "runs", progress=False)
    assert list(run.losses) == [7.0, 7.0]
    with pytest.raises(ValueError, match="a train_step of its own"):
        training.fit(model, unmixed, steps=2, runs=tmp_path / "runs", parts=2)


MEMORY = """
import sys
from pathlib import Path
from cityseg_utils import framework, training
tf = framework.load_tensorflow()
layers = tf.keras.layers
model = tf.keras.Sequential([tf.keras.Input((128, 128, 3))])
for _ in range(4):
    model.add(layers.Conv2D(16, 3, padding="same", activation="relu"))
model.add(layers.Conv2D(2, 1, activation="softmax"))
model.compile("sgd", "mse")
parts = int(sys.argv[1])

def peak():
    # Not getrusage's, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

batch = tf.zeros((32, 128, 128, 3)), tf.zeros((32, 128, 128, 2))
step = training.make_step(model, parts=parts)
small = tuple(x[:parts] for x in batch)
step(small)  # compiles
before = peak()
step(batch)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak there")
def test_parts_of_a_batch_take_a_part_of_its_memory():
    def grown(parts):
        command = [sys.executable, "-c", MEMORY, str(parts)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert grown(8) < grown(1) / 2


def test_what_xla_compiles_learns_the_same(unmixed, tmp_path):
    plain, compiled = (
        learned(unmixed, tmp_path / str(jit), tf.keras.optimizers.SGD(0.5), jit_compile=jit)
        for jit in (None, True)
    )
    np.testing.assert_allclose(plain[1], compiled[1], rtol=1e-4)
    layer = tf.keras.layers.Conv2D(2, 1, activation="softmax")
    model = tf.keras.Sequential([tf.keras.Input((16, 32, 3)), layer])
    model.compile("sgd", "mse", metrics=[training.MeanIoU(2)])
    assert not training.make_step(model).function_spec.jit_compile
    model.compile("sgd", "mse", metrics=[training.MeanIoU(2)], jit_compile=True)
    with pytest.raises(ValueError, match="XLA cannot compile MeanIoU"):
        training.fit(model, unmixed, unmixed, steps=2, runs=tmp_path / "runs")
    model.jit_compile = True
    assert training.make_step(model).function_spec.jit_compile


def test_another_weight_of_the_loss_is_another_training():
    described = []
    for weights in (None, [0.1]):
        model = small_model()
        model.compile("sgd", "mse", loss_weights=weights)
        described.append(training._describe_model(model).get("loss weights"))
    assert described[0] is None and described[1] is not None
