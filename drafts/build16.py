import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 16 · Scaling up: real Cityscapes, many machines, and out of the notebook

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/16_scaling_up.ipynb)

Until now everything fitted on a laptop: two hundred drawn streets, a small network, minutes. The real Cityscapes has 2,975 train frames of two million pixels each. One pass over them, decoded anew each time, keeps two cores busy for minutes before the network has learned anything. And when it has learned, someone wants to *use* it, in a car or a phone, where there is no notebook and no TensorFlow. This lesson goes both ways: up to the large data and the large machines, and out into a small file. (This course's own model is for lessons alone; see its card.)

**You will learn**

- to bring the real data to training size once, and why that pays;
- which precision and which compiler to use, and how to train when memory is short;
- why two GPUs, each with half of a batch, do *not* learn what one learns from the whole, unless you take care;
- to work out what the full recipe costs before you rent anything;
- to export a network, to check that it still says the same, and to run it without TensorFlow.

**Before this:** [lesson 07](07_iou_analysis.ipynb) and [lesson 10](10_architectures_and_backbones.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** two minutes on 2 CPU cores, 2 GB. **Opens the modules** `cityseg_utils/shrinking.py`, `shards.py`, `distribution.py` and `deployment.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
SIZE = (256, 512)  # of the exported network: what it was trained with
''',"parameters")
code('''
from importlib.util import find_spec

if not (find_spec("onnxruntime") and find_spec("tf2onnx")):  # sooner: make lab EXTRAS=export
    %pip install --quiet "cityseg-utils[export] @ git+{REPOSITORY}@main"
''')
code('''
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import datasets, exercises, framework, models, prediction, shards, studies
from cityseg_utils import preprocessing as prep
from cityseg_utils.shrinking import shrink

tf = framework.load_tensorflow()
framework.set_seed(0)
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
folder = Path(tempfile.mkdtemp())
print(len(train), "train frames,", len(val), "val frames")
''')
md('''
## The real data, once

Make an account on the [site of Cityscapes](https://www.cityscapes-dataset.com). Then its own downloader, which is installed with the course (in `.venv/bin`, if that is where you installed it), fetches the two packages, some eleven gigabytes:

    csDownload -d DOWNLOADS leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip

(It offers to keep your password, in plain text: say no.) Unpack both in one folder; that is a data set, and `CITYSEG_DATA` may point to it as it is. But a frame of 1024 x 2048 is a PNG of more than two megabytes, and a network that reads 256 x 512 sees a sixteenth of its pixels. Decoding is work, and you would do it again in each run. How long does it take? Here are frames of full size to measure it with.
''')
code('''
from cityseg_utils import minicity

large = minicity.generate(folder / "large", train=8, val=0, test=0, size=(1024, 2048))
files, drawn = datasets.open_dataset(large)


def read(pairs, size=(256, 512)):
    """Return all frames as a network sees them, and the seconds that it took."""
    before = time.perf_counter()
    frames = [prep.read_pair(x.image, x.mask, drawn, size) for x in pairs.itertuples()]
    return frames, time.perf_counter() - before


large_frames, whole = read(files)
print(f"a frame: {1000 * whole / len(files):.0f} ms")
''',"nbval-ignore-output")
code('''
asked = exercises.predict(
    "How many times as fast are the frames read if they were shrunk to 256 x 512 beforehand?",
    answer=None,
    unit="times",
)
asked
''')
code('''
shrink(large, folder / "small", (256, 512))
few, _ = datasets.open_dataset(folder / "small")
small_frames, less = read(few)
exercises.compare(asked, round(whole / less, 1))
''',"nbval-ignore-output")
code('''
same = all(
    np.array_equal(x, y)
    for a, b in zip(large_frames, small_frames, strict=True)
    for x, y in zip(a, b, strict=True)
)
print("and the network sees the same:", "yes" if same else "no")
''')
md('''
(Drawn frames are decoded faster than photographs, so for those the gain is another. And it is the same because these were shrunk to the network's own size. In two steps a picture differs by a gray level here and there, and a label by one pixel of the large frame.) `shrink` works in parallel, and goes on where it was stopped. For all of Cityscapes, larger than the network reads, to leave room for crops:

    python -m cityseg_utils.shrinking /data/cityscapes /data/cityscapes-small --size 512 1024

Val becomes smaller, too. Do not *score* on it: scores are counted at the frames' own size (lesson 06), so score on the large folder. And mind the licence: Cityscapes is for non-commercial use, such as research and teaching, and its frames may not be passed on, shrunk ones neither. Read what it says about trained networks before you publish or sell one.

## Larger than memory

`pipeline.make_dataset` keeps frames in memory, or in two files on disk (`cache="disk"`). That is enough for one machine with a disk of its own. From a distant disk thousands of small pieces come slowly; and if other machines are to prepare the batches (TensorFlow's `tf.data` service, not used here), a function written in Python cannot be sent to them. For both, frames are packed into **shards**, a few large files of records (`TFRecord`), that TensorFlow reads from end to end by itself.
''')
code('''
few_streets = train.sample(48, random_state=0)  # in any order, but not by cities
packed = shards.write(few_streets, scheme, (128, 256), folder / "shards", per_shard=16)
for path in sorted(packed.glob("*.tfrecord")):
    print(path.name, f"{path.stat().st_size / 1e6:.1f} MB")
batches = shards.make_dataset(packed, scheme, batch_size=8, shuffle=True)
images, labels = next(iter(batches))
print(images.shape, labels.shape)
''')
md('''
What is lost? From a folder of files one can take the frames in any order. From a shard they come one after the other. So the shards come in another order in each epoch, four at a time, and a few hundred frames are shuffled at once. With a few large shards that hold one city each, a batch would be of few cities. So the table is shuffled before it is packed; `python -m cityseg_utils.shards` does that, too. And a shard holds pixels, not PNGs: 2,975 frames of 512 x 1024 are 6.2 GB.

## Faster, and with less memory

**Precision.** `framework.precision()` names what suits the machine: 16-bit numbers where they are fast, else 32. Recipes take it by themselves. In a program of your own, say `tf.keras.mixed_precision.set_global_policy(framework.precision())` before you build the network.
''')
code('''
print(framework.precision())
''',"nbval-ignore-output")
md('''
- *bfloat16* has the range of float32, and two to three decimal digits. Newer processors and GPUs multiply it several times as fast. Weights, and the sums inside of a multiplication, stay in float32.
- *float16* is for older GPUs, such as Colab's T4. It has one digit more and far less range: gradients below about 0.00000006 are lost, and a number above 65,504 becomes infinite. So the loss is multiplied by a large number before the gradients are computed, and they are divided by it afterwards. If one of them overflows all the same, the step is left out, and the number is halved (*loss scaling*; the package does it).

**Compilation.** `model.compile(..., jit_compile=True)` lets XLA compile the whole step: it joins small operations, so that fewer results have to go through memory. On a GPU that often pays. (`training.fit` allows it without `val`, and on one device.) Here, on a processor, it does not: `benchmarks/steps.py` finds a U-Net's prediction 1.1 times as slow with it, and its training step cannot be compiled at all, because XLA lacks a gradient (that of nearest upsampling).

**Parts of a batch.** Crops of 512 x 1024 in batches of 8 may want more memory than your GPU has. With `training.fit(..., parts=4)` a step takes two frames at a time and adds up the gradients. That is the same step, with two exceptions. BatchNorm sees two frames at a time. And a loss that is a ratio is now a mean of four ratios: Dice, but also the cross-entropy, a mean over *labelled* pixels. The second one deserves a look, because it comes back with many GPUs.

One half of a batch has 500 pixels of a class, the other half 5. In each, the network gives the class as many pixels as there are; its Dice is 0.8 in the first half and 0.2 in the second.
''')
code('''
asked = exercises.predict(
    "What is the Dice of the whole batch?",
    answer=None,
)
asked
''')
code('''
def dice(both, true, predicted):
    return 2 * both / (true + predicted)


halves = pd.DataFrame(
    {"both": [400, 1], "true": [500, 5], "predicted": [500, 5]}, ["first half", "second half"]
)
halves.loc["whole batch"] = halves.sum()
halves["Dice"] = dice(halves["both"], halves["true"], halves["predicted"]).round(3)
halves
''')
code('''
exercises.compare(asked, halves.loc["whole batch", "Dice"])
''')
md('''
The mean of the two is 0.5, and the whole has 0.794: the half with the many pixels counts, the other hardly does. It depends on numbers that the two values no longer hold. **Ratios do not average; sums add up.**

Does that matter for what a network learns? A toy without batch normalization takes eight steps, with whole batches and in two parts. Once its loss is a mean over *all* pixels (the squared error), and once it is Dice.
''')
code('''
from cityseg_utils import losses, pipeline, training

toy_batches = pipeline.make_dataset(few_streets, scheme, (32, 64), 8, shuffle=True)


def toy(loss, parts):
    """Return a toy's weights after eight steps, each batch in so many parts."""
    framework.set_seed(0)
    layers = tf.keras.layers
    first = layers.Conv2D(8, 3, activation="relu", input_shape=(32, 64, 3))
    last = layers.Conv2DTranspose(scheme.num_classes, 3, activation="softmax")
    model = tf.keras.Sequential([first, last])
    model.compile(tf.keras.optimizers.SGD(0.5), loss)
    options = {"steps": 8, "parts": parts, "runs": folder / "toys", "progress": False}
    training.fit(model, toy_batches, **options)
    return model.get_weights()
''')
code('''
apart = {}
for name, loss in (("squared error", "mse"), ("Dice", losses.DiceLoss())):
    both = zip(toy(loss, 1), toy(loss, 2), strict=True)
    apart[name] = max(np.abs(x - y).max() for x, y in both)
    print(f"{name:13}  largest difference of a weight {apart[name]:.7f}")
''',"nbval-ignore-output")
code('''
print("with Dice the two end more than 100 times as far apart:", end=" ")
print("yes" if apart["Dice"] > 100 * apart["squared error"] else "no")
''')
md('''
After eight steps the weights with Dice lie far more than a rounding apart. Which of the two is better, this does not tell. But who writes "batches of 8", and trained with `parts=2`, had another loss.

## Two GPUs as one

Now put the two halves on two GPUs. Each has a copy of the network and learns from its half. The gradients are added, so both copies stay equal. TensorFlow does that (`tf.distribute.MirroredStrategy` on one machine, `MultiWorkerMirroredStrategy` on several). Two things it does *not* do by itself:

1. **The loss.** Each copy would compute its own Dice, and its own number of labelled pixels. The course's losses add up the sums over all copies first (`losses.over_all_copies`).
2. **BatchNorm.** Each copy would normalise by the mean of its own half. `models.synchronized` makes them share.

And a third it does in its own way: which frames form a batch may depend on the number of workers. `training.fit` gives the copies the parts of exactly the batch that one device would see.

A training is then these lines; [docs/train_together.py](../docs/train_together.py) has the rest. (A strategy over machines must be made before TensorFlow does anything else. So it is a script, not a cell of this notebook.)

```python
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = models.synchronized(models.build_model(scheme.num_classes, (96, 192, 3), models.SMALL))
    model.compile(tf.keras.optimizers.Adam(2e-3), losses.DiceLoss())
run = training.fit(model, batches, steps=900, strategy=strategy)
```

    python -m cityseg_utils.distribution --workers 2 docs/train_together.py data/minicity

runs it, in a checkout of the course, as two processes of one machine. That is for trying it *without* GPUs, as here: each process would take all GPUs that it sees. On one machine with several GPUs run the script itself; it uses all of them. On two machines the launcher is started on both, with `--addresses` and an `--index` each. Both need the same package and the same data, ports that are open to each other, and one folder of runs that both see. (With a strategy there is no `val`; score afterwards.)

Does the pair learn the same as one? `python benchmarks/together.py` gives the small network twenty steps, as one process and as two on this machine. Each row compares two trainings. *difference*: how far apart a weight is after twenty steps, at most. *of the first step*: how far apart its changes in the first step are, at most, as a share of the largest change (with SGD, that compares the gradients).
''')
code('''
together = pd.read_csv(studies.RESULTS / "together.csv").set_index("way")
compared = together[["difference", "of the first step", "loss, 1", "loss, 2"]]
compared.map("{:.3g}".format)
''')
md('''
Begin with the last two rows. In 64-bit numbers the two processes end where one does, to twelve decimals. With BatchNorm as it comes they differ in the first step already.

Then the first row. In 32 bits, in which one trains, the weights end 0.0008 apart. Is that a fault? The third row is the control: *one* process that gets each batch in reversed order. It differs from itself by nearly as much. So that is rounding, from sums in another order. With Adam, rounding goes further. It divides each gradient by its own size, so a gradient that is nothing but rounding moves its weight as far as any other, up in one training and down in the other. The losses stay close.

And the price? Seconds a step and memory of a process, of one and of each of the two:
''')
code('''
together[["seconds, 1", "seconds, 2", "GB, 1", "GB, 2"]].round(2)
''')
md('''
On these two cores the pair needs almost three times as long for a step as one process that has both cores. The last two rows show why: in each BatchNorm layer the two wait for each other, and without that they are nearly as fast as one. So two machines pay if their steps are long, and the wire between them is short.

When one of the workers dies, the others cannot go on, and say so. Start all of them again: they go on from the end of the last epoch. (With `--workers` the launcher does that by itself.)

Who has a cluster that runs Ray can use its launcher, `ray.train.tensorflow.TensorflowTrainer`: it sets the same variable that ours sets, `TF_CONFIG`, on each of its workers, and calls a function of yours there, such as `main` of that script with values in place of its options. (We have not tried it.)

## What would it cost?

Before you rent a GPU, work it out. How many operations, additions and multiplications, does one step take? `models.operations` counts those of a prediction, in the convolutions. Learning takes about three times as many: one pass forward, and one back that costs about as much as two.
''')
code('''
network = models.build_model(scheme.num_classes, (512, 1024, 3), "resnet34")
step = 3 * 8 * models.operations(network, (512, 1024))
print(f"{step / 1e12:.1f} million million operations a step of 8 crops")
''')
md('''
And the memory? To learn, a step has to remember what every layer gave out. With 16-bit numbers each takes two bytes. Gradients, labels and working memory come on top, so reckon with twice as much:
''')
code('''
outputs = sum(np.prod(layer.output_shape[1:]) for layer in network.layers[1:])
print(f"{8 * 2 * outputs / 1e9:.1f} GB for a batch of 8, {2 * 2 * outputs / 1e9:.1f} GB in parts of 2")
''')
md('''
Now a recipe: crops of 512 x 1024 in batches of 8, 40,000 steps (about 108 epochs of 2,975 frames). Take the speed of your GPU from its data sheet, and believe an eighth of it. (The sheet counts ideal multiplications; layers also wait for memory. The published speed of a ResNet-50 tuned by NVIDIA, [1270 pictures a second](https://github.com/NVIDIA/DeepLearningExamples/issues/837) on a V100, is a quarter of that card's sheet, and others could not reach it.) Here is Colab's T4: 65 million million operations a second with 16 bits. The price is an example; put in yours.
''')
code('''
PEAK, BELIEVED, PRICE = 65e12, 1 / 8, 0.50  # operations a second; share; price of an hour
hours = 40_000 * step / (PEAK * BELIEVED) / 3600
print(f"{hours:.1f} hours, for {hours * PRICE:.2f}")
print(f"batches must come {hours * 3600 / 40_000:.2f} s after one another, or the GPU waits")
''')
md('''
Now take the milliseconds a frame that you measured above, times eight, divided by the number of your processor's cores. Is that more? Then the GPU will wait for the files. (This is arithmetic, not a measurement: we had no such GPU. Before you rent one for a night, rent it for ten minutes and time a hundred steps.)

On paper, eight GPUs of one machine take eight such batches at once. Each also has to send and receive all gradients in every step; the more weights and the faster the step, the more it waits for them. Larger batches also want another learning rate, and fewer steps may not be enough steps. Measure it before you believe it.

## Out of the notebook

A trained network is a list of operations and numbers. Many frameworks write or read one kind of file for that, **ONNX** (TensorFlow needs a converter, tf2onnx). Small engines run it: onnxruntime, or OpenVINO, which Intel makes. TensorFlow Lite, now called LiteRT, is another form, for phones.
''')
code('''
from cityseg_utils import deployment

reference = models.load_reference(scheme, pairs)
path = deployment.to_onnx(reference, folder / "reference.onnx", SIZE)
print(f"{path.stat().st_size / 1e6:.1f} MB")
''')
md('''
**Never trust a converter.** A wrong padding, another way of enlarging, and the network still answers, only worse. So compare it with the original, pixel by pixel, on real frames.
''')
code('''
images = list(val["image"].iloc[:8])
exported = deployment.Deployed(path)
one, other = (list(prediction.predict(x, images, SIZE)) for x in (reference, exported))
shares = deployment.agreement(one, other)
print("the same class in at least 99.99 % of the pixels of each frame:", end=" ")
print("yes" if min(shares) >= 0.9999 else "no")
''')
code('''
asked = exercises.predict(
    "Weights and the outputs of all layers in 8 bits: how many of 100 points of mean IoU are lost?",
    answer=None,
    unit="points"
)
asked
''')
code('''
stored = pd.read_csv(studies.RESULTS / "export.csv").set_index(["form", "engine"])
score = stored["mean IoU"]
lost = 100 * (score["TFLite, float32"].iloc[0] - score["TFLite, int8"].iloc[0])
exercises.compare(asked, round(lost, 1))
''')
code('''
columns = ["same on streets", "worst street", "same on photographs", "mean IoU", "MB"]
stored[[*columns, "times Keras's"]].round(4)
''')
md('''
(*same on streets* and *on photographs* are shares of pixels with Keras's class: means of 40 val streets and of 20 frames of CamVid, at 256 x 512. *times Keras's* is the time of a frame, below 1 is faster.)

Down to 32 bits, every form is the same network: of a hundred thousand pixels at most one differs, in the worst frame, too. ("8-bit weights" are kept small on the disk and turned back into floats when they are loaded.) float16 changes one pixel in two thousand on streets. With int8 it is one in ninety there, and one in forty on photographs; yet the mean IoU is not lower. Perhaps most of these pixels were a toss-up before (no cell looks). And the file is less than a third as large.

Time is another matter: the same ONNX file is slower than Keras in one engine and faster in another. **Measure it where it will run.**

And here is all that a machine without TensorFlow needs, in one folder:
''')
code('''
ready = deployment.to_folder(reference, folder / "ready", SIZE, scheme)
for file in sorted(ready.iterdir()):
    print(f"{file.name:14} {file.stat().st_size / 1e6:8.3f} MB")
print((ready / "segment.py").read_text())
''')
md('''
    pip install onnxruntime opencv-python
    python segment.py street.png film.mp4
    python segment.py 0     # the camera

## To the benchmark's server

The labels of Cityscapes' test split are kept by its server. (The files in `gtFine/test` are placeholders, void everywhere.) It takes a folder of PNG files of *ids* (not train ids) at full size:
''')
code('''
from cityseg_utils import metrics

answers = prediction.predict(reference, images, models.reference_size((256, 512)))
written = metrics.export_predictions(answers, images, folder / "predictions", scheme)
print(written[0].name)
''')
md('''
For the real thing predict all 1,525 test frames, and pack the files into one archive: `(cd predictions && zip ../predictions.zip *.png)`. Before you upload anything, predict val in the same way into another folder, and score that with the official script, which sits in the package `cityscapesscripts`:

    export CITYSCAPES_DATASET=/data/cityscapes CITYSCAPES_RESULTS=$PWD/predictions-val
    csEvalPixelLevelSemanticLabeling

The course's tests hold it against `metrics`: they agree to nine decimals. The server lets you try seldom, and that is good: whoever may try often reports the luckiest try.

## Exercises

**1.** Eight rented GPUs of one kind, each with a price by the hour, are together five times as fast as one. How many times as much does the training cost on the eight? (A decimal number.)
''')
code('''
answer = ...
exercises.check_rent(answer, devices=8, speedup=5)
''')
md('''
**2.** Four workers tell you of their part of a batch the sum of the losses and the number of labelled pixels, `[(sum, pixels), ...]`. Return the loss of the batch, a mean over its labelled pixels. One of them may have no labelled pixel at all.
''')
code('''
def loss_of_all(parts):
    ...


exercises.check_loss_of_all(loss_of_all)
''')
md('''
**3.** Three exports of the reference model, each with a fault in what it does to the picture: `"blue first"` (it exchanges red and blue), `"half the size"` (it shrinks the picture to half of each side), `"divided twice"` (it divides by 255 what was already divided). None of them raises an error. Which is which? One fault you can undo: give it `prep.read_image(path)[..., ::-1]`, and see whether the agreement comes back. One can be undone for a batch, by `predict_on_batch(255 * batch)`. One cannot be undone at all.
''')
code('''
wrong = exercises.faulty_exports(exported)
for name, spoiled in wrong.items():
    said = list(prediction.predict(spoiled, images, SIZE))
    print(name, f"agrees in {np.mean(deployment.agreement(one, said)):.1%} of the pixels")
''',"nbval-ignore-output")
code('''
answer = {"A": ..., "B": ..., "C": ...}
exercises.check_exports(answer)
''')
md('''
Solutions: [solutions/16_scaling_up.ipynb](solutions/16_scaling_up.ipynb). Try first.

## What you saw

- Decoding large pictures again and again is work that can be done once. Scores stay at full size.
- Ratios do not average. Whoever splits a batch, over time or over machines, has to add up the sums.
- Two processes learned what one learns, once their sums and BatchNorm's means were joined. What is left between them is rounding, and a control shows it.
- An export kept in 32 bits says the same as the original; 8 bits changed some pixels and cost no score. How fast it is, the engine decides.
- An exported network is a new program. It is tested against the old one.

## Quiz

1. Your GPU is busy for 40 % of the time, and each of its steps is fast. Where do you look first?
2. Two workers each compute the mean cross-entropy of their half, and the two gradients are averaged. When is that the gradient of the whole batch?
3. An export has the same class as the original in 99.99 % of the pixels of forty streets. What can still be wrong with the program that uses it?

<details><summary>Answers</summary>

1. At the input: files decoded anew, too few threads, a distant disk. Shrink once, keep frames in memory, or pack shards.
2. If both halves have the same number of labelled pixels, and BatchNorm is shared or there is none. Else the half with fewer pixels counts too much.
3. All that happens before and after it: another size, blue before red, a picture divided twice, train ids in place of ids. So test the program, not the file alone.

</details>

**This is the end of the course.** You began with a list of files. What you can do now: read a data set and distrust it, train a network and know when it has learned, compare two of them and say what you cannot say, teach one with few labels, and bring it to where it is used. The rest is a question of your own.
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/try/16.ipynb").write_text(nbf.writes(nb))
