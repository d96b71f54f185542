"""Draft of lesson 08 on the studies "how long", "changed frames" and "dusk" (PLANNED); texts in capitals wait for them."""
import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
import sys; sys.path[:0]=["/tmp/wt08","/tmp/wt08/tests/notebooks"]
import test_numbers as T
F=[what.format(*numbers()) for what,numbers in T.SAID["08"]]
cells=[]
def md(s):
    for k in reversed(range(len(F))): s=s.replace(f"<<{k}>>",F[k])
    assert "<<" not in s, s
    cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 08 · Augmentation: when does it pay?

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/08_augmentation_experiments.ipynb)

A hundred and twenty streets are few. **Augmentation** makes more of them: mirror a street and it is another street, darken it and it is evening. Many tutorials recommend it. Does it help? That depends, and in this lesson you find out on what.

**You will learn**

- to change image and mask *together*, and what happens if you do not;
- what flips, crops, colours, CutMix and ClassMix do, and what seeds are for;
- to see over- and underfitting in two numbers, and what augmentation has to do with them;
- to compare recipes fairly: equal budgets, several seeds, intervals, and "no difference" as an answer;
- what a mirror does at test time.

**Before this:** [lesson 07](07_iou_analysis.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** TIMEMEMORY; the full comparison, whose results are stored, took hours.
**Opens the modules** `cityseg_utils/augmentation.py`, `cityseg_utils/recipes.py` and `cityseg_utils/experiments.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
STEPS = 150  # of each of the two trainings below; the stored ones have 300 and 900
ONE_MORE = None  # a seed that is not stored, such as 7: one more run of the study, minutes
''',"parameters")
code('''
import cv2
import numpy as np
import pandas as pd

from cityseg_utils import augmentation, datasets, exercises, framework, plots, prediction
from cityseg_utils import preprocessing as prep
from cityseg_utils import recipes, statistics, studies, tables

framework.set_seed(0)
tf = framework.load_tensorflow()
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
print(len(train), "train frames,", len(val), "val frames")
''')
md('''
## Image and mask, together

We mirror a street by hand.
''')
code('''
asked = exercises.predict(
    "Mirror the image and forget the mask: how many per cent of the labels are still right?",
    answer=None,
    unit="%",
)
asked
''')
code('''
image, mask = prep.read_pair(train["image"].iloc[5], train["mask"].iloc[5], scheme, (128, 256))
mirrored, mirrored_mask = image[:, ::-1], mask[:, ::-1]
shown = [
    mirrored,
    plots.overlay(mirrored, mask, scheme),
    plots.overlay(mirrored, mirrored_mask, scheme),
]
titles = ["mirrored image", "with the old mask: wrong", "with the mirrored mask"]
plots.show(plots.grid([shown], titles), "A mirrored street; only the mirrored mask fits it")
''')
code('''
agree = (mask == mirrored_mask)[mask != 255].mean()
exercises.compare(asked, round(100 * agree))
''')
md('''
No error is raised, the loss goes down, and the network learns nonsense for everything that is not symmetric. That is why transforms here always take both.

The package's `Flip` does it half of the time, and decides by a **seed**, two whole numbers. One seed, one outcome:
''')
code('''
flip = augmentation.Flip()
inputs = image.astype(np.float32) / 255, mask
for number in range(6):
    _, labels = flip(*inputs, seed=(number, 0))
    print(number, "mirrored" if np.array_equal(labels, mirrored_mask) else "as it was")
''')
md('''
The answer depends on the seed alone, in whatever order the frames come. `make_dataset` gives every frame in every epoch a seed of its own, made from your one seed, so a whole training can be repeated. (In tables and recipes the mirror is called `flip`.)

## The collection
''')
code('''
a = augmentation
COLLECTION = {
    "scale and crop": a.ScaleAndCrop((128, 256), (0.75, 2.0)),
    "rotate": a.Rotate(10),
    "brightness": a.Brightness(0.25),
    "hue": a.Hue(0.1),
    "blur": a.Blur(0.9),
    "all colours": a.Colors(1.0),
}


def example(transform, number):
    changed, _ = transform(*inputs, seed=(number, 0))
    return (255 * changed.numpy()).astype(np.uint8)
''')
code('''
rows = [[example(transform, number) for number in range(3)] for transform in COLLECTION.values()]
figure = plots.grid(rows, [f"seed {n}" for n in range(3)], list(COLLECTION))
plots.show(figure, "Six transforms of one street with three seeds each")
''')
md('''
(There are also contrast, saturation, gamma, white balance, noise and cutout.) Where the picture turned or shrank there is gray, and its label is **void**: nobody knows what is there, so nothing is learned there. Labels are moved by whole pixels or to the nearest one, never blended (lesson 02).

How a crop is made matters, too. A street of MiniCity has 256 x 512 pixels, and the network sees 96 x 192. Whoever shrinks first and then enlarges a piece shows the network a blurred street. So in the study frames are read at 144 x 288, then shrunk by chance to between half and all of that, and 96 x 192 is cut out (with gray around it where that is more than there is). The largest case:
''')
code('''
path, window = train["image"].iloc[5], (slice(40, 136), slice(60, 252))
sharp = prep.read_image(path, (144, 288))[window]
small = prep.read_image(path, (96, 192))
blurred = cv2.resize(small, (288, 144), interpolation=cv2.INTER_LINEAR)[window]
figure = plots.grid([[sharp, blurred]], ["cut from 144 x 288", "enlarged from 96 x 192"])
plots.show(figure, "The same crop of a street, sharp and blurred")
''')
md('''
Two transforms need a second frame. **CutMix** pastes a window of another street, **ClassMix** about half of its classes, chosen by a coin for each. The labels go with them:
''')
code('''
two = train.iloc[[5, 60]]
images = np.stack([prep.read_image(path, (128, 256)) for path in two["image"]]) / np.float32(255)
masks = [prep.read_mask(path, scheme, (128, 256)) for path in two["mask"]]
masks = np.stack(masks)
mixed = [mix(images, masks, (1, 0)) for mix in (a.CutMix(), a.ClassMix())]
rows = [[(255 * i[0].numpy()).astype(np.uint8) for i, _ in mixed]]
rows.append([scheme.colorize(m[0].numpy()) for _, m in mixed])
figure = plots.grid(rows, ["CutMix", "ClassMix"], ["picture", "labels"])
plots.show(figure, "Two streets in one, in two ways")
''')
md('''
## Why should it help?

Look at what happens without. Here the **small network** learns: a U-Net whose encoder, EfficientNet-Lite0, was made for phones and has seen ImageNet, with a decoder of few channels. A `Recipe` is a whole training in one value (network, loss, rate, steps, changes of frames), and `but` changes something of it.
''')
code('''
print(studies.CHANGED)
''')
md('''
Read it: crops of frames that are read at 144 x 288, mirrors, and colours at 0.3 of what you saw above. (`scales=(0.5, 1.0)` of what was read is 0.75 to 1.5 times what the network sees; `schedule` is lesson 09's; and the 900 steps we replace by `STEPS`.) We train twice on only fifteen streets, once as they are and once changed like that. Each network is then scored twice: on streets of unseen cities, and on the fifteen that it learned from. A *point* is 0.01.
''')
code('''
asked = exercises.predict(
    "As they are: by how many points of mean IoU is it better on its own streets than on others?",
    answer=None,
    unit="points",
)
asked
''')
code('''
few = train.iloc[:: max(1, len(train) // 15)].iloc[:15]
ways = {"as they are": studies.PRETRAINED, "changed": studies.CHANGED}
learned = {
    name: recipes.train(recipe.but(steps=STEPS), few, scheme).model for name, recipe in ways.items()
}
''')
code('''
def scored(model):
    """Return the mean IoU on unseen cities and on the fifteen streets."""
    rows = {"unseen cities": val, "its own streets": few}
    return {k: prediction.evaluate(model, x, scheme, (96, 192)).mean_iou() for k, x in rows.items()}


live = pd.DataFrame({name: scored(model) for name, model in learned.items()}).T
live["gap"] = live["its own streets"] - live["unseen cities"]
live.round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(100 * live.loc["as they are", "gap"]))
''',"nbval-ignore-output")
md('''
HEARTTEXT A large gap between train and val is the sign of **overfitting**: what was learned does not carry over. (Not all of it was learned by heart. The cities are others, and fifteen streets hold hardly a rider or a bus.) A low score on both is **underfitting**: there was more to learn. Changed frames cost something on train. Whether they pay on val seems to depend on whether there was something to cure.

So the question is not "does augmentation help?" but "*when*?" Three things could decide: how many streets there are, how long one trains, and what the change is. That calls for a comparison.

## A fair comparison

How *not* to do it: train once without, once with, compare the two numbers. You have just done that. It showed *what* to measure. It cannot say *how much*, for another seed could reverse the result. A fair comparison

1. gives every recipe the **same budget**;
2. repeats each with several **seeds**;
3. says **beforehand** which difference would matter, here two points of mean IoU, and how many seeds show it four times of five, if it is there;
4. has an answer for "no difference", and another for "not decided".

`experiments.run` trains each recipe with every seed, in a program of its own, and notes one row per run in a file. What is in the file is never run again. This line made what follows, and says what it costs before it begins:

    python -m cityseg_utils.studies "how long" "changed frames"

(In a terminal, in the course's folder. After `make lab` write `.venv/bin/python` for `python`.) It was not the first look. An earlier study ([results](../docs/results.md), "The small network") had seen <<14>>; its learning rate, its loss and the strength of the changes are taken over. Question, seeds and margin of this one were fixed before its first run.

Before you see anything, commit yourself. (The answer stands below the second table.)
''')
code('''
asked = exercises.predict(
    "All changes, 900 steps, 120 streets: by how many points does mean IoU on unseen cities change?",
    answer=None,
    unit="points",
)
asked
''')
md('''
## How long?

First, one run of each length, scored on 40 streets of one val city, on which no stored comparison below is scored, and on 40 of train:
''')
code('''
pilot = studies.read("how long")
pilot["way"] = [name.split(",")[0] for name, _ in pilot.index]
scores = {"mean IoU": "val", "mean IoU on train": "train"}
curves = pilot.pivot(index="steps", columns="way", values=list(scores))
curves.columns = [f"{way}, {scores[score]}" for score, way in curves.columns]
figure = plots.lines(curves, "steps", "mean IoU", "with changed frames (all) and without", log=True)
plots.show(figure, "Mean IoU on train and val after 300, 900 and 2700 steps, with changed frames and without")
''')
md('''
(One seed: look at large differences only.) After 300 steps val hardly tells them apart, but train does: <<0>>. After 900 val does, too: <<1>> changes the network knows its own streets <<2>>, and unseen cities no better than before. With changes both still rise, but for <<3>> more. So the comparison below has two budgets: 300 steps, which are short, and 900, which are nearly enough.

## When does it pay?
''')
code('''
stored = studies.read("changed frames")
print(studies.STUDIES["changed frames"].question)
print(len(stored), "runs, scored on", stored["val frames"].max(), "streets of unseen cities")
''')
code('''
def when(setting):
    """Return what a setting is like without changes, and what all of them cost and bring there."""
    base, changed = (f"{way}, {setting}" for way in ("none", "all"))
    these = stored.loc[[key for key in stored.index if key[0].endswith(f", {setting}")]]
    looks = 8 * these["steps"].iloc[0] / these["train frames"].iloc[0]
    scores = these.groupby("configuration")[["mean IoU on train", "mean IoU"]].mean()
    learned, scored = scores.loc[base]
    cost = learned - scores.loc[changed, "mean IoU on train"]
    gain = statistics.compared(these, base).loc[changed].rename({"mean": "gain"})
    return {"looks": looks, "gap without changes": learned - scored, "cost on train": cost, **gain}
''')
code('''
settings = ["300 steps", "900 steps", "300 steps, 15 streets", "900 steps, 15 streets"]
table = pd.DataFrame.from_dict({setting: when(setting) for setting in settings}, orient="index")
table.round(3)
''')
code('''
exercises.compare(asked, round(100 * table.loc["900 steps", "gain"], 1))
''')
md('''
How to read it. `looks` is how often each street was seen, eight in a step. The *gap* is how much better the network without changes is on train than on unseen cities. Then come what all changes cost on train, and what they gain on unseen cities. From `low` to `high` is the gain's **interval**. With other seeds the mean would have moved; the interval is made so that in 95 of 100 such studies it holds the true gain, *and those of all other changes in that setting do, too* (you will see them for one setting). *Better* and *worse*: the interval misses 0. *No difference*: it does not miss 0, and a narrower interval, for this change alone (90 %), lies within the margin of 0.02 that was set before the first run. So `low` or `high` may lie a little outside of it. *Not decided*: neither.

(With fifteen streets each seed takes fifteen others, so these intervals hold the luck of the streets, too. None and all have five seeds, the other changes three. What no interval here holds: other val streets, other cities, other networks.)
''')
code('''
plane = stored.groupby("configuration")[["mean IoU on train", "mean IoU"]].mean()
moves = {x: plane.loc[[f"none, {x}", f"all, {x}"]].to_numpy() for x in settings}
now = f"just now: {STEPS} steps, 15 streets"
moves[now] = live[["its own streets", "unseen cities"]].to_numpy()
axes = "mean IoU on train", "mean IoU on unseen cities"
figure = plots.arrows(moves, *axes, "what all changes do: from none to all")
plots.show(figure, "Arrows from none to all changes, for four settings and the two trainings above")
''')
md('''
The dotted line is where both scores are equal; how far an arrow begins below it is the gap. (Your own arrow is one seed, scored on 40 of the val streets.)

All four stored arrows go to the left: on train, changes cost, probably because the network cannot learn by heart what looks different each time. Whether they go *up* depends on where they begin. With fifteen streets the network knows its own streets well after 300 steps already <<4>>. With 120 streets and 300 steps <<5>>: if they do, then probably because each frame is harder, and time is short. After 900 steps the gap has grown here, too <<6>>.

So is it the number of streets, or the number of steps? Both count, and neither alone decides. Multiply: the column `looks` says how often each street was seen, 20 and 60 times of 120, 160 and 480 times of fifteen. In this order the changes bring ever more. And so does the gap grow: <<7>>. (Four settings are few. They cannot tell which of the two it is. And gap and gain share a number, the score on val without changes, so a part of the agreement is built in.) The gap has one merit: you see it without any study. **Score on train, too.**

(More steps alone do not cure it: without changes and with fifteen streets, <<8>>. No interval is computed here; take it as a hint.)

## Which change?
''')
code('''
best = exercises.predict(
    "Which single change brings most, 900 steps on 120 streets?",
    answer=None,
    choices=["flip", "crop", "colours"],
)
best
''')
code('''
each = stored.loc[[key for key in stored.index if key[0].endswith(", 900 steps")]]
base = "none, 900 steps"
gains = statistics.compared(each, base)
scores = each["mean IoU"]
dots = scores.drop(base, level="configuration") - scores[base].mean()
figure = plots.seed_intervals(gains, dots, "gain in mean IoU, 900 steps, 120 streets", zero=True)
plots.show(figure, "Gain of each change over none, by seed, with intervals that hold together")
''')
code('''
single = gains.loc[[f"{way}, 900 steps" for way in ("flip", "crop", "colours")], "mean"]
exercises.compare(best, single.idxmax().split(",")[0])
''')
code('''
deviation, _ = statistics.spread(each)
print(f"standard deviation over seeds: {deviation:.4f}")
print("next time, seeds that would show two points:", statistics.seeds_for(0.02, deviation))
gains.round(3)
''')
md('''
Why intervals that hold together? Of forty useless tricks, each judged by an interval of its own that is right 95 times of 100, two on average will seem to do something.

The crop does most of it: alone <<9>>, and colours, on streets in such light, nothing. Do mirrors and colours add anything to the crop, and does it matter whether it is sharp? For that the crop is the baseline:
''')
code('''
beside = [f"{way}, 900 steps" for way in ("crop", "all", "blown-up crop")]
statistics.compared(each.loc[beside], beside[0]).round(3)
''')
md('''
<<10>>, and the blown-up crop <<11>>. Neither interval reaches two points, the margin: no difference that matters. So the blur that you saw above costs less than it looks.

CutMix, and ClassMix, which was made for few labels (lesson 13), <<12>>. Why the crop? A guess, which no cell here tests: of a class with few examples it makes many, larger, smaller and elsewhere. If that is right, rare classes should gain most.

### Which classes?
''')
code('''
left = exercises.predict(
    "All changes together: how many points are left if only classes with over 1 % of pixels count?",
    answer=None,
    unit="points",
)
left
''')
code('''
frequent = statistics.compared(each, base, "mean IoU of frequent classes").loc["all, 900 steps"]
exercises.compare(left, round(100 * frequent["mean"], 1))
''')
code('''
by_class = statistics.by_class(each)
change = 100 * (by_class.loc["all, 900 steps"] - by_class.loc[base]).sort_values(ascending=False)
figure = plots.bars(change, "what all changes bring (points of IoU)")
plots.show(figure, "Bars: rare classes gain up to dozens of points, the frequent ones next to nothing")
print(frequent.round(3).to_dict())
''')
md('''
A surprise: <<15>>. All that mean IoU has gained is in classes of which 120 streets hold few, <<16>> first. Mean IoU counts each class alike, so a handful of rare ones can make a headline. Whether that is what *you* want depends on what you need: a car had better see riders. With fifteen streets and 900 steps the frequent classes gain, too, <<17>>: there even houses and cars are few.

## One more seed

Do you believe it? `ONE_MORE = 7` at the top trains one more seed of "all, 900 steps", some seven minutes of one core, and draws it as a star below the stored ones. Its row is kept in `runs/`; the stored table stays as it is. (First 400 val streets are drawn, once.)
''')
code('''
if ONE_MORE is not None:
    more = studies.one_more("changed frames", "all, 900 steps", ONE_MORE)["mean IoU"]
    now = {f"all, seed {ONE_MORE}": more["all, 900 steps", ONE_MORE]}
    old = stored.loc[["none, 900 steps", "all, 900 steps"]]
    means = statistics.means(old)
    figure = plots.seed_intervals(means, old["mean IoU"], "mean IoU, unseen cities", now=now)
    plots.show(figure, "Mean IoU of two recipes, and of one more seed")
''')
md('''
## In light that was never seen

All this was about cities that nobody had seen, in light that train has, too. Now the light itself is new, and the streets are real. CamVid's drive 0001TP was filmed at dusk; it is left out, and the small network learns from the other drives, which are by day (ImageNet's weights, 600 steps at 128 x 160, three seeds). Do changed colours prepare it for the dusk? They are stronger here, 0.5 of what you saw above.

    python -m cityseg_utils.studies dusk --camvid /path/to/camvid

Before recipes are ranked, each has to pass a test: is it better than an answer that never looks? Lesson 06 had such a one, the commonest class at each place. *Better* means here: the interval of its three seeds lies above, for both scores. On this drive the blind answer scores:
''')
code('''
scores = ["mean IoU", "pixel accuracy"]
blind = tables.read(studies.RESULTS / "blind.csv", ["scored on"])[scores].loc["0001TP"]
blind.round(3)
''')
code('''
asked = exercises.predict(
    "Of four recipes (none; flip and crop; colours; all three) how many beat it at both scores?",
    answer=None,
)
asked
''')
code('''
dusk = studies.read("dusk")
means = dusk[scores].groupby("configuration", sort=False).mean()
low = pd.DataFrame({score: statistics.means(dusk, score)["low"] for score in scores})
passed = (low > blind).all(axis=1)
exercises.compare(asked, int(passed.sum()))
''')
code('''
means.join(low.add_prefix("low, ")).assign(passed=passed).round(3)
''')
md('''
DUSKTEXT

## Mirrors at test time

One augmentation costs no training: predict the frame *and* its mirror image, turn the second answer back, and average. What do several sizes bring? Intervals come from a **paired bootstrap**: frames are drawn anew a thousand times, and each time both ways are scored on the same ones. A hard frame is hard for both, so it drops out of the difference.
''')
code('''
asked = exercises.predict(
    "By how many points does the mirror change the reference model's mean IoU?",
    answer=None,
    unit="points",
)
asked
''')
code('''
from cityseg_utils import analysis, metrics, models

model = models.load_reference(scheme, pairs)
some = val.iloc[::2]
truths = [prep.read_mask(path, scheme) for path in some["mask"]]
ONE = models.REFERENCE_SIZE
FACTORS = {"half": 0.5, "one": 1, "large": 1.25}
SIZES = {name: tuple(round(f * x) for x in ONE) for name, f in FACTORS.items()}
one, every = ["one"], list(SIZES)
ways = {"plain": (one, 0), "mirror": (one, 1), "sizes": (every, 0), "both": (every, 1)}
''')
code('''
streams = {
    (name, mirror): prediction.predict(model, some["image"], size, mirror=bool(mirror))
    for name, size in SIZES.items()
    for mirror in (0, 1)
}
matrices = {way: [] for way in ways}
for truth in truths:
    told = {key: next(stream) for key, stream in streams.items()}
    for way, (names, mirror) in ways.items():
        answer = np.mean([told[name, mirror] for name in names], axis=0).argmax(-1)
        matrices[way].append(metrics.ConfusionMatrix.for_scheme(scheme).update(truth, answer))
''')
code('''
plain = matrices.pop("plain")
gains = {x: analysis.bootstrap_gains(plain, way).loc["mean"] for x, way in matrices.items()}
seen = 0.5**2 + 1 + 1.25**2  # pixels, beside those of one prediction
table = 100 * pd.DataFrame(gains).T
table["pixels seen"] = [2, seen, 2 * seen]
table.round(2)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(table.loc["mirror", "gain"], 1))
''',"nbval-ignore-output")
md('''
`gain` is in points of mean IoU over every second val frame; `pixels seen` is what the network looks at, times that of one prediction. "Sizes" is the mean of the answers at half, one and one and a quarter times the size. TTASAID (The intervals are about other frames of these two cities, and with twenty frames only roughly. Each stands alone. About another network they say nothing; and this one has learned with mirrored streets and other sizes.)

## Exercises

**1.** Write a transform of your own: everything moves n pixels to the right. What comes in at the left is gray (0.5). Which label does it get?
''')
code('''
def shift(image, mask, n):
    """Return both moved n pixels to the right; (H, W, 3) float in 0 .. 1, and (H, W) uint8."""
    ...


exercises.check_shift(shift)
''')
md('''
**2.** Design a comparison. A run takes 7 minutes, and you have 6 hours of one core. Earlier runs had a standard deviation of 0.008 over seeds, and one point of mean IoU (0.01) matters to you: it should be seen four times of five. How many *recipes* can you compare, the baseline among them? (`statistics.seeds_for` says how many seeds each needs. It reckons with two recipes alone; intervals that hold together need somewhat more.)
''')
code('''
answer = ...
exercises.check_recipes_in_time(answer, minutes=7, hours=6, effect=0.01, deviation=0.008)
''')
md('''
**3.** Train. Put changes of your own in place of the dots, for example `a.Compose(a.Flip(), a.Rotate(5))`, and beat the training "as they are" on unseen cities with both of two seeds: the same fifteen streets, 60 steps. (EXTIME. A crop needs the size (96, 192), and is a blown-up one here. A change that does nothing wins with both seeds one time of four. And every further try on the same val streets makes the winner luckier.)
''')
code('''
def tried(augment):
    """Return the mean IoU on unseen cities after 60 steps, with each of two seeds."""
    recipe = studies.PRETRAINED.but(steps=60, augment=augment)
    models = [recipes.train(recipe, few, scheme, seed).model for seed in (0, 1)]
    return [scored(model)["unseen cities"] for model in models]


mine = ...
answer = ...
if mine is not ...:
    answer = {"control": tried(None), "mine": tried(mine)}
exercises.check_own_changes(answer)
''',"nbval-ignore-output")
md('''
Solutions: [solutions/08_augmentation_experiments.ipynb](solutions/08_augmentation_experiments.ipynb). Try first.

## What you saw

- Image and mask change together. Forget the mask, and no error tells you.
- One seed, one outcome: a training with augmentation can be repeated.
- The score on train beside the one on val tells learning by heart from learning too little.
- Changed frames paid where the network had learned its streets by heart: <<13>>.
- Of the changes the crop brought most; colours, on streets in known light, nothing.
- SAWDUSK
- Mean IoU counts each class alike: what all changes brought on 120 streets was in rare classes alone.
- A mirror at test time costs a second prediction. SAWTTA

## Quiz

1. A transform gains 0.02 with one seed. Your colleague wants to switch it on for good. What do you ask for?
2. Why does `Rotate` make the corners void and not road?
3. With augmentation, the score on train falls and the one on val stays. Is it of no use?

<details><summary>Answers</summary>

1. More seeds, the same budget for both, and an interval of the differences.
2. Nobody knows what is there. Any label would be made up, and the network would learn it.
3. Not yet. The training may have been too short for the harder task; with more steps the one that cannot learn by heart may go on rising when the other has stopped.

</details>

**Next:** the same method, another question: [which loss, which learning rate, which batch size?](09_losses_and_hyperparameters.ipynb)
''')
Path("/tmp/try/08.ipynb").write_text(nbf.writes(nbf.v4.new_notebook(cells=cells)))
