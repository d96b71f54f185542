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

A hundred and twenty streets are few. **Augmentation** makes more of them: mirror a street and it is another street, darken it and it is evening. Every tutorial recommends it. Does it help? In a training of five minutes you will find one answer, and in one of fifteen minutes another. In this lesson you find out what decides.

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
STEPS = 100  # of each of the two trainings below; the stored ones have 300 and 900
ONE_MORE = None  # a seed that is not stored, such as 7: one more run of the study, minutes
''',"parameters")
code('''
import numpy as np
import pandas as pd

from cityseg_utils import augmentation, datasets, exercises, experiments, framework, plots
from cityseg_utils import preprocessing as prep
from cityseg_utils import recipes, statistics, studies

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

Two transforms need a second frame. **CutMix** pastes a window of another street, **ClassMix** half of its classes. The labels go with them:
''')
code('''
two = train.iloc[[5, 60]]
images = np.stack([prep.read_image(path, (128, 256)) for path in two["image"]]) / np.float32(255)
masks = np.stack([prep.read_mask(path, scheme, (128, 256)) for path in two["mask"]])
mixed = [mix(images, masks, (1, 0)) for mix in (a.CutMix(), a.ClassMix())]
rows = [[(255 * i[0].numpy()).astype(np.uint8) for i, _ in mixed]]
rows.append([scheme.colorize(m[0].numpy()) for _, m in mixed])
plots.show(plots.grid(rows, ["CutMix", "ClassMix"], ["picture", "labels"]), "Two streets in one, in two ways")
''')
md('''
## Learning by heart

Why should any of this help? Look at what happens without. Two short trainings of the small network (lesson 06's successor, with weights from ImageNet) on only eight streets: once as they are, once with crops, mirrors and changed colours. Each is then scored twice: on streets of unseen cities, and on the eight streets that it learned from.
''')
code('''
asked = exercises.predict(
    "Which of the two finds more on its own eight streets?",
    answer=None,
    choices=["as they are", "changed"],
)
asked
''')
code('''
from cityseg_utils import prediction

eight = train.iloc[::16]
ways = {"as they are": studies.PRETRAINED, "changed": studies.CHANGED}
models_of_eight = {
    name: recipes.train(recipe.but(steps=STEPS), eight, scheme).model
    for name, recipe in ways.items()
}
''')
code('''
rows = {"unseen cities": val, "the eight streets": eight}
table = pd.DataFrame(
    {
        name: {k: prediction.evaluate(m, frames, scheme, (96, 192)).mean_iou() for k, m in models_of_eight.items()}
        for name, frames in rows.items()
    }
)
table["gap"] = table["the eight streets"] - table["unseen cities"]
table.round(3)
''',"nbval-ignore-output")
code('''
best = table["the eight streets"].idxmax()
exercises.compare(asked, best)
''',"nbval-ignore-output")
code('''
print("changed frames make the gap smaller:", "yes" if table["gap"].idxmin() == "changed" else "no")
''')
md('''
HEARTTEXT: the gap between train and val is **overfitting** ...; a low score on both is **underfitting**. Augmentation makes the task harder: it costs on train, always. Whether it pays on val depends on whether there was anything to cure.

So the question is not "does augmentation help?" but "*when*?" Three things should decide: how many streets there are, how long one trains, and what the change is. That calls for a comparison.

## A fair comparison

How *not* to do it: train once without, once with, compare the two numbers. Another seed could turn the result round. A fair comparison

1. gives every recipe the **same budget**;
2. repeats each with several **seeds**;
3. says **beforehand** which difference would matter, here two points of mean IoU, and how many seeds can show it;
4. has an answer for "no difference", and another for "not decided".

A `Recipe` is a training in one value, and `experiments.run` trains each with every seed, in a Python of its own, and notes one row per run in a file. What is in the file is never run again. This line made what follows:

    python -m cityseg_utils.studies "how long" "changed frames"
''')
code('''
print(studies.CHANGED)
''')
md('''
## How long?

Before anything is compared, one run of each length (streets of val that nothing below is scored on):
''')
code('''
pilot = studies.read("how long")
names = pilot.index.get_level_values("configuration").str.extract(r"(\\w+), (\\d+) steps")
long = pilot.assign(way=names[0].to_numpy(), number=names[1].astype(int).to_numpy())
curves = long.pivot(index="number", columns="way", values=["mean IoU", "mean IoU on train"])
curves.columns = [f"{way}, {'train' if 'train' in score else 'val'}" for score, way in curves.columns]
figure = plots.lines(curves, "steps", "mean IoU", "with changed frames (all) and without", log=True)
plots.show(figure, "Mean IoU on train and val after 300, 900 and 2700 steps, with changed frames and without")
''')
md('''
PILOTTEXT

## When does it pay?
''')
code('''
asked = exercises.predict(
    "All changes together, 900 steps on 120 streets: by how many points of mean IoU do they help?",
    answer=None,
    unit=" points",
)
asked
''')
code('''
stored = studies.read("changed frames")
print(studies.STUDIES["changed frames"].question)
print(len(stored), "runs, scored on", stored["val frames"].max(), "streets of unseen cities")
''')
code('''
def when(steps, streets=""):
    """Return what all changes together are worth: on val, and on train."""
    base, changed = (f"{way}, {steps} steps{streets}" for way in ("none", "all"))
    two = stored.loc[[base, changed]]
    found = statistics.compared(two, base).loc[changed]
    train = two["mean IoU on train"].groupby("configuration").mean()
    return {**found[["mean", "low", "high", "verdict"]], "on train": train[changed] - train[base]}
''')
code('''
table = pd.DataFrame(
    {
        f"{streets or '120 streets'}, {steps} steps": when(steps, f", {streets}" if streets else "")
        for streets in ("", "15 streets")
        for steps in (300, 900)
    }
).T
table
''')
code('''
exercises.compare(asked, round(100 * table.loc["120 streets, 900 steps", "mean"], 1))
''')
md('''
WHENTEXT

## Which change?
''')
code('''
each = stored.loc[[x for x in stored.index if x[0].endswith("900 steps")]]
gains = statistics.compared(each, "none, 900 steps")
within = statistics.gains(each, "none, 900 steps")
figure = plots.seed_intervals(gains, within, "gain in mean IoU, 900 steps on 120 streets", zero=True)
plots.show(figure, "Gain of each change over none, by seed, with intervals that hold together")
''')
code('''
gains.round(3)
''')
md('''
WHICHTEXT

## One more seed

Do you believe it? `ONE_MORE = 7` at the top trains one more seed of "all, 900 steps", some seven minutes of one core, and draws it among the stored ones. Its row is kept in `runs/`; the stored table stays as it is.
''')
code('''
if ONE_MORE is not None:
    each = studies.one_more("changed frames", "all, 900 steps", ONE_MORE)
    figure = plots.seed_intervals(statistics.means(each), each["mean IoU"], "mean IoU on unseen cities")
    plots.show(figure, "Mean IoU of each configuration, one more seed among them")
''')
md('''
## In light that was never seen

DUSKINTRO

    python -m cityseg_utils.studies dusk --camvid /path/to/camvid
''')
code('''
dusk = studies.read("dusk")
means = statistics.means(dusk)
means["blind baseline"] = 0.150  # lesson 06: the commonest class by place
means.round(3)
''')
md('''
DUSKTEXT

## Mirrors at test time

One augmentation costs no training: predict the frame *and* its mirror image, turn the second answer back, and average. And frames at several scales?
''')
code('''
asked = exercises.predict(
    "By how many points of mean IoU does the mirror help the reference model?", answer=None, unit=" points"
)
asked
''')
code('''
from cityseg_utils import analysis, metrics, models

model = models.load_reference(scheme, pairs)
some = val.iloc[::2]
truths = [prep.read_mask(path, scheme) for path in some["mask"]]
ONE = models.REFERENCE_SIZE
HALF, LARGE = (tuple(round(x * side) for side in ONE) for x in (0.5, 1.25))


def matrices(sizes=(ONE,), mirror=False):
    \"\"\"Return a matrix of each frame for the mean of the answers at some sizes.\"\"\"
    told = [prediction.predict(model, some["image"], size, mirror=mirror) for size in sizes]
    means = (np.mean(answers, axis=0) for answers in zip(*told, strict=True))
    one = metrics.ConfusionMatrix.for_scheme
    return [one(scheme).update(t, x.argmax(-1)) for t, x in zip(truths, means, strict=True)]
''')
code('''
plain = matrices()
ways = {
    "mirror": matrices(mirror=True),
    "sizes 0.5, 1, 1.25": matrices((HALF, ONE, LARGE)),
    "both": matrices((HALF, ONE, LARGE), mirror=True),
}
gains = {name: analysis.bootstrap_gains(plain, way).loc["mean"] for name, way in ways.items()}
times = {"mirror": 2, "sizes 0.5, 1, 1.25": 0.25 + 1 + 1.25**2}
table = (100 * pd.DataFrame(gains).T).assign(time={**times, "both": 2 * sum((0.25, 1, 1.25**2))})
table.round(2)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(table.loc["mirror", "gain"], 1))
''',"nbval-ignore-output")
code('''
print("the mirror gains less than three points:", "yes" if table.loc["mirror", "gain"] < 3 else "no")
''')
md('''
`gain` is in points of mean IoU over every second val frame, and `time` in pixels that the network sees. The intervals come from a **paired bootstrap**: frames are drawn anew a thousand times, and each time both ways are scored on the same ones. A hard frame is hard for both, so it drops out of the difference. (They hold for other frames of such cities. About another network, trained with another seed, they say nothing.) TTASAID

## Exercises

**1.** Write the transform that this lesson began with, so that image and mask still belong together.
''')
code('''
def mirror(image, mask):
    \"\"\"Return both mirrored left and right; (H, W, 3) and (H, W).\"\"\"
    ...


exercises.check_mirror(mirror)
''')
md('''
**2.** Design a comparison. Earlier runs had a standard deviation of 0.008 over seeds, and one point of mean IoU (0.01) would matter to you. How many seeds does each of two recipes need, so that such a difference is seen four times of five? (`statistics.seeds_for` answers; guess before you ask it.)
''')
code('''
answer = ...
exercises.check_seeds_needed(answer, effect=0.01, deviation=0.008)
''')
md('''
**3.** Train. Put your own changes in place of the dots, for example `a.Compose(a.Flip(), a.Rotate(5))`, and beat the training "as they are" on unseen cities by more than 0.01, with the same eight streets and the same steps.
''')
code('''
mine = ...

answer = ...
if mine is not ...:
    recipe = studies.PRETRAINED.but(steps=STEPS, augment=mine)
    learned = recipes.train(recipe, eight, scheme).model
    answer = prediction.evaluate(learned, val, scheme, (96, 192)).mean_iou()
control = prediction.evaluate(models_of_eight["as they are"], val, scheme, (96, 192)).mean_iou()
exercises.check_own_changes(answer, control)
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
