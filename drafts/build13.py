import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/11_how_much_data.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 13 · Streets without labels: a teacher that was never at school

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/13_semi_supervised_learning.ipynb)

A car with a camera brings home more pictures in an hour than one person can label in a year: ninety minutes of work stand between a picture and its labels. Can a network also learn from pictures *without* labels, beside the few that have them? The second project claimed that it can, and so do many papers. In this lesson you try it, and you find out which part of the gain comes from the unlabelled pictures and which from something else.

**You will learn**

- to say what unlabelled pictures could be worth at most, before you try;
- what is wrong with the labels that a network gives its own pictures;
- to build a teacher, and to mix streets so that the student has something to learn;
- to put the right controls beside a method, one of which papers often leave out.

**Before this:** [lesson 12](12_adversarial_training.ipynb). **Time and memory:** two minutes on 2 CPU cores, 1.6 GB; the full comparison, whose results are stored, took hours.
**Opens the module** `cityseg_utils/semi_supervised.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
LABELLED = 15  # frames that keep their labels
STEPS = 80  # of each of the two trainings below
''',"parameters")
code('''
import tempfile

import numpy as np
import pandas as pd

from cityseg_utils import datasets, exercises, framework, pipeline, plots, recipes, studies
from cityseg_utils import preprocessing as prep
from cityseg_utils.augmentation import ClassMix, Flip
from cityseg_utils.metrics import ConfusionMatrix

tf = framework.load_tensorflow()
framework.set_seed(0)
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
hidden = datasets.hide_masks(train, LABELLED, seed=0)
print(hidden["mask"].notna().sum(), "frames with labels,", hidden["mask"].isna().sum(), "without")
''')
md('''
`hide_masks` took the labels of all but 15 streets away. We still have them, in `train`, and will look at them only to check.

## What could they be worth at most?

Before you try a method, ask what it could bring. If all 120 streets had labels, how much better would the same training be? That is the **ceiling**: a fair mark for whoever makes up labels for the 105 others, though no law of nature. The **control** has the 15 labels and nothing else. Both were trained for 1500 steps with the same augmentation, five times. Each seed chose 15 other streets for the control. All are scored on 360 streets of unseen cities, and a *point* is 0.01 of mean IoU:

    python -m cityseg_utils.studies "few labels"
''')
code('''
from cityseg_utils import statistics

stored = studies.read("few labels")
means = statistics.means(stored)
whole = ["labels alone, all labels", "labels alone, two losses, all labels"]
means.loc[["labels alone, 15 labels", *whole]].round(3)
''')
code('''
control, ceiling = means["mean"]["labels alone, 15 labels"], means["mean"][whole].max()
print(f"the gap: {ceiling - control:.3f}")
''')
md('''
The ceiling was trained with two losses, Dice and Dice plus cross-entropy, and the better of the two counts, for it is cheap to beat a low ceiling. So there are some sixteen points to be gained at most. A method that gains two has closed an eighth of the gap; remember that when you read of "two points".

## A network that labels for itself

The simplest idea is [pseudo-labelling](https://www.kaggle.com/blobs/download/forum-message-attachment-files/746/pseudo_label_final.pdf) (after Lee, 2013). Train on what is labelled. Let the network answer the other pictures. Take its answers for labels and train on everything.

First round: a short training on 15 streets.
''')
code('''
recipe = studies.PRETRAINED.but(
    size=(64, 128), steps=STEPS, batch_size=4, augment=Flip(), average=0.9
)
first = recipes.train(recipe, hidden[hidden["mask"].notna()], scheme).model
''',"nbval-ignore-output")
code('''
others = train[hidden["mask"].isna()]  # with the labels that nobody is to see
images = np.stack([prep.read_image(path, recipe.size) for path in others["image"]])
images = images / np.float32(255)
masks = np.stack([prep.read_mask(path, scheme, recipe.size) for path in others["mask"]])


def pseudo_labels(model):
    """Return what a model takes the other streets for, (N, H, W) uint8."""
    return model.predict(images, verbose=0).argmax(-1).astype(np.uint8)


def check(labels):
    """Compare pseudo-labels with the hidden truth."""
    matrix = ConfusionMatrix.for_scheme(scheme)
    for truth, label in zip(masks, labels, strict=True):
        matrix.update(truth, label)
    return matrix


matrix = check(pseudo_labels(first))
print(f"pseudo-labels that are right: {matrix.pixel_accuracy():.0%}")
''',"nbval-ignore-output")
md('''
That does not sound bad for labels that cost nothing. Now class by class. *Found*: of the pixels of this class, how many get its label. *Right when said*: of the pixels that get its label, how many are of this class.
''')
code('''
asked = exercises.predict("How many of the 19 classes does it never use as a label?", answer=None)
asked
''')
code('''
table = pd.DataFrame(
    {
        "share of pixels": matrix.true_pixels / matrix.true_pixels.sum(),
        "found": matrix.intersection / np.maximum(1, matrix.true_pixels),
        "right when said": matrix.intersection / np.maximum(1, matrix.predicted_pixels),
        "pixels said": matrix.predicted_pixels,
    },
    index=list(scheme.names),
)
table.sort_values("share of pixels", ascending=False).round(3)
''',"nbval-ignore-output")
code('''
never = (matrix.predicted_pixels == 0).sum()
exercises.compare(asked, int(never))
''',"nbval-ignore-output")
code('''
print("some classes never become a label:", "yes" if never > 0 else "no")
rare = table["share of pixels"] < 0.02
worse = table["found"][rare].mean() < table["found"][~rare].mean() / 2
print("rare classes are found less than half as well as the others:", "yes" if worse else "no")
''')
md('''
There is the trouble. A class that the network never says is in none of its labels. Worse: where such a thing stands, the labels name another class. Only the fifteen true label maps speak for it, and the other 105 against it. (After 1500 steps it is better, but not good: the control finds 14 or 15 of the 19 classes.) And what the labels do say, the network knew before. To learn something new from them, the student needs a harder task than its teacher had.

## A teacher, and a harder task

Two ideas of the years after change that:

**The teacher is an average.** The labels do not come from the present student but from the average of the students of the last steps ("mean teacher", [Tarvainen and Valpola, 2017](https://arxiv.org/abs/1703.01780)). After every step, each weight of the teacher goes a little towards the student's: 1 % of the way with a *momentum* of 0.99. How much of the teacher are then the students of the last *k* steps?
''')
code('''
momentum = 0.99
steps = np.array([1, 10, 100, 500])
pd.Series(1 - momentum**steps, index=[f"last {k}" for k in steps]).round(2)
''')
md('''
The last hundred have nearly two thirds of the say. One calls $1 / (1 - \\text{momentum})$, here 100 steps, the *memory* of the average.

**The student gets a mixture.** It sees the street in changed colours, and with parts of another street pasted in. The teacher saw the street as it is. The clever part is what is pasted: whole *classes*, cut out along their labels ([ClassMix](https://arxiv.org/abs/2007.07936), Olsson and others, 2021), and best from a **labelled** street, where the cut is right and the label true ([DACS](https://arxiv.org/abs/2007.08702), Tranheden and others, 2021). By hand, for one street of each kind:
''')
code('''
donor = hidden[hidden["mask"].notna()].iloc[0]
paste, truth = prep.read_pair(donor["image"], donor["mask"], scheme, recipe.size)
picture = (images[0] * 255).astype(np.uint8)
label = pseudo_labels(first)[0]
''')
code('''
rng = np.random.default_rng(0)
classes = np.setdiff1d(np.unique(truth), [255])  # void is never pasted
chosen = rng.choice(classes, len(classes) // 2, replace=False)
where = np.isin(truth, chosen)
mixed = np.where(where[..., None], paste, picture)
answer = np.where(where, truth, label)
print("pasted:", ", ".join(scheme.names[k] for k in sorted(chosen)))
''')
code('''
rows = [
    [paste, picture, mixed],
    [scheme.colorize(x) for x in (truth, label, answer)],
]
columns = ["labelled street", "street without labels", "mixture, colours not yet changed"]
figure = plots.grid(rows, columns, ["picture", "labels"])
figure = plots.add_legend(figure, scheme, [truth, label])
plots.show(figure, "A labelled street, one without labels, and the mixture of both with its labels")
''',"nbval-ignore-output")
md('''
The labels in the middle are the first network's. It labels the car's own bonnet and takes much of the bus for building and car. One mask, `where`, mixes both pictures and labels. With two different masks the labels would be wrong, and only a lower score would show it. The package tosses a coin for each class of each frame; later, for rare classes a fair one, for common ones with a chance of a quarter:
''')
code('''
pasted = ClassMix().where(truth[None], seed=(0, 1)).numpy()[0]
whole = {pasted[truth == k].mean() for k in classes}
print("each class whole or not at all:", "yes" if whole <= {0.0, 1.0} else "no")
print("void pasted:", "yes" if pasted[truth == 255].any() else "no")
''')
md('''
## Teacher and student at work

A `MeanTeacher` is a method for a recipe: four labelled streets in a step, and four mixtures beside them. The first quarter of the steps learns from labels alone, for a teacher that knows nothing has nothing to teach. The settings are those of the stored study but for the momentum: in 80 steps, a memory of 100 would still hold the untrained network, so we take 0.9, a memory of ten. While it trains, we let a callback look at the teacher's labels.
''')
code('''
from cityseg_utils import losses, training
from cityseg_utils.semi_supervised import MeanTeacher

framework.set_seed(0)
method = MeanTeacher(rare_first=True, loss="dice", weight=0.5, momentum=0.9)
pixels = recipes.count_pixels(hidden[hidden["mask"].notna()], scheme)
student = method.build(recipes.make_model(recipe, scheme.num_classes), STEPS, 0, pixels)
student.compile(tf.keras.optimizers.Adam(2e-3), losses.DiceLoss())
''')
code('''
watched = {}


def watch(epoch, logs):
    """Compare the teacher's labels with the truth after every second epoch."""
    if epoch % 2:
        watched[int(student.optimizer.iterations)] = check(pseudo_labels(student.teacher))


data = {
    "labelled": recipes.make_data(recipe, hidden[hidden["mask"].notna()], scheme, seed=0),
    "unlabelled": pipeline.make_dataset(
        hidden[hidden["mask"].isna()], scheme, recipe.size, 4, Flip(), shuffle=True, unlabelled=True
    ),
}
''')
code('''
callbacks = [tf.keras.callbacks.LambdaCallback(on_epoch_end=watch)]
options = {"average": 0.9, "runs": tempfile.mkdtemp(), "progress": False}
run = training.fit(student, data, steps=STEPS, callbacks=callbacks, **options)
run.history[["loss", "mixed loss", "agreement"]].iloc[-1:].round(3)
''',"nbval-ignore-output")
code('''
over_time = pd.DataFrame(
    {step: (m.intersection / np.maximum(1, m.true_pixels)) for step, m in watched.items()},
).T
over_time.columns = list(scheme.names)
shown = ["road", "building", "car", "person", "traffic sign", "pole"]
figure = plots.lines(over_time[shown], "step", "share of pixels", "found by the teacher's labels")
figure.axes[0].axvline(STEPS / 4, color="gray", linestyle=":")  # from here on the teacher teaches
plots.show(figure, "Share of six classes that the teacher's labels find, over the steps")
''',"nbval-ignore-output")

md('''
(*Agreement* is the share of pixels of which the student says what the mixture's label says.) Left of the dotted line the labels alone teach. Follow the single classes: road and buildings rise to the end; signs are found early, and then less and less; of poles and persons the teacher knows nothing to the end, so all that could teach them are the fifteen label maps and what is pasted from these.

Compare the ends of the curves with the column "found" above: the first network, without a teacher, is not behind. That is no verdict. Eighty steps are few, and the first network also got a schedule and new batch norm averages. To judge the method we need the stored study.

## Does it help? Three controls and a ceiling

"With unlabelled streets: better" is easy to show. What made it better is not. The method pastes classes of labelled streets into streets without labels. Beside it stand

- **equal steps**: the 15 labels alone;
- **equal time**: the same for 2.3 times the steps, because a step of the method costs 2.3 times as much (`benchmarks/methods.py`);
- **the same machinery on the 15 labelled streets**: the teacher labels *them*, as if they had no labels, and classes are pasted from one into another. Only the streets differ from the method's, and no unlabelled one is used;
- the **ceiling**: all labels.

Learning rate and augmentation were searched for beforehand, with another seed and on other streets: six tries for the labels alone, eight for the method and eight for its machinery.
''')
code('''
asked = exercises.predict("What share of the gap does the method close?", answer=None, unit="%")
asked
''')
code('''
names = {
    "labels alone, 15 labels": "labels alone",
    "labels alone for longer, 15 labels": "labels alone, equal time",
    "pasted classes of labelled, 15 labels": "pasted into labelled streets",
    "pasted classes, 15 labels": "pasted into other streets",
    "labels alone, all labels": "all labels",
}
main = stored.loc[[key for key in stored.index if key[0] in names]].rename(names)
figure = plots.seed_intervals(
    statistics.means(main), main["mean IoU"], "mean IoU, 360 streets of unseen cities"
)
plots.show(figure, "Mean IoU of the method, three controls and the ceiling, with seeds")
''')
code('''
def closed(score):
    \"\"\"Return the share of the gap between control and ceiling, in per cent.\"\"\"
    return round(100 * (score - control) / (ceiling - control))


shares = statistics.means(main)["mean"].map(closed)
exercises.compare(asked, int(shares["pasted into other streets"]))
''')
code('''
controls = ["labels alone", "labels alone, equal time", "pasted into labelled streets"]
ours = "pasted into other streets"
pd.DataFrame({x: statistics.paired(main, x).loc[ours] for x in controls}).T
''')
md('''
With the method the network comes 29 % of the way to all labels: 4.7 points. A paper could stop here. Now look at the control that is often left out. The same pasting, with no other street than the fifteen, already brings 2.2 of them. What the 105 streets without labels add is 2.6 points (1.5 to 3.6), and they add something in each of the five seeds. So half of the gain is the mixing, and half is what we came for.

Which classes gain? Those that the labels alone hardly find:
''')
code('''
columns = [name for name in main if name.startswith("IoU ")]
by_class = main[columns].groupby(level="configuration").mean().T.rename(lambda x: x[4:])
gain = by_class[ours] - by_class["labels alone"]
by_class[["labels alone", ours, "all labels"]].loc[gain.sort_values().index[::-3]].round(2)
''')
md('''
## What lost

These got the best method's learning rate and augmentation, its loss and its weight, and no search of their own; three seeds each.

- **Two rounds**: pseudo-labelling as above. The teacher stops learning after half of the steps.
- **Mean teacher**: nothing is pasted; the student sees other colours.
- **CutMix**: a rectangle of another street *without* labels is pasted, with the teacher's labels for it. As published, it has cross-entropy with weight 1.
- **ClassMix of others**: classes of another street without labels, cut out along the teacher's labels.
- **Pasted evenly**: our method, but with the same chance for every class, rare or not.
- **A rival that labels** ([Hung and others, 2018](https://arxiv.org/abs/1802.07934)): lesson 12's discriminator looks at the answers to streets without labels. Where it takes them for true, they become labels.
''')
code('''
losers = {
    "two rounds, 15 labels": "pseudo-labels in two rounds",
    "mean teacher, 15 labels": "mean teacher, nothing pasted",
    "CutMix, 15 labels": "CutMix of others",
    "CutMix as published, 15 labels": "CutMix as published",
    "ClassMix of others, 15 labels": "ClassMix of others",
    "pasted evenly, 15 labels": "pasted evenly",
    "rival that labels, 15 labels": "a rival that labels (lesson 12)",
}
others = stored.loc[[key for key in stored.index if key[0] in losers | names]]
others = others.rename(losers | names)
result = statistics.compared(others, "labels alone")
result["closed, %"] = statistics.means(others)["mean"].map(closed)
result.round(3)
''')
md('''
LOSERTEXT

## With other numbers of labels
''')
code('''
rows = {}
for labels in ("8 labels", "15 labels", "30 labels"):
    for name in ("labels alone", "pasted classes of labelled", "pasted classes"):
        rows[labels, name] = means["mean"][f"{name}, {labels}"]
table = pd.Series(rows).unstack(sort=False)
table.round(3)
''')
md('''
SHARETEXT

## One more seed

Do you trust these seeds? Here is another one: about a quarter of an hour. It lands beside the stored ones in the picture, and in `runs/studies/`, never in the package.
''')
code('''
ONE_MORE = False  # True: one more seed of the method
if ONE_MORE:
    stored = studies.one_more("few labels", "pasted classes, 15 labels", seed=5)
    one = stored.loc[["pasted classes, 15 labels"]]
    figure = plots.seed_intervals(statistics.means(one), one["mean IoU"], "with one more seed")
    plots.show(figure, "Mean IoU of the method with one more seed")
''')
md('''
## From drawn streets to real ones

The same module, a harder task: 480 drawn streets with labels, CamVid's photographs without any, and two drives, left out in turn; of the one that is scored, not even pictures are seen. Lesson 12 sent a rival there. Now a teacher goes: it labels photographs, and classes of drawn streets are pasted into them. This is what DACS was made for, and its settings are used: cross-entropy, weighted by the share of pixels of which the teacher is over 90 % sure. In the end batch norm's averages are those of photographs, so \"averages of photographs\" is its control, too. All have the same number of steps. One more run has drawn streets alone for the computing time of the teacher, which is 1.5 times here, where the encoder is frozen:

    python benchmarks/transfer.py /path/to/camvid pasted --unseen 0006R0 --seed 0
''')
code('''
asked = exercises.predict(
    "Which has the highest mean IoU on drives that it has not seen?",
    answer=None,
    choices=("drawn streets alone", "averages of photographs", "a rival", "a teacher"),
)
asked
''')
code('''
from cityseg_utils import tables

keys = ["training", "scored on", "network sees", "seed"]
runs = tables.read(studies.RESULTS / "transfer.csv", keys, keys[:3])
runs = runs.xs("192x256", level="network sees")["mean IoU"]
kinds = {
    "frozen": "drawn streets alone",
    "frozen for longer": "drawn streets alone, 1.5 times the steps",
    "refreshed": "averages of photographs",
    "adversarial": "a rival",
    "pasted": "a teacher",
}
''')
code('''
def unseen(drive):
    \"\"\"Return scores on a drive of which nothing was seen, by training and seed.\"\"\"
    scores = runs.xs(drive, level="scored on")
    return scores.rename(index=lambda name: name.partition(",")[0], level="training")


drives = pd.concat({drive: unseen(drive) for drive in ("0001TP", "0006R0")}, axis=1)
drives = drives.loc[list(kinds)].rename(index=kinds, level="training")
drives.groupby(level="training", sort=False).agg(["mean", "min", "max"]).round(3)
''')
code('''
gains = {kind: drives.xs(kind) - drives.xs("drawn streets alone") for kind in kinds.values()}
for kind, gain in list(gains.items())[1:]:
    print(f"{kind}: {gain.mean().mean():+.3f}, above 0 in {(gain > 0).sum().sum()} of {gain.size}")
equal = drives.drop("drawn streets alone, 1.5 times the steps").mean(axis=1)
exercises.compare(asked, equal.groupby(level="training").mean().idxmax())
''')
md('''
At equal steps the teacher is 1.3 points ahead on 0006R0, and on the drive at dusk there is nothing to be seen. For its computing time, drawn streets alone come to 2 points more at dusk, and to 1.6 less on 0006R0. Lesson 12's rival changed nothing, and averages of photographs did harm. So a teacher may be worth a point where the target is near enough; none of the three ways closes the gap to real streets, of which photographs with labels close twelve points in four minutes (lesson 01). What the teacher does not know it cannot teach: poles, signs, fences and people of photographs stay below 0.15 in all of them.

## Exercises

**1.** Control 0.40, ceiling 0.60. A paper's method reaches 0.46 and its abstract says "six points". What share of the gap is closed, as a number from 0 to 1?
''')
code('''
answer = ...
exercises.check_gap_closed(answer, control=0.40, method=0.46, ceiling=0.60)
''')
md('''
**2.** A training has 1500 steps. With which momentum does its teacher remember a tenth of them?
''')
code('''
answer = ...
exercises.check_teacher_momentum(answer, steps=1500, share=0.1)
''')
md('''
**3.** Write the paste as a function: all pixels of some classes of one labelled frame, into another frame, with its labels.
''')
code('''
def paste(picture, labels, onto, onto_labels, classes):
    \"\"\"Return a frame with some classes of another one pasted in, and its labels.\"\"\"
    ...


exercises.check_paste(paste)
''')
md('''
Solutions: [solutions/13_semi_supervised_learning.ipynb](solutions/13_semi_supervised_learning.ipynb). Try first.

## What you saw

- Before a method comes its **ceiling**: the same training with all labels. Points mean little without the gap that was there.
- A network's own labels leave out the classes that it never says, and name others in their place.
- The teacher sees the street as it is, the student sees a mixture with parts of a labelled one.
- The same machinery on the **labelled streets alone** brings half of the gain. Without that control all of it would be put down to the streets without labels.
- From drawn streets to photographs a teacher brought a point on one drive and none on the other; for its computing time, drawings alone do as well.

## Quiz

1. A paper compares its method, 40,000 steps with mixed streets, with "supervised only", 10,000 steps without them. Name two controls that are missing.
2. Somebody takes as labels only the pixels of which the teacher is over 95 % sure. Which classes does that favour, and why?
3. Classes are pasted from a labelled street. What is wrong with those from another street that only the teacher has labelled?

<details><summary>Answers</summary>

1. Labels alone for as many steps (or for as much time), and the same mixing with the labelled streets alone. Without them nobody knows whether the streets without labels did anything.
2. The common and large ones. A network is least sure of what it has seen least, so pixels of rare classes seldom become labels, and it goes on seeing them seldom.
3. Their labels are the teacher's, and they are cut out along its mistakes. A class that it never says cannot be pasted at all.

</details>

**Next:** the network has had labels, a rival and a teacher. Now it gets to ask.
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/13.ipynb").write_text(nbf.writes(nb))
