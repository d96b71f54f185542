import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/11_how_much_data.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 13 · Streets without labels: a teacher that was never at school

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/13_semi_supervised_learning.ipynb)

A car with a camera brings home more streets in an hour than people label in a year. Ninety minutes of work stand between a picture and its labels. Can a network learn from the pictures alone, beside the few that are labelled? The second project said so, and so do many papers. In this lesson you try it, and you find out which part of the gain comes from the unlabelled pictures and which from something else.

**You will learn**

- to say what unlabelled pictures could be worth at most, before you try;
- why a network that learns from its own labels mostly learns what it knows already;
- to build a teacher, and to mix streets so that the student has something to learn;
- to put the right controls beside a method, one of which papers often leave out.

**Before this:** [lesson 12](12_adversarial_training.ipynb). **Time and memory:** two minutes on 2 CPU cores, 1.6 GB; the full comparison, whose results are stored, took hours.
**The room of the package:** `cityseg_utils/semi_supervised.py`.
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

from cityseg_utils import datasets, exercises, framework, pipeline, plots, recipes, statistics
from cityseg_utils import preprocessing as prep
from cityseg_utils import studies
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

Before you try a method, ask what it could bring. If all 120 streets had labels, how much better would the same training be? That is the **ceiling**: no method that makes up labels for the 105 others can hope for more than their true ones. The **control** has the 15 labels and nothing else. Both learned for 1500 steps, with the same changes of the pictures; five times, and each seed drew other streets that keep their labels. They were scored on 360 streets of unseen cities:

    python -m cityseg_utils.studies "few labels"
''')
code('''
stored = studies.read("few labels")
means = statistics.means(stored)
both = {"control": "labels alone, 15 labels", "ceiling": "labels alone, all labels"}
means.loc[list(both.values())].round(3)
''')
code('''
control, ceiling = (means["mean"][name] for name in both.values())
print(f"the gap: {ceiling - control:.3f}")
''')
md('''
(The ceiling also got a second loss, and the better of the two counts. It would be cheap to beat a low ceiling.)

So there are that many points to be had. A method that gains two has closed a tenth of the gap; remember that when you read of "two points".

## A network that labels for itself

The simplest idea is [pseudo-labelling](https://www.kaggle.com/blobs/download/forum-message-attachment-files/746/pseudo_label_final.pdf) (Lee, 2013). Train on what is labelled. Let the network answer the other pictures. Take its answers for labels and train on everything.

First round: a short training on 15 streets.
''')
code('''
recipe = studies.PRETRAINED.but(size=(64, 128), steps=STEPS, batch_size=4, augment=Flip(), average=0.9)
first = recipes.train(recipe, hidden[hidden["mask"].notna()], scheme).model
''',"nbval-ignore-output")
code('''
others = train[hidden["mask"].isna()]  # with the labels that nobody is to see
images = np.stack([prep.read_image(path, recipe.size) for path in others["image"]]) / np.float32(255)
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
That does not sound bad for labels that cost nothing. Now class by class.
''')
code('''
asked = exercises.predict("How many of the 19 classes does it never once use as a label?", answer=None)
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
There is the trouble. A class that the network never says will not be in its labels, so a student of these labels will not learn it either; worse, wherever it stands they say something else. And of what the network does know, its labels teach the student what *it* knew before. To learn something new, the student needs a harder task than its teacher had.

## A teacher, and a harder task

Two changes to the simple idea made it work in the years after:

**The teacher is an average.** Not the student of now labels, but the average of the students of the last steps ("mean teacher", [Tarvainen and Valpola, 2017](https://arxiv.org/abs/1703.01780)). After every step, each weight of the teacher goes a little towards the student's. With momentum 0.99, how much of the teacher was the student of *k* steps ago?
''')
code('''
momentum = 0.99
share = (1 - momentum) * momentum ** np.array([0, 10, 100, 500])
pd.Series(share, index=["now", "10 ago", "100 ago", "500 ago"]).round(5)
''')
md('''
So about the last hundred steps have a say. The single student jumps about with each batch; their average does not.

**The student gets a mixture.** It sees the street with other colours, and with parts of another street pasted in. The teacher saw neither. The clever part is what is pasted: whole *classes*, cut out along their labels ([ClassMix](https://arxiv.org/abs/2007.07936), Olsson and others, 2021), and best from a **labelled** street, where the cut is right and the label true ([DACS](https://arxiv.org/abs/2007.08702), Tranheden and others, 2021). By hand, for one street of each kind:
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
columns = ["labelled street", "street without labels", "what the student gets"]
figure = plots.grid(rows, columns, ["picture", "labels"])
plots.show(figure, "A labelled street, one without labels, and the mixture of both with its labels")
''',"nbval-ignore-output")
md('''
One mask, `where`, for both. If pictures and labels were mixed by two masks, the labels would be wrong and nobody would notice but the score. The package chooses the classes by chance for every frame of a batch:
''')
code('''
pasted = ClassMix().where(truth[None], seed=(0, 1)).numpy()[0]
whole = {pasted[truth == k].mean() for k in classes}
print("each class whole or not at all:", "yes" if whole <= {0.0, 1.0} else "no")
print("void pasted:", "yes" if pasted[truth == 255].any() else "no")
''')
md('''
## Teacher and student at work

A `MeanTeacher` is a method for a recipe: four labelled streets in a step, and four mixtures beside them. The first quarter of the steps learns from labels alone, for a teacher that knows nothing has nothing to teach. While it trains, we let a callback look at the teacher's labels.
''')
code('''
from cityseg_utils import losses, training
from cityseg_utils.semi_supervised import MeanTeacher

framework.set_seed(0)
method = MeanTeacher(rare_first=True, momentum=0.9)
pixels = recipes.count_pixels(hidden[hidden["mask"].notna()], scheme)
student = method.build(recipes.make_model(recipe, scheme.num_classes), STEPS, 0, pixels)
student.compile(tf.keras.optimizers.Adam(2e-3), losses.DiceLoss())
''')
code('''
class Watch(tf.keras.callbacks.Callback):
    """Compares the teacher's labels with the truth after every second epoch."""

    seen = {}

    def on_epoch_end(self, epoch, logs=None):
        if epoch % 2:
            step = int(self.model.optimizer.iterations)
            self.seen[step] = check(pseudo_labels(self.model.teacher))


data = {
    "labelled": recipes.make_data(recipe, hidden[hidden["mask"].notna()], scheme, seed=0),
    "unlabelled": pipeline.make_dataset(
        hidden[hidden["mask"].isna()], scheme, recipe.size, 4, Flip(), shuffle=True, unlabelled=True
    ),
}
''')
code('''
options = {"callbacks": [Watch()], "average": 0.9, "runs": tempfile.mkdtemp()}
run = training.fit(student, data, steps=STEPS, progress=False, **options)
run.history[["loss", "mixed loss", "agreement"]].iloc[[0, -1]].round(3)
''',"nbval-ignore-output")
code('''
over_time = pd.DataFrame(
    {step: (m.intersection / np.maximum(1, m.true_pixels)) for step, m in Watch.seen.items()},
).T
over_time.columns = list(scheme.names)
shown = ["road", "building", "car", "person", "traffic sign", "pole"]
figure = plots.lines(over_time[shown], "step", "found", "how much of a class the teacher labels")
plots.show(figure, "Share of six classes that the teacher's labels find, over the steps")
''',"nbval-ignore-output")

md('''
LIVETEXT

## Does it help? Four questions

"With unlabelled streets: better" is easy to show. What made it better is not. Four controls stand beside the method, which pastes classes of labelled streets into streets without labels:

- **equal steps**: the 15 labels alone;
- **equal time**: the same for 2.3 times the steps, because a step of the method costs 2.3 times as much;
- **the same machinery on the 15 labelled streets**: the teacher labels *them*, and classes are pasted from one into another. No unlabelled street is used. Papers often leave this one out;
- and the **ceiling**.
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
method = "pasted into other streets"
pd.DataFrame({x: statistics.paired(main, x).loc[method] for x in controls}).T
''')
md('''
MAINTEXT

## Those that lost
''')
code('''
losers = {
    "two rounds, 15 labels": "pseudo-labels in two rounds",
    "mean teacher, 15 labels": "mean teacher, nothing pasted",
    "CutMix, 15 labels": "CutMix of others",
    "CutMix where sure, 15 labels": "CutMix, where the teacher is sure",
    "ClassMix of others, 15 labels": "ClassMix of others",
    "rival that labels, 15 labels": "a rival that labels (lesson 12)",
}
others = stored.loc[[key for key in stored.index if key[0] in losers | names]]
result = statistics.compared(others.rename(losers | names), "labels alone")
result["closed, %"] = statistics.means(others.rename(losers | names))["mean"].map(closed)
result[["mean", "low", "high", "verdict", "closed, %"]].round(3)
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
REALTEXT
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/13.ipynb").write_text(nbf.writes(nb))
