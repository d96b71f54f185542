import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/11_how_much_data.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 12 · U-Net and GAN: a rival that judges whole label maps

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/12_adversarial_training.ipynb)

Every loss so far looks at one pixel at a time, or counts the pixels of a class. None of them knows that a car has no holes and that a pole stands on the ground. The second project put a second network beside the U-Net: a **discriminator**, which sees whole label maps and learns to say which were drawn by people and which came from the network. The network learns to leave it no clue. This is the idea of a GAN, a generative adversarial network ([Goodfellow and others, 2014](https://arxiv.org/abs/1406.2661)), brought to segmentation by [Luc and others, 2016](https://arxiv.org/abs/1611.08408).

**You will learn**

- to build a discriminator and to train it on a game that you can check by eye;
- how such a network can win by a cheat that has nothing to do with streets;
- what its loss tells, and what it does not;
- to train a U-Net against it, and to find out whether that was worth it.

**Before this:** [lesson 11](11_how_much_data.ipynb). **Time and memory:** two minutes on 2 CPU cores, 1.6 GB; the full comparison, whose results are stored, took hours.
**The room of the package:** `cityseg_utils/adversarial.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
STEPS = 150  # of each discriminator below
TRAINING = 60  # steps of the U-Net with its rival
''',"parameters")
code('''
import tempfile

import cv2
import numpy as np
import pandas as pd

from cityseg_utils import adversarial, datasets, exercises, framework, models, plots, prediction
from cityseg_utils import preprocessing as prep

tf = framework.load_tensorflow()
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
framework.set_seed(0)
print(len(train), "train frames,", len(val), "val frames")
''')
md('''
## A map that no person would draw

We need two kinds of label maps to tell apart. The first kind is the truth, small, as one-hot maps (lesson 04):
''')
code('''
SIZE = (48, 96)


def true_maps(rows, size=SIZE):
    """Return the one-hot truth of frames, (N, H, W, C) float32."""
    masks = [prep.read_mask(path, scheme, size) for path in rows["mask"]]
    return prep.one_hot(np.stack(masks), scheme.num_classes).astype(np.float32)


truth = {"train": true_maps(train), "val": true_maps(val)}
print(truth["train"].shape)
''')
md('''
The second kind we make of the first, so that we know the clue: of each map, one pixel in twenty gets the label of another pixel.
''')
code('''
rng = np.random.default_rng(1)


def sprinkle(maps, share):
    """Swap the labels of so many pixels with those of others, anywhere in the data."""
    ids, chosen = maps.argmax(-1), rng.random(maps.shape[:3]) < share
    ids[chosen] = rng.permutation(ids[chosen])
    labelled = maps.sum(-1, keepdims=True)  # void stays void
    return np.eye(maps.shape[-1], dtype=np.float32)[ids] * labelled


sprinkled = {split: sprinkle(maps, 0.05) for split, maps in truth.items()}
''')
code('''
def colors(maps):
    """Return the colours of one-hot maps, for a picture; void is black."""
    ids = np.where(maps.sum(-1) > 0, maps.argmax(-1), 255).astype(np.uint8)
    return [scheme.colorize(mask) for mask in ids]


rows = [[a, b] for a, b in zip(colors(truth["val"][:2]), colors(sprinkled["val"][:2]))]
figure = plots.grid(rows, ["drawn", "sprinkled"])
plots.show(figure, "Two label maps as drawn, and with one label in twenty at a wrong place")
''')
md('''
You see at once which is which, and you need not know the street. A wrong label has the wrong *neighbours*. Cross-entropy has no word for that: to it, each of these pixels is one more mistake.

## The discriminator

A few convolutions are enough to look at neighbourhoods. Each one below halves the sides of the map, so the answer is a small grid: one number for each patch of the street, above 0 for "drawn by a person".
''')
code('''
layers = tf.keras.layers
by_hand = tf.keras.Sequential([layers.InputLayer((None, None, scheme.num_classes))])
for width in (32, 64, 128):
    by_hand.add(layers.Conv2D(width, 4, strides=2, padding="same"))
    by_hand.add(layers.LeakyReLU(0.2))
by_hand.add(layers.Conv2D(1, 4, padding="same"))
print(truth["val"][:1].shape, "->", by_hand(truth["val"][:1]).shape)
''')
md('''
There is no batch norm in it: a batch of one kind would have other averages than a batch of the other, and the discriminator could tell them apart by that alone. The package has the same network:
''')
code('''
ours = adversarial.build_discriminator(scheme.num_classes)
ours.set_weights(by_hand.get_weights())
same = np.allclose(ours(truth["val"][:1]), by_hand(truth["val"][:1]), atol=1e-5)
print("same answer:", "yes" if same else "no", "-", ours.count_params(), "weights")
''')
md('''
It learns like any network that tells two classes apart: cross-entropy, where the first kind is 1 and the second 0.
''')
code('''
def teach(network, optimizer, first, second):
    """Learn from one batch of each kind."""
    with tf.GradientTape() as tape:
        answers = network(first), network(second)
        losses = [entropy(kind, answer) for kind, answer in zip((1.0, 0.0), answers)]
        loss = sum(losses) / 2
    optimizer.minimize(loss, network.trainable_variables, tape)


def entropy(kind, answer):
    """Return the mean surprise of an answer, if all patches are of one kind."""
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(answer), kind), answer)
    )
''')
md('''
A game, then: learn on the train streets, and be judged on the val streets, which come from other cities. A batch of each kind never has to show the same streets.
''')
code('''
def play(first, second, steps=STEPS):
    """Train a new discriminator; return its loss and its share of right patches on val."""
    framework.set_seed(0)
    network = adversarial.build_discriminator(scheme.num_classes)
    optimizer = tf.keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    step, draw = tf.function(teach), np.random.default_rng(0)
    for _ in range(steps):
        batches = [kind["train"][draw.integers(0, len(train), 8)] for kind in (first, second)]
        mirror = draw.random() < 0.5
        step(network, optimizer, *(x[:, :, ::-1] if mirror else x for x in batches))
    return judge(network, first["val"], second["val"])


def judge(network, first, second):
    """Return loss and share of right patches."""
    a, b = network.predict(first, verbose=0), network.predict(second, verbose=0)
    loss = (entropy(1.0, a) + entropy(0.0, b)) / 2
    return float(loss), float(((a > 0).mean() + (b < 0).mean()) / 2)
''')
code('''
asked = exercises.predict(
    "What share of patches will it judge rightly, on streets that it has not seen?", answer=None
)
asked
''')
code('''
games = {"truth against itself": play(truth, truth), "sprinkled": play(truth, sprinkled)}
table = pd.DataFrame(games, ["loss", "told apart"]).T
table.round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(table.loc["sprinkled", "told apart"], 2))
''',"nbval-ignore-output")
code('''
print("sprinkled maps betray themselves:", "yes" if table["told apart"]["sprinkled"] > 0.7 else "no")
''')
md('''
Against itself the truth gives nothing away: half of the patches right is what a coin gets, and the loss is log 2 = 0.693. Remember that number. A discriminator at 0.693 has found no difference.

## The cheat

Now a network's answer instead of sprinkled labels. Let us make a *perfect* one: every pixel has its true class. The only thing is that the network is 90 % sure, and spreads the rest over the other classes, as any softmax does.
''')
code('''
def unsure(maps, sureness):
    """Return an answer that names the truth everywhere and is so sure of it."""
    others = (1 - sureness) / (maps.shape[-1] - 1)
    labelled = maps.sum(-1, keepdims=True)
    return (maps * (sureness - others) + others) * labelled


perfect = {split: unsure(maps, 0.9) for split, maps in truth.items()}
right = perfect["val"].argmax(-1) == truth["val"].argmax(-1)
print(f"pixels named rightly: {right.mean():.0%}")
''')
code('''
asked = exercises.predict("And how well is this perfect answer told from the truth?", answer=None)
asked
''')
code('''
games["perfect, 90 % sure"] = play(truth, perfect)
exercises.compare(asked, round(games["perfect, 90 % sure"][1], 2))
''',"nbval-ignore-output")
code('''
told = games["perfect, 90 % sure"][1]
print("a perfect answer is told from the truth every time:", "yes" if told > 0.99 else "no")
''')
md('''
Every patch. The discriminator has not learned what streets look like. It has found that people write 1 and 0, and networks 0.9 and 0.006. A U-Net that wants to fool it has to become *sharper*, not better.

What of a real network? The course's reference model answers the same streets. We show the discriminator its answers as they are, and then only the class that each pixel got, as one-hot again (`argmax`).
''')
code('''
model = models.load_reference()


def answers(rows, maps):
    """Return the model's probabilities for frames, void zeroed as in the truth."""
    big = prediction.predict(model, rows["image"], (128, 256))
    small = np.stack([cv2.resize(x, SIZE[::-1]) for x in big])
    return small * maps.sum(-1, keepdims=True)
''')

code('''
soft = {split: answers(rows, truth[split]) for split, rows in (("train", train), ("val", val))}
hard = {split: sprinkle(maps, 0.0) for split, maps in soft.items()}  # its argmax, as one-hot
right = (hard["val"] * truth["val"]).sum() / truth["val"].sum()
print(f"pixels named rightly on val, at this size: {right:.0%}")
''')
code('''
rows = [[a, b] for a, b in zip(colors(truth["val"][:2]), colors(hard["val"][:2]))]
figure = plots.grid(rows, ["truth", "answer"])
plots.show(figure, "The truth and the reference model's answer for two streets")
''')
code('''
asked = exercises.predict(
    "Its answers as they are, or their argmax: which is told from the truth more often?",
    answer=None,
    choices=("as they are", "argmax", "both alike"),
)
asked
''')
code('''
games["answers as they are"] = play(truth, soft)
games["answers, argmax"] = play(truth, hard)
table = pd.DataFrame(games, ["loss", "told apart"]).T
table.round(3)
''',"nbval-ignore-output")
code('''
told = table["told apart"]
more = told["answers as they are"] - told["answers, argmax"]
exercises.compare(asked, "as they are" if more > 0.05 else "argmax" if more < -0.05 else "both alike")
''')
code('''
print("sharpness alone is over half of the clue:", end=" ")
print("yes" if more > (told["answers as they are"] - 0.5) / 2 else "no")
''')
md('''
The two kinds of answers name exactly the same classes. What the discriminator lost, when it saw only the classes, was sharpness; what it kept is about streets. And that is not much: this model is too good to betray itself in small pictures.

Could one not simply train against the argmax? No: argmax has no gradient, so the network would learn nothing from it. Luc and others take the other way: they make the *truth* as soft as the answer. Where the network gives the true class 0.7, the softened truth gives it 0.9 at least, and shares the rest as the network does:
''')
code('''
softened = {
    split: adversarial.soften(tf.constant(truth[split]), tf.constant(soft[split]), 0.9).numpy()
    for split in truth
}
games["answers, softened truth"] = play(softened, soft)
table = pd.DataFrame(games, ["loss", "told apart"]).T
table.round(3)
''',"nbval-ignore-output")
code('''
told = table["told apart"]
print("a softened truth hides some of the clue:", end=" ")
print("yes" if told["answers, softened truth"] < told["answers as they are"] - 0.02 else "no")
''')
md('''
Some of it. Look at the last two columns of the table once more, for it answers a question that every GAN raises: *does the discriminator's loss say how good the network is?* The perfect answer had the loss nearest to 0, and the sprinkled maps, with one wrong label in twenty, a higher one. So no. It says how easily two kinds of maps are told apart **by whatever differs**, and you have to find out what that is.
''')

md('''
## Two networks that learn from each other

Now both at once. In every step the U-Net learns from its labels as before, and beside that from a second loss: how sure the discriminator is that its answer is *no* true map. Then the discriminator takes a step of its own. With the number λ (`weight`) the second loss is made small, for else the U-Net draws streets that look true and are wrong.

$$\text{loss} = \text{Dice} + \lambda \cdot \text{what would fool the discriminator}$$

The package has this as a `Method`, which turns a network into a Keras model with a step of its own. (Open `Rivals.together` in the module: it is as long as these two paragraphs.) A quarter of the steps go by before the rival joins, so that there is something to judge.
''')
code('''
from cityseg_utils import losses, pipeline, training
from cityseg_utils.adversarial import Adversarial

framework.set_seed(0)
network = models.build_model(scheme.num_classes, (None, None, 3), models.SMALL, encoder_weights="imagenet")
rivals = Adversarial(weight=0.01, rate=1e-3).build(network, TRAINING, seed=0, pixels=None)
rivals.compile(tf.keras.optimizers.Adam(1e-3), losses.DiceLoss())
batches = pipeline.make_dataset(train, scheme, (64, 128), 8, shuffle=True)
options = {"runs": tempfile.mkdtemp(), "progress": False}
run = training.fit(rivals, {"labelled": batches.take(5)}, steps=TRAINING, **options)
''',"nbval-ignore-output")
code('''
curves = run.history.set_index(run.history.index * 5)[["told apart", "discriminator loss", "loss"]]
figure = plots.lines(curves, "step", "", "the U-Net's Dice loss, and how the discriminator does")
plots.show(figure, "Dice loss, discriminator loss and share of patches told apart during training")
''',"nbval-ignore-output")
md('''
The rival joins after a quarter. Where in a street does it see that a map is no true one? Its answer is a grid, so we can look.
''')
code('''
images = np.stack([prep.read_image(path, (64, 128)) for path in val["image"][:3]]) / np.float32(255)
answer = network.predict(images, verbose=0)
answer *= true_maps(val[:3], (64, 128)).sum(-1, keepdims=True)  # void is zero, as in training
true = tf.sigmoid(rivals.judge(answer))[..., 0].numpy()
shown = [cv2.resize(x, (128, 64)) for x in true]
rows = [list(row) for row in zip(images, colors(answer), shown)]
figure = plots.grid(rows, ["street", "the U-Net's answer", "how true it looks (white: true)"])
plots.show(figure, "Three streets, the U-Net's answers, and the discriminator's map of how true they look")
''',"nbval-ignore-output")

md('''
The white patches are those that it takes for drawn by a person. Far from perfect, as it has seen some forty batches. But it does not need a label to judge, only an answer, and that makes the second use of such networks possible.

## Was it worth it?

The U-Net above learned for a minute. The stored study gave it 900 steps on all 120 labelled streets with the best recipe of lesson 08, and 400 streets of unseen cities to be scored on, with and without a rival:

    python -m cityseg_utils.studies rival
''')
code('''
from cityseg_utils import statistics, studies

stored = studies.read("rival")
scores = ["mean IoU", "mean IoU at borders", "pixel accuracy", "mean IoU on train"]
stored[scores].groupby(level="configuration", sort=False).mean().round(3)
''')
code('''
asked = exercises.predict(
    "By how much does the best rival raise the mean IoU (in points, 0.01 each)?", answer=None
)
asked
''')
code('''
gains = statistics.compared(stored, "without a rival")
exercises.compare(asked, round(100 * gains["mean"].max(), 1))
''')
code('''
figure = plots.seed_intervals(statistics.means(stored), stored["mean IoU"], "mean IoU, 400 streets")
plots.show(figure, "Mean IoU without a rival and with three kinds of it, with seeds and intervals")
''')
code('''
borders = statistics.compared(stored, "without a rival", "mean IoU at borders")
both = pd.concat({"mean IoU": gains, "at borders": borders}, axis=1)
both.loc[:, (slice(None), ["mean", "low", "high", "verdict"])].round(3)
''')
md('''
RIVALTEXT
''')
md('''
## Streets that nobody labelled

A rival of *true maps* needs labels to show it. But a discriminator only needs two piles of maps. Let one pile be the answers to streets *with* labels, the other the answers to streets *without*, from another town, in other weather, or real ones where ours are drawn. If it cannot tell the piles apart, then the network says as plausible things about the new streets as about the old ones. That is the idea of [Tsai and others, 2018](https://arxiv.org/abs/1802.10349).

First we look at the gap itself. We let fog come down over our cities; the U-Net from above has never seen any.
''')
code('''
def in_fog(images):
    \"\"\"Return pictures, 0 to 1, seen through fog.\"\"\"
    return 0.35 * images + np.float32(0.65 * 0.84)


def read(rows):
    pictures = [prep.read_image(path, (64, 128)) for path in rows["image"]]
    return np.stack(pictures) / np.float32(255)


clear = read(val)
figure = plots.grid([[clear[0], in_fog(clear)[0]]], ["clear", "fog"])
plots.show(figure, "One street on a clear day and in fog")
''')
code('''
from cityseg_utils.metrics import ConfusionMatrix

masks = [prep.read_mask(path, scheme, (64, 128)) for path in val["mask"]]


def mean_iou(images):
    \"\"\"Score the U-Net on the val streets, as they are or in fog.\"\"\"
    matrix = ConfusionMatrix.for_scheme(scheme)
    for truth, scores in zip(masks, network.predict(images, verbose=0), strict=True):
        matrix.update(truth, scores.argmax(-1).astype(np.uint8))
    return matrix.mean_iou()
''')
code('''
def pile(change):
    \"\"\"Return the U-Net's answers to streets of both splits, changed in some way.\"\"\"
    seen = {"train": change(read(train)), "val": change(clear)}
    return {k: network.predict(images, verbose=0)[:, ::2, ::2] for k, images in seen.items()}


day = pile(np.array)
found = {"mean IoU": {"clear": mean_iou(clear), "in fog": mean_iou(in_fog(clear))}}
found["told from a clear day"] = {"clear": 0.5, "in fog": play(day, pile(in_fog))[1]}
pd.DataFrame(found).round(2)
''',"nbval-ignore-output")
md('''
Fog costs the U-Net a good part of what it could, and its answers give the weather away: a discriminator tells nearly all patches of foggy streets from those of clear ones. (0.5 is a coin.) So a rival would have work to do. But before we let a clever method loose, a simple thing first. What does fog do to a picture? It moves all its colours up and together. And batch norm (lesson 06) moves and stretches whatever it gets, by averages that it has kept from training. **They are averages of clear days.** Nothing is needed to compute them anew on streets in fog, no label and no training, only the pictures ([Li and others, 2016](https://arxiv.org/abs/1603.04779)):
''')
code('''
asked = exercises.predict(
    "With batch norm's averages from 120 streets in fog: what share of the loss in fog comes back?",
    answer=None, unit="%"
)
asked
''')
code('''
fog = tf.data.Dataset.from_tensor_slices((in_fog(read(train)), np.zeros(len(train)))).batch(8)
training.refresh_batch_norm(network, fog, batches=15)
found["mean IoU"] |= {"in fog, refreshed": mean_iou(in_fog(clear)), "clear, refreshed": mean_iou(clear)}
found["told from a clear day"]["in fog, refreshed"] = play(day, pile(in_fog))[1]
table = pd.DataFrame(found)
table.round(2)
''',"nbval-ignore-output")
code('''
scores = table["mean IoU"]
lost, back = scores["clear"] - scores["in fog"], scores["in fog, refreshed"] - scores["in fog"]
exercises.compare(asked, round(100 * back / lost))
''',"nbval-ignore-output")
code('''
print("over two thirds of the loss come back:", "yes" if back > 2 / 3 * lost else "no")
hidden = table["told from a clear day"]
print("the gap between the piles is nearly gone:", "yes" if hidden["in fog, refreshed"] < 0.6 else "no")
print("clear days are lost instead:", "yes" if scores["clear, refreshed"] < scores["in fog"] else "no")
''')
md('''
All of it, for nothing, and no rival had to be trained. Fog is a simple change: every colour times one number plus another. That is just what batch norm can undo, so to the layers behind it a foggy street looks like a clear one again. The price is in the last row: now the network is at home in fog and lost on clear days.

**Try the simple thing first.** Many papers on new weather or new cities compare with a network that did not even get new averages.

## From drawn streets to photographs

Real streets differ from drawn ones by more than a factor. 480 drawn streets with labels; CamVid's photographs without any; and the photographs of one drive, of which not even the pictures are seen, to be scored on. This takes too long for a lesson, so these runs are stored:

    python benchmarks/transfer.py /path/to/camvid adversarial --unseen 0006R0 --seed 0
''')
code('''
TRANSFERTABLE
''')
md('''
TRANSFERTEXT

## Labels to pictures, too

One more GAN belongs to every course on street scenes: [pix2pix](https://arxiv.org/abs/1611.07004) (Isola and others, 2017). It is the other way round: the network gets a *label map* and draws a picture of it, and the discriminator sees picture and map together. One use for it here would be to make more labelled pictures. This course leaves it out, for it has MiniCity, which draws as many labelled streets as you like. Lesson 11 asked what they are worth.

## Exercises

**1.** A discriminator gives patches of true maps 0.8 for being true, and patches of answers 0.3. What is its loss, the mean of both kinds?
''')
code('''
answer = ...
exercises.check_discriminator_loss(answer, of_true=0.8, of_answers=0.3)
''')
md('''
**2.** Write the softening yourself, with NumPy. Mind the void.
''')
code('''
def soften(truth, answer, least):
    \"\"\"Return a truth that is no sharper than the answer; (..., C) all three.\"\"\"
    ...


exercises.check_softened(soften)
''')
md('''
**3.** A colleague forgot to zero the void in the network's answers, and trains on one-hot maps of both kinds. Her discriminator is right every time after ten steps. Write the cheat that it has found: a function that says of a one-hot map whether a person made it, without knowing anything of streets.
''')
code('''
def is_true(maps):
    \"\"\"Say whether (H, W, C) one-hot maps are of a person.\"\"\"
    ...


exercises.check_cheat(is_true)
''')
md('''
Solutions: [solutions/12_adversarial_training.ipynb](solutions/12_adversarial_training.ipynb). Try first.

## What you saw

- A discriminator judges patches, not pixels; with 0.693, the surprise of a coin, it has found nothing.
- It takes the easiest clue: sharpness tells a perfect answer from the truth. Whoever trains against it must know what it looks at.
- Its loss says how easily two kinds of maps are told apart by whatever differs, and not how good a network is.
- SAWRIVAL
- Fog that a network has never seen can be undone by new averages for batch norm. Try the simple thing first.
- SAWREAL

## Quiz

1. Your discriminator's loss falls to 0.01 in the first hundred steps. Good news?
2. Why does the rival stay out of the first quarter of the training?
3. Why can a rival of *source against target* use pictures without labels, and a rival of *true maps* not?

<details><summary>Answers</summary>

1. No. It has found a clue that is too easy, perhaps sharpness, or void in one kind alone, and has little to teach.
2. In the beginning every answer is wrong everywhere. Any discriminator sees that, and tells the network nothing that the labels do not say better.
3. It compares answers with answers: of both kinds there is one for every picture. True maps exist only where somebody has drawn them.

</details>

**Next:** pictures without labels once more, and without a rival. Can a network be its own teacher?
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/12.ipynb").write_text(nbf.writes(nb))
