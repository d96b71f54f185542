"""Draft of lesson 08 on the studies "how long", "changed frames" and "dusk" (PLANNED); texts in capitals wait for them."""
import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 08 · Augmentation: when does it pay?

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/08_augmentation_experiments.ipynb)

A hundred and twenty streets are few. **Augmentation** makes more of them: mirror a street and it is another street, darken it and it is evening. Every tutorial recommends it. Does it help? That depends, and in this lesson you find out on what.

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
The answer depends on the seed alone, in any thread and in any order. `make_dataset` gives every frame in every epoch a seed of its own, made from your one seed, so a whole training can be repeated.

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

How a crop is made matters, too. A street of MiniCity has 256 x 512 pixels, and the network sees 96 x 192. Whoever shrinks first and then enlarges a piece shows the network a blurred street. So in the study frames are read at 144 x 288, and a crop of 96 x 192 is cut from that:
 )
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
Two transforms need a second frame. **CutMix** pastes a window of another street, **ClassMix** half of its classes. The labels go with them:
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
Read it: crops of frames that are read at 144 x 288, mirrors, and colours at 0.3 of what you saw above. We train twice on only fifteen streets, once as they are and once changed like that. Each network is then scored twice: on streets of unseen cities, and on the fifteen that it learned from.
''')
code('''
asked = exercises.predict(
    "'As they are': mean IoU on its own streets minus that on unseen cities, in points?",
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
HEARTTEXT: the gap between train and val is **overfitting**: what was learned by heart does not help elsewhere. A low score on both is **underfitting**: there was more to learn. (A point is 0.01.) Here changed frames cost on train; whether they pay on val depends on whether there was anything to cure.

So the question is not "does augmentation help?" but "*when*?" Three things should decide: how many streets there are, how long one trains, and what the change is. That calls for a comparison.

## A fair comparison

How *not* to do it: train once without, once with, compare the two numbers. Another seed could turn the result round. A fair comparison

1. gives every recipe the **same budget**;
2. repeats each with several **seeds**;
3. says **beforehand** which difference would matter, here two points of mean IoU, and how many seeds can show it;
4. has an answer for "no difference", and another for "not decided".

`experiments.run` trains each recipe with every seed, in a Python of its own, and notes one row per run in a file. What is in the file is never run again. This line made what follows, and says what it costs before it begins:

    python -m cityseg_utils.studies "how long" "changed frames"

Before you see anything, commit yourself:
''')
code('''
asked = exercises.predict(
    "All changes together, 900 steps on 120 streets: by how many points does mean IoU change?",
    answer=None,
    unit="points",
)
asked
''')
md('''
## How long?

First, one run of each length, scored on 40 streets of val that no stored comparison below is scored on, and on 40 of train:
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
(One seed: look at large differences only.) After 300 steps the changes have cost something: 0.46 against 0.48, and on train 0.47 against 0.63. After 900 it has turned round: 0.60 against 0.52. Without changes the network knows its own streets ever better, 0.85 in the end, and unseen cities no better than before. With changes both still rise, but for three times the steps val gains only 0.01 more. So the comparison below has two budgets: 300 steps, which are short, and 900, which are nearly enough.

## When does it pay?
''')
code('''
stored = studies.read("changed frames")
print(studies.STUDIES["changed frames"].question)
print(len(stored), "runs, scored on", stored["val frames"].max(), "streets of unseen cities")
''')
code('''
def when(setting):
    """Return what all changes together are worth: on val, on train, in classes found."""
    base, changed = (f"{way}, {setting}" for way in ("none", "all"))
    these = stored.loc[[key for key in stored.index if key[0].endswith(f", {setting}")]]
    found = statistics.compared(these, base).loc[changed]
    others = these.groupby("configuration")[["mean IoU on train", "classes found"]].mean()
    return {**found, **(others.loc[changed] - others.loc[base])}
''')
code('''
settings = ["300 steps", "900 steps", "300 steps, 15 streets", "900 steps, 15 streets"]
table = pd.DataFrame.from_dict({setting: when(setting) for setting in settings}, orient="index")
table.round(3)
''')
code('''
exercises.compare(asked, round(100 * table.loc["900 steps", "mean"], 1))
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
How to read it. `mean` is the gain of all changes over none. From `low` to `high` is its **interval**: with other seeds the mean would have moved, and in 95 of 100 such studies *all* intervals of a table hold the true gains. *Better* and *worse*: the interval misses 0. *No difference*: by these seeds the true gain lies within the margin of 0.02, which was set before the first run. *Not decided*: neither. (What no interval here holds: other cities, and other networks.)

Why so much ado? Of forty useless tricks, each judged by an interval that is right 95 times of 100, two will seem to do something.

CHECK-ALL-NUMBERS (seed 0 so far): Now the picture. Every arrow goes to the left: on train, changes always cost, for the network cannot learn by heart what looks different each time. Whether it goes *up* depends on where it begins. With fifteen streets the network has learned its streets by heart after 300 steps already (0.82 on train, 0.32 on unseen cities), and all changes bring 8 points, after 900 steps 12. With 120 streets and 300 steps the network is still busy with what all streets have in common, and the changes cost 2 points: it sees harder frames and has no time for them. After 900 steps the gap has opened here, too (0.79 and 0.53), and the changes bring 7 points.

So it is not the number of streets that decides, and not the number of steps, but whether there is something learned by heart that stands in the way. You can see that beforehand, without any study: **score on train, too.** (And more steps without changes do not help: with fifteen streets, 900 steps end 1 point *below* 300.)

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
print("seeds that show two points four times of five:", statistics.seeds_for(0.02, deviation))
gains.round(3)
''')
md('''
CHECK (seed 0 so far): The crop does most of it, 6 of 7 points; the mirror 3; colours nothing. That fits: val's cities differ from those of train in their streets, not in their light. A crop shows houses, cars and people larger and at other places. The blown-up crop has 1.5 points less than the sharp one. CutMix and ClassMix, which are made for few labels (lesson 13), bring 3 points here.

## One more seed

Do you believe it? `ONE_MORE = 7` at the top trains one more seed of "all, 900 steps", some seven minutes of one core, and draws it among the stored ones. Its row is kept in `runs/`; the stored table stays as it is.
''')
code('''
if ONE_MORE is not None:
    more = studies.one_more("changed frames", "all, 900 steps", ONE_MORE)
    more = more.loc[["none, 900 steps", "all, 900 steps"]]
    figure = plots.seed_intervals(statistics.means(more), more["mean IoU"], "mean IoU, val")
    plots.show(figure, "Mean IoU of two recipes, one more seed among them")
''')
md('''
## In light that was never seen

DUSKINTRO

    python -m cityseg_utils.studies dusk --camvid /path/to/camvid

Before recipes are ranked, each has to pass a test: is it better than an answer that never looks? Lesson 06 had such a one, the commonest class at each place. On this drive it scores:
''')
code('''
scores = ["mean IoU", "pixel accuracy"]
blind = tables.read(studies.RESULTS / "blind.csv", ["scored on"])[scores].loc["0001TP"]
blind.round(3)
''')
code('''
asked = exercises.predict(
    "Of the four recipes (none, flip and crop, colours, all): how many are better at both scores?",
    answer=None,
)
asked
''')
code('''
dusk = studies.read("dusk")
means = dusk[scores].groupby("configuration", sort=False).mean()
passed = (means > blind).all(axis=1)
exercises.compare(asked, int(passed.sum()))
''')
code('''
means.assign(passed=passed).round(3)
''')
md('''
DUSKTEXT

## Mirrors at test time

One augmentation costs no training: predict the frame *and* its mirror image, turn the second answer back, and average. And frames at several scales?
''')
code('''
asked = exercises.predict(
    "The mirror, and the reference model: by how many points does mean IoU change?",
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
`gain` is in points of mean IoU over every second val frame; `pixels seen` is what the network looks at, times that of one prediction. "Sizes" is the mean of the answers at half, one and one and a quarter times the size. The intervals come from a **paired bootstrap**: frames are drawn anew a thousand times, and each time both ways are scored on the same ones. A hard frame is hard for both, so it drops out of the difference. (They hold for other frames of such cities. About another network, trained with another seed, they say nothing. And this one has learned with mirrored streets.) TTASAID

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
**2.** Design a comparison. A run takes 7 minutes, and you have 6 hours of one core. Earlier runs had a standard deviation of 0.008 over seeds, and one point of mean IoU (0.01) matters to you: it should be seen four times of five. How many *recipes* can you compare, the baseline among them? (`statistics.seeds_for` says how many seeds each needs.)
''')
code('''
answer = ...
exercises.check_recipes_in_time(answer, minutes=7, hours=6, effect=0.01, deviation=0.008)
''')
md('''
**3.** Train. Put changes of your own in place of the dots, for example `a.Compose(a.Flip(), a.Rotate(5))`, and beat the training "as they are" on unseen cities with both of two seeds: the same fifteen streets, 60 steps. (And remember: every further try on the same val streets makes the winner luckier.)
''')
code('''
mine = ...

answer = ...
if mine is not ...:
    both = {"control": studies.PRETRAINED, "mine": studies.PRETRAINED.but(augment=mine)}
    answer = {
        name: [scored(recipes.train(r.but(steps=60), few, scheme, k).model)["unseen cities"] for k in (0, 1)]
        for name, r in both.items()
    }
exercises.check_own_changes(answer)
''',"nbval-ignore-output")
md('''
Solutions: [solutions/08_augmentation_experiments.ipynb](solutions/08_augmentation_experiments.ipynb). Try first.

## What you saw

- Image and mask change together. Forget the mask, and no error tells you.
- One seed, one outcome: a training with augmentation can be repeated.
- The score on train beside the one on val tells learning by heart from learning too little.
- SAWWHEN
- SAWWHICH
- SAWDUSK
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
