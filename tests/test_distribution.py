"""Two devices, or two processes, learn what one learns from the same batches."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from cityseg_utils import minicity, storage

pytestmark = pytest.mark.slow

SCRIPT = """
    import os, signal, sys
    from contextlib import nullcontext
    from pathlib import Path

    import numpy as np

    from cityseg_utils import datasets, distribution, framework, losses, models, pipeline, training
    from cityseg_utils.augmentation import CutMix, Flip

    tf = framework.load_tensorflow()
    kind, out, *options = sys.argv[1:]
    strategy = None
    if kind == "devices":
        (cpu,) = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    if kind == "workers":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    framework.set_seed(0)
    pairs, scheme = datasets.open_dataset()
    loss = losses.SumOfLosses([losses.CrossEntropy(), losses.DiceLoss()])


    def network():
        layers = tf.keras.layers
        x = images = tf.keras.Input((32, 64, 3))
        for filters in (8, 16):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
            x = layers.Dropout(0.1)(x) if "random" in options else x
        answer = layers.Conv2D(scheme.num_classes, 1, activation="softmax")(x)
        return tf.keras.Model(images, answer)


    with strategy.scope() if strategy else nullcontext():
        model = network() if "plain" in options else models.synchronized(network())
        model.compile("adam" if "adam" in options else tf.keras.optimizers.SGD(0.02), loss)
    if "plain" in options:
        distribution.Team.check = lambda *_: None
    train = pairs[pairs["split"] == "train"]
    changes = {"augment": Flip(), "mix": CutMix() if "mixed" in options else None}
    batches = pipeline.make_dataset(train, scheme, (32, 64), 4, shuffle=True, **changes)


    class Killed(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 9 and '"index": 1' in os.environ["TF_CONFIG"]:
                os.kill(os.getpid(), signal.SIGKILL)


    again = Path(out) / "again"
    dies = "killed" in options and not again.exists()
    runs = Path(out) / "runs"
    if "apart" in options and distribution.Team(strategy).part[0]:
        runs = Path(out) / "elsewhere"
    run = training.fit(
        model, batches, steps=20, runs=runs, strategy=strategy, progress=False,
        average=0.5 if "average" in options else 0.0, refresh=3 if "refresh" in options else 0,
        callbacks=[Killed()] if dies else [],
    )
    weights = model.get_weights()  # of all workers at once
    if distribution.Team(strategy).part[0] == 0:
        np.savez(Path(out) / "weights.npz", *weights, losses=run.losses)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return minicity.generate(tmp_path_factory.mktemp("city"), 24, 0, 1, size=(64, 128))


@pytest.fixture
def learn(script, city, tmp_path):
    """Run the script, alone or on two devices or as two workers; return weights and losses.

    Or, where it is to fail, what it says.
    """

    def learn(kind, *options, folder=None, fails=False):
        out = folder or tmp_path / "-".join((kind, *options))
        out.mkdir(exist_ok=True)
        start = ["-m", "cityseg_utils.distribution", "--workers", "2", "--restarts", "0"]
        command = [sys.executable, *(start if kind == "workers" else []), script, kind, out]
        env = os.environ | {"CITYSEG_DATA": str(city), "CITYSEG_HOME": str(storage.home())}
        done = subprocess.run([*command, *options], env=env, capture_output=True, text=True)
        if fails:
            assert done.returncode != 0
            return done.stderr
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(out / "weights.npz") as file:
            return dict(file)

    return learn


def difference(some, others):
    assert some.keys() == others.keys()
    return max(np.abs(some[name] - others[name]).max() for name in some)


@pytest.mark.parametrize("kind", ["devices", "workers"])
@pytest.mark.parametrize("options", [(), ("adam", "average", "refresh")])
def test_two_learn_what_one_learns(learn, kind, options):
    alone, together = learn("one", *options), learn(kind, *options)
    assert difference(alone, together) < 1e-4
    assert difference(alone, learn("one")) > 1e-3 or not options


def test_without_synchronised_means_they_learn_something_else(learn):
    assert difference(learn("one", "plain"), learn("devices", "plain")) > 5e-3


def test_one_is_killed_and_all_go_on_to_the_same_end(learn, script, city, tmp_path):
    whole = learn("workers")
    out = tmp_path / "killed"
    with pytest.raises(AssertionError, match="a worker has ended with -9"):
        learn("workers", "killed", folder=out)
    (state,) = out.glob("runs/*/state-*")
    assert state.name == "state-6"  # the end of the first epoch
    (out / "again").touch()
    assert difference(learn("workers", "killed", folder=out), whole) < 1e-6


def test_workers_that_see_different_folders_are_refused(learn, script, city, tmp_path):
    out = tmp_path / "killed"
    with pytest.raises(AssertionError, match="a worker has ended with -9"):
        learn("workers", "killed", folder=out)
    (out / "again").touch()
    said = learn("workers", "killed", "apart", folder=out, fails=True)
    assert "must see the same folder of runs" in said
    assert not list(out.glob("runs/*/result.json"))


def test_two_workers_do_not_mix_their_own_frames_alone(learn):
    assert "would mix frames" in learn("workers", "mixed", fails=True)


def test_what_cannot_go_on_begins_anew_with_several_workers_too(learn, tmp_path):
    out = tmp_path / "random"
    with pytest.raises(AssertionError, match="a worker has ended with -9"):
        learn("workers", "killed", "random", folder=out)
    assert not list(out.glob("runs/*/state-*"))


@pytest.mark.parametrize(
    "options",
    [["--workers", "0"], ["--workers", "2", "--restarts", "-1"], ["--addresses", "a:1,b:2"]],
)
def test_a_launcher_s_arguments_are_checked(options):
    command = [sys.executable, "-m", "cityseg_utils.distribution", *options, "none.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_launcher_that_is_stopped_leaves_no_worker(tmp_path):
    script = tmp_path / "wait.py"
    script.write_text(
        "import os, pathlib, signal, sys\n"
        "pathlib.Path(sys.argv[1], str(os.getpid())).touch()\nsignal.pause()\n"
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    command = [sys.executable, "-m", "cityseg_utils.distribution", "--workers", "2", script, pids]
    launcher = subprocess.Popen(command)
    while len(list(pids.iterdir())) < 2:
        assert launcher.poll() is None
    launcher.terminate()
    assert launcher.wait(timeout=60) == 128 + signal.SIGTERM
    for path in pids.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_who_is_left_says_what_to_do(script, city, tmp_path):
    from cityseg_utils import distribution

    addresses = [f"127.0.0.1:{port}" for port in distribution._free_ports(2)]
    env = os.environ | {"CITYSEG_DATA": str(city), "CITYSEG_HOME": str(storage.home())}
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(
            subprocess.Popen(
                [sys.executable, script, "workers", tmp_path, "killed"],
                env=env | {"TF_CONFIG": json.dumps(task)},
                stderr=subprocess.PIPE if index == 0 else subprocess.DEVNULL,
                text=True,
            )
        )
    try:
        assert workers[1].wait(timeout=300) == -signal.SIGKILL
        assert "start all of them again" in workers[0].communicate(timeout=300)[1]
    finally:
        for worker in workers:
            worker.kill()


REFUSED = """
    from cityseg_utils import datasets, framework, models, pipeline, training

    tf = framework.load_tensorflow()
    (cpu,) = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    pairs, scheme = datasets.open_dataset()
    pairs = pairs[pairs["split"] == "train"]


    def network():
        layer = tf.keras.layers.BatchNormalization()
        return tf.keras.Sequential([tf.keras.Input((32, 64, 3)), layer])


    class Own(tf.keras.Sequential):
        def train_step(self, batch):
            return {"loss": tf.constant(7.0)}


    with strategy.scope():
        plain, ours = network(), models.synchronized(network())
        own = Own([tf.keras.Input((32, 64, 3)), tf.keras.layers.Conv2D(3, 1)])
        for model in (plain, ours, own):
            model.compile("sgd", "mse")
    batches = pipeline.make_dataset(pairs, scheme, (32, 64), 4)
    odd = pipeline.make_dataset(pairs, scheme, (32, 64), 3)
    uneven = pipeline.make_dataset(pairs.iloc[:23], scheme, (32, 64), 4)
    for model, data, options in (
        (plain, batches, {"steps": 1}),
        (ours, odd, {"steps": 1}),
        (ours, batches, {"seconds": 1}),
        (ours, batches, {"steps": 1, "val": batches}),
        (ours, batches, {"steps": 1, "parts": 2}),
        (own, batches, {"steps": 1}),
        (ours, uneven, {"steps": 1}),
    ):
        try:
            training.fit(model, data, runs="runs", strategy=strategy, **options)
        except ValueError as error:
            print(error)
"""


def test_what_two_would_do_in_another_way_is_refused(city, tmp_path):
    env = os.environ | {"CITYSEG_DATA": str(city), "CITYSEG_HOME": str(storage.home())}
    command = [sys.executable, "-c", textwrap.dedent(REFUSED)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout.splitlines()
    wanted = ("models.synchronized", "choose another batch size", "epochs or as steps", "leave val")
    wanted += ("not both", "a train_step of its own", "would count as much")
    assert len(said) == len(wanted), done.stderr[-2000:]
    for line, words in zip(said, wanted, strict=True):
        assert words in line
    assert not (tmp_path / "runs").exists()
