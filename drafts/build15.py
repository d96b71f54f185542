import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 15 · The benchmark: what is worth what, and what is a claim worth

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/15_benchmark.ipynb)

The second project ended with three numbers: mean IoU over 80 %, accuracy over 90 %, Dice over 0.8. By now you have trained many networks, and hardly one came near the first. Were they all bad? Or is "mean IoU over 80 %" something else than what you have measured since lesson 06? Lesson 07 read the claim once; now you test it. Here all methods of the course stand in one table, at equal cost. Then you take a network that has learned for a minute, and lift all three of its numbers to about those of the claim, without making the network any better.

**You will learn**

- to compare methods at equal cost, and to read such a table;
- what mean IoU, accuracy and Dice tell about each other, so that you can check a claim by arithmetic;
- six ways to a higher score without a better network, and how to recognise each;
- what happens when the camera moves: answers that flicker, and how to make them steadier;
- to do a small study of your own, from the question to half a page.

**Before this:** [lesson 14](14_active_learning.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** TIMEMEMORY; the tables, whose results are stored, took hours. **Opens the modules** `cityseg_utils/final_project.py` and `minicity/drive.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
STEPS = 180  # of the network whose score climbs
FRAMES = 40  # of the drive near the end
''',"parameters")
code('''
import numpy as np
import pandas as pd

from cityseg_utils import datasets, exercises, framework, models, prediction, recipes, studies
from cityseg_utils import preprocessing as prep
from cityseg_utils import storage, widgets
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.minicity import drive

tf = framework.load_tensorflow()
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
print(len(val), "val frames,", scheme.num_classes, "classes")
''')
md('''
(What the text says of numbers, it says of MiniCity. With other data, believe the cells.)
''')
md('''
## What is worth what

Two questions, each at one budget of processor time. *With all labels*: what has each step of this course brought? And *with the labels of fifteen frames*: these alone, a teacher that labels all others, or as many clicks as fifteen frames cost? (Ninety minutes a frame, and two and a half seconds a click, make 270 clicks in each of the 120 streets. CamVid's frames took sixty minutes, says [a paper](https://arxiv.org/abs/1608.02192): 80 in each of 266 photographs.) Each way keeps the settings of its own lesson:

- *first project*: U-Net with ResNet-34, random weights, Dice, Adam with a constant rate of 0.001, frames as they are;
- *frames changed*: crops, mirrors and colours, and a rate that rises and falls (lesson 08);
- *small*: lesson 08's network; *ImageNet*: its encoder has seen photographs (lesson 10);
- *a rival*: a discriminator of label maps, weight 0.01 (lesson 12);
- *pasted classes*: a teacher labels the other frames, and labelled classes are pasted into them (lesson 13);
- *evenly* and *margin*: clicks on classes drawn evenly, or where the network hesitates most (lesson 14).

This line did all runs that no other lesson had done, and says before what they cost:

    python benchmarks/compared.py /path/to/camvid
''')
code('''
from cityseg_utils import campaigns, statistics

COLUMNS = ["mean IoU", "pixel accuracy", "processor seconds"]
ALL = {
    "first project": "first project",
    "U-Net, ResNet-34": "the same, frames changed",
    "random weights": "small, frames changed",
    "none, 900 steps": "small, ImageNet",
    "unchanged": "small, ImageNet",
    "all, 900 steps": "small, ImageNet, frames changed",
    "two drives": "small, ImageNet, frames changed",
    "rival": "the same with a rival",
}


def summed_up(runs, baseline):
    """Return means over seeds, and the difference to a baseline with its interval."""
    means = runs.groupby("configuration", sort=False)[COLUMNS].mean()
    gains = statistics.compared(runs, baseline).rename(columns={"mean": "gain"})
    return means.join(gains[["gain", "low", "high", "verdict"]]).sort_values("mean IoU").round(3)
''')
code('''
most = exercises.predict(
    "What brought most, all else equal?",
    answer=None,
    choices=["frames changed", "the small network", "ImageNet", "a rival"],
)
most
''')
code('''
summed_up(studies.read("all labels").rename(ALL), "small, ImageNet, frames changed")
''')
code('''
summed_up(studies.read("all labels on photographs").rename(ALL), "small, ImageNet, frames changed")
''')
md('''
ALLTEXT (memory; the answer to "most": pairs that differ in one thing)

Now fifteen labels, or their price in clicks:
''')
code('''
saved = exercises.predict(
    "Fifteen whole masks, or as many clicks over all frames: which is ahead on drawn streets?",
    answer=None,
    choices=["masks alone", "masks and pasted classes", "clicks, evenly", "clicks, margin"],
)
saved
''')
code('''
CLICKED = {"stratified random": "clicks, evenly", "margin": "clicks, margin"}
MASKS = {
    "labels alone for longer, 15 labels": "masks alone",
    "labels alone, 15 labels": "masks alone",
    "pasted classes, 15 labels": "masks and pasted classes",
}


def with_few_labels(study, alone, data, answers):
    """Return the runs with fifteen masks and with the clicks that these cost."""
    masks = studies.read(study).loc[[alone, "pasted classes, 15 labels"]].rename(MASKS)
    clicked = campaigns.read().xs((data, "pixel"), level=("data", "unit"))
    learner = f"labels alone, {campaigns.AS_LONG_AS_PASTED} steps"
    clicked = clicked.xs((learner, answers), level=("learner", "answers"))
    clicked = clicked.rename_axis(index={"strategy": "configuration"}).rename(CLICKED)
    return pd.concat([masks[COLUMNS], clicked[COLUMNS]])
''')
code('''
drawn = with_few_labels("few labels", "labels alone for longer, 15 labels", "MiniCity", 270)
exercises.compare(saved, drawn["mean IoU"].groupby("configuration").mean().idxmax())
''')
code('''
summed_up(drawn, "masks alone")
''')
code('''
real = "CamVid, without 0006R0"
real = with_few_labels("15 labels on photographs", "labels alone, 15 labels", real, 80)
summed_up(real, "masks alone")
''')
md('''
FEWTEXT

## Three numbers, one network

Now the claim. Let a network learn for a minute, and measure it as you have since lesson 06: one confusion matrix of all val frames at their own size, void left out.
''')
code('''
recipe = studies.PRETRAINED.but(steps=STEPS)
model = recipes.train(recipe, train, scheme).model
truth = [prep.read_mask(mask, scheme) for mask in val["mask"]]
predicted = prediction.predict(model, val["image"], recipe.size)
guesses = [scores.argmax(-1).astype(np.uint8) for scores in predicted]
''')
code('''
def measures(matrix):
    """Return the three measures of the claim."""
    return {
        "mean IoU": matrix.mean_iou(),
        "pixel accuracy": matrix.pixel_accuracy(),
        "mean Dice": matrix.mean_dice(),
    }


honest = ConfusionMatrix.for_scheme(scheme)
for mask, guess in zip(truth, guesses, strict=True):
    honest.update(mask, guess)
pd.Series(measures(honest), name="after a minute").round(3)
''',"nbval-ignore-output")
md('''
Accuracy is near the claim, mean IoU and Dice are not. What can the three numbers tell about each other? Here are lesson 07's formulas again, all in one place.

**One class.** IoU $J$ (for Jaccard, its other name) and Dice $D$ are counted from the same three numbers, so each follows from the other: $D = 2J / (1 + J)$. An IoU of 0.8 *is* a Dice of 0.889, always.
''')
code('''
iou, dice = honest.iou(), honest.dice()
print("the same from the other, class by class:", end=" ")
print("yes" if np.allclose(dice, 2 * iou / (1 + iou)) else "no")
''')
md('''
**The mean over classes.** Between 0 and 1, Dice as a function of IoU lies above the straight line and bends down. So the mean Dice depends on how the IoUs are spread, and equal ones give the largest. If all classes have IoU 0.8, the mean Dice is 0.889. If four of five classes are perfect and one is never found, mean IoU is 0.8 and mean Dice is 0.8, too. All else lies in between. So with a mean IoU over 0.8, "Dice over 0.8" says nothing new.

**All pixels together.** Accuracy is the share of right pixels $a$. What if one does not take the IoU of each class and their mean, but adds up the pixels of all classes first, and divides once? Of N pixels, aN are right: so many are in the intersections. Each wrong pixel is in two unions, that of its true class and that of the predicted one, so the unions have aN + 2(1 - a)N = (2 - a)N. This **micro IoU** is $a / (2 - a)$, and the Dice of all pixels together is $a$ itself. An accuracy of 0.90 *is* a micro IoU of 0.818.

Accuracy over 90 % and IoU over 80 % fit together like one number said twice. The Dice fits only loosely: it would be 0.90, and one would write "over 0.9". Whether the second project counted like that, nobody can tell from here. But what comes with a *mean* IoU of 0.8, counted as in this course?
''')
code('''
asked = exercises.predict(
    "The reference model has a mean IoU of about 0.8 here. What is its mean Dice?", answer=None
)
asked
''')
code('''
reference, full = models.load_reference(scheme, pairs), models.reference_size(truth[0].shape)
best = prediction.evaluate(reference, val, scheme, full)
pd.Series(measures(best), name="the reference model").round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(best.mean_dice(), 2))
''',"nbval-ignore-output")
code('''
print("its accuracy is above 94 %:", "yes" if best.pixel_accuracy() > 0.94 else "no")
''')
md('''
The mean Dice is nearly the largest that goes with this mean IoU (0.887 for 0.797). And look at the accuracy: it is 96 %. If every class had an IoU of 0.82, accuracy would be 90 % as well, and all three numbers of the claim would hold; arithmetic does not forbid it. But on streets the large classes are the easy ones, so accuracy lies well above. Whoever has 96 % would hardly write "over 90 %". That is a reason to ask, no proof. And the first question to any claim is: **the mean of what?**

## Six ways up

Back to the network of a minute. Six ways to a higher number. The first one lets the prediction see a part of the truth, the next three change how one counts, and the last two how one trains and chooses:

1. **void** counts as a class, one that is always right;
2. **categories**: the nineteen classes become seven groups, and a bus taken for a truck counts as right. (The benchmark's site reports this number, too, under its own name. It becomes a trick when the name is left out.)
3. **micro**: the pixels of all classes are added up, as above;
4. **absent is 1**: each frame is scored by itself, and a class that is neither there nor found counts as right;
5. **a split that leaks**: the frames that are scored have neighbours among those that were learned;
6. **the best of many epochs**, chosen on the frames that are scored.
''')
code('''
asked = exercises.predict(
    "Which of the first four lifts the number least?",
    answer=None,
    choices=["void", "categories", "micro", "absent is 1"],
)
asked
''')
md('''
**Void.** A script writes void into the prediction wherever the truth has it, "to ignore it", and then counts void as one more class. The prediction has now seen part of the truth.
''')
code('''
with_void = ConfusionMatrix(scheme.num_classes + 1)
for mask, guess in zip(truth, guesses, strict=True):
    known = np.where(mask == 255, scheme.num_classes, mask)
    with_void.update(known, np.where(mask == 255, known, guess))
ways = {"honest": honest.mean_iou(), "void": with_void.mean_iou()}
''')
md('''
**Categories and micro.** Both need nothing but the matrix that we have.
''')
code('''
def micro(matrix):
    """Return the IoU of the pixels of all classes together."""
    union = matrix.true_pixels + matrix.predicted_pixels - matrix.intersection
    return matrix.intersection.sum() / union.sum()


ways["categories"] = honest.merged(scheme.categories).mean_iou()
ways["micro"] = micro(honest)
''')
md('''
**Absent is 1.** A street here shows some twelve of the nineteen classes. A class that is in neither truth nor prediction of a frame gets an IoU of 1: nothing to find, nothing found. (A mean over frames alone would rather *lower* the score, as in lesson 07, because a few stray pixels of a class that is not there count as 0. It is the absent third that lifts it.)
''')
code('''
def absent_as_one(mask, guess):
    """Return the mean IoU of one frame; what is not there counts as found."""
    return ConfusionMatrix.for_scheme(scheme).update(mask, guess).iou().fillna(1).mean()


ways["absent is 1"] = np.mean([absent_as_one(*both) for both in zip(truth, guesses, strict=True)])
scores = pd.Series(ways, name="mean IoU")
scores.round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, scores.drop("honest").idxmin())
''',"nbval-ignore-output")
code('''
print("every way of counting is above the honest one:", end=" ")
print("yes" if (scores.drop("honest") > scores["honest"]).all() else "no")
''')
md('''
Void alone adds little: one perfect class among twenty. But an eighth of all pixels are void. So put all pixels into one pot, void among them:
''')
code('''
def in_one_pot(matrix):
    """Return the measures of all pixels together."""
    accuracy = matrix.pixel_accuracy()
    return {"IoU": micro(matrix), "accuracy": accuracy, "Dice": accuracy}


claim = pd.DataFrame(
    {
        "micro": in_one_pot(honest),
        "micro, with void": in_one_pot(with_void),
        "claimed": {"IoU": 0.8, "accuracy": 0.9, "Dice": 0.8},
    }
)
claim.round(3)
''',"nbval-ignore-output")
code('''
short = (claim["claimed"] - claim["micro, with void"]).max()
print("the claim is met, or missed by less than two points:", "yes" if short < 0.02 else "no")
''')
md('''
There they are, or nearly, the three numbers of the claim, from a network that learned for a minute. But look again: these are not three numbers. This Dice *is* the accuracy, and this IoU is accuracy / (2 - accuracy). One number has been said three times.

Which classes does the network find least?
''')
code('''
honest.iou().nsmallest(5).round(2)
''',"nbval-ignore-output")
md('''
It hardly finds these five, and the claim is met, or nearly, all the same. No sum was wrong. But void has seen part of the truth, and the others answer another question.

**A split that leaks, and the best of many epochs** are ways of training, not of counting. The stored results (`python benchmarks/tricks.py`) are of the small network. For the leak it learned from every other frame of twelve drives; the frames in between are three and a half metres away from one that it knows. For the best of many it was scored after each of sixty epochs on forty streets.
''')
code('''
TRICKSTABLE
''')
md('''
TRICKSTRAINED

How would you notice? Most who do one of the six do not mean to deceive, and each way leaves a sign:

| way | ask | a sign in the text |
|---|---|---|
| void | Is void in the matrix? | one class more than the data set has; one with an IoU of 1.00 |
| categories | How many classes are averaged? | "7 classes"; no row for rider or traffic light |
| micro | The mean of what? | an IoU that is accuracy / (2 - accuracy) |
| absent is 1 | One matrix, or a mean over images? | "averaged over all images"; in the code, 0 / 0 becomes 1 |
| a split that leaks | Which drives are in test? | frames "randomly split" |
| the best of many epochs | Which epoch, and chosen on which frames? | "our best result"; a val score and no test score |

## The claim, row by row

CLAIMTABLE

## A drive

All scores so far are of single pictures. A car sees a film. Its answers should not jump from frame to frame where nothing does. `drive` draws one: the camera moves along a street, and so do cars and people. Each frame has its labels, and knows where its pixels are in the next one. The answers are those of the course's reference model.
''')
code('''
frames = list(drive.drive("elmsund", FRAMES, seed=1))
images = [frame.image for frame in frames]
seen = [CITYSCAPES.remap(frame.labels) for frame in frames]
street_model, size = models.load_reference(), models.reference_size(seen[0].shape)
answers = np.stack(list(prediction.predict(street_model, images, size)))
single = answers.argmax(-1).astype(np.uint8)
player = widgets.view(images, seen, list(single), CITYSCAPES, rate=drive.RATE)
player
''',"nbval-ignore-output")
md('''
Press *play*, choose the layer *prediction*, and look at the rims of things and at the far end of the street. (In a notebook that is not running you see one frame only.)

Now put a number to it. **Flicker** is the share of pixels whose class changes from one frame to the next although the truth, followed along the known motion, stays the same.
''')
code('''
asked = exercises.predict(
    "Of the pixels whose true class stays, which share gets another class in the next frame?",
    answer=None,
    unit="%",
)
asked
''')
code('''
def flicker(maps):
    return drive.flicker(frames, maps, ignore=CITYSCAPES.void_ids)


print(f"the network: {flicker(single):.3f}; the truth, by definition: {flicker(seen):.3f}")
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(100 * flicker(single), 1))
''',"nbval-ignore-output")
md('''
The obvious cure is to average: mix what the network says now with what it said before. Once pixel by pixel, in place; and once after the old answers were moved to where their pixels are now.
''')
code('''
def averaged(keep, follow):
    """Return label maps from probabilities averaged over the drive, in place or moved along."""
    state, maps = answers[0], [single[0]]
    for before, after, new in zip(frames, frames[1:], answers[1:], strict=False):
        old = state
        if follow:
            to, seen_again = before.follow(after)
            old = new.copy()  # what was hidden, or lies between moved pixels, has no old answer
            old.reshape(-1, new.shape[-1])[to[seen_again]] = state[seen_again]
        state = keep * old + (1 - keep) * new
        maps.append(state.argmax(-1).astype(np.uint8))
    return maps
''')
code('''
def report(maps):
    matrix = ConfusionMatrix.for_scheme(CITYSCAPES)
    for mask, guess in zip(seen, maps, strict=True):
        matrix.update(mask, guess)
    return {"flicker": flicker(maps), "accuracy": matrix.pixel_accuracy()}


rows = {"single frames": report(single)}
for keep in (0.5, 0.8):
    rows[f"in place, {keep}"] = report(averaged(keep, follow=False))
    rows[f"moved along, {keep}"] = report(averaged(keep, follow=True))
calm = pd.DataFrame(rows).T
calm.round(3)
''',"nbval-ignore-output")
code('''
alone, place, along = calm.loc[["single frames", "in place, 0.8", "moved along, 0.8"]].to_numpy()
worse = place[0] < alone[0] and place[1] < alone[1]
print("in place, flicker falls, and accuracy, too:", "yes" if worse else "no")
steady = along[0] < place[0] and along[1] > alone[1] - 0.005
print("moved along, flicker falls further, and accuracy stays:", "yes" if steady else "no")
''')
md('''
In place, the average drags old answers behind: a car leaves a trail of "car" on the road. Moved along, the same average makes the answers steadier, and costs less than half a point of accuracy here, on this one drive. (Its frames are neighbours: this is one street, not forty.) Mind that the cure follows the same motion as the measure, so flicker *must* fall. What was not given is that accuracy stays. And this is the best case: the street is drawn, so the motion is known nearly to the pixel, and what hides what. In a real film both have to be estimated (optical flow, `cv2.DISOpticalFlow`), and where the estimate is wrong, trails come back.

And a warning. Flicker is 0 for a network that says "road" everywhere, always. It is no score by itself; it belongs beside one.
''')
code('''
folder = storage.home() / "runs" / "lesson15"
calmed = averaged(0.8, follow=True)
both = [np.vstack([x, CITYSCAPES.palette[y]]) for x, y in zip(images, calmed, strict=True)]
for name in ("drive.mp4", "drive.gif"):
    print("runs/lesson15/" + drive.film(folder / name, both).name)
''')
md('''
(The GIF plays in a browser. For the MP4 you may need a player such as VLC.)
''')
md('''
## The final project

You have seen fifteen lessons of other people's questions. The course ends with one of yours:

1. **Pick a question** that a few hours of your computer can answer. "Is X better than Y *on Z*, by at least so much?" Small is good. For example: *does the mirror help when there are 30 streets and 900 steps? is a minute of training on crops worth more than one on whole frames? are two labelled streets of every city worth more than eight of one?*
2. **Write down before you start**: the question, the recipe and what differs, the control, the seeds, the smallest difference that matters to you, and the budget. Commit it, and push it or send it to your teacher, before the first run.
3. **Run it** with `experiments.run`. Choose on val alone; your answer and its interval come from there, over seeds.
4. **One look at the end**, at the recipe that you would take. `python -m cityseg_utils.final_project streets data/final` draws sixty streets whose labels you do not have. (So `open_dataset` refuses them; take `sorted(Path("data/final").glob("leftImg8bit/test/*/*.png"))`.) Write your predictions with `metrics.export_predictions`; `python -m cityseg_utils.final_project score FOLDER` says one number, and counts how often you looked.
5. **Write half a page**: what you asked, what you did, one table or figure, what came out with its interval, what you cannot conclude.

[docs/final_project.md](../docs/final_project.md) has the rubric by which it is graded, and one worked example.

## Exercises

**1.** A paper has a mean IoU of 0.70. What is the largest mean Dice that goes with it?
''')
code('''
answer = ...
exercises.check_largest_dice(answer, mean_iou=0.70)
''')
md('''
**2.** Five papers; each uses a different one of the six: `"void"`, `"micro"`, `"absent"`, `"leak"` or `"best epoch"`. Which is whose?

- A: "Our network reaches an accuracy of 0.925 and an IoU of 0.860."
- B: "We cut the films into frames, shuffled them, and kept every fifth for testing: mean IoU 0.91."
- C: `iou = np.where(union == 0, 1, inside / np.maximum(union, 1)).mean()`, for each image, and then the mean of these.
- D: "We trained for 200 epochs and report our model's peak on the validation set."
- E: a table for the 19 classes of Cityscapes with 20 rows, one of which has an IoU of 1.00; "mean 0.79".
''')
code('''
answer = {"A": ..., "B": ..., "C": ..., "D": ..., "E": ...}
exercises.check_suspects(answer)
''')
md('''
**3.** Write the honest score. Each frame comes as two arrays over the classes, the pixels in the intersection and in the union. Return the mean IoU of all frames together, over the classes that occur.
''')
code('''
def one_matrix(frames):
    """Return a mean IoU from pairs of (C,) arrays, intersection and union, one pair a frame."""
    ...


exercises.check_one_matrix(one_matrix)
''')
md('''
Solutions: [solutions/15_benchmark.ipynb](solutions/15_benchmark.ipynb). Try first.

## What you saw

- SAWTABLE
- IoU and Dice of one class are the same number in two scales, and accuracy and micro IoU are, too. So a claim can be checked by arithmetic.
- One network, many scores: without "averaged over what, and on which frames" nobody can compare them.
- SAWCLAIM
- Averaging over time calms a film; without following the motion it smears.

## Quiz

1. A paper has a mean IoU of 0.80 and an accuracy of 0.95. Is it a micro IoU?
2. Why is the best of sixty epochs, chosen on val, a little too good on val, even if nobody cheats?
3. Two networks, one mean IoU. One flickers twice as much. What would you ask before you choose the calm one?

<details><summary>Answers</summary>

1. No: an accuracy of 0.95 would be a micro IoU of 0.95 / 1.05 = 0.905. The two numbers fit a mean over classes.
2. Scores of epochs vary by chance, too. The largest is chosen *because* chance was kind to it on these very frames; on other frames chance helps it no more than the rest.
3. Whether it is as good on what moves and is small. A network that never sees people does not flicker on them.

</details>

**Next:** out of the notebook: the real Cityscapes, many machines, and a program that segments without TensorFlow: [16 · Scaling up](16_scaling_up.ipynb).
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/drafts/15.ipynb").write_text(nbf.writes(nb))
