"""Draft of lesson 09 on the studies "loss", "learning rate" and "habits" (PLANNED); words in capitals wait for them."""
import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 09 · Losses and hyperparameters

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/09_losses_and_hyperparameters.ipynb)

A network does what its **loss** asks for, as fast as its **learning rate** allows. Both are often copied from somewhere. In this lesson you look at what six losses ask for, search for a learning rate and check what you found, and see which of the usual habits matter.

**You will learn**

- what cross-entropy, focal loss, class weights, Dice and Tversky say about the same pixels;
- to find a learning rate with one short run, and not to believe it before a sweep agrees;
- what batch size, schedule and averaged weights do at an equal budget, and whether two gains add up;
- what lesson 06's BatchNorm trap costs when nobody thinks of it.

**Before this:** [lesson 08](08_augmentation_experiments.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** TIMEMEMORY; the full comparisons, whose results are stored, took hours.
**Opens the modules** `cityseg_utils/losses.py`, `cityseg_utils/recipes.py` and `cityseg_utils/statistics.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
LOSS = "focal"  # of the one training below: "dice", "cross-entropy", "tversky", ...
STEPS = 200  # of that training; the stored ones have 900
ONE_MORE = None  # a seed that is not stored, such as 7: one more run of the study, minutes
''',"parameters")
code('''
import numpy as np
import pandas as pd

from cityseg_utils import datasets, exercises, framework, losses, plots, prediction, recipes
from cityseg_utils import statistics, studies

framework.set_seed(0)
tf = framework.load_tensorflow()
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
print(len(train), "train frames,", len(val), "val frames")
''')
md('''
## Who is heard

The loss of a batch is one number, made from all its pixels. So it matters who has the pixels.
''')
code('''
pixels = recipes.count_pixels(train, scheme)
share = pd.Series(100 * pixels / pixels.sum(), scheme.names).sort_values(ascending=False)
plots.show(plots.bars(share, "share of the train pixels (%)"), "Bars: few classes have most pixels")
''')
code('''
print(f"the five commonest classes: {share.iloc[:5].sum():.0f} % of the pixels")
print("classes with less than 1 %:", int((share < 1).sum()), "of", len(share))
''')
md('''
Plain **cross-entropy** is a mean over *pixels*: most classes have next to no say in it. **Mean IoU** is a mean over *classes*. There are several ways to bring the two together:

- **class weights** let each pixel of a rare class count more;
- **focal loss** ([Lin and others, 2017](https://arxiv.org/abs/1708.02002)) does not look at classes. It lets pixels that are nearly right count less: their cross-entropy is multiplied by $(1 - p)^2$, p being the probability of the true class;
- **Dice** is a mean over classes from the start (lesson 05);
- **Tversky** ([Salehi and others, 2017](https://arxiv.org/abs/1706.05721)) is Dice with two knobs: what a missed pixel costs, and what a false alarm costs. Ours lets a miss cost more (TVERSKYNUMBERS).

Take 99 easy pixels, each with p = 0.9, and one hard pixel with p = 0.1.
''')
code('''
asked = exercises.predict(
    "With focal loss: which share of the whole loss is the one hard pixel's?", answer=None, unit="%"
)
asked
''')
code('''
likelihood = np.array([0.1] + 99 * [0.9])
parts = {"cross-entropy": -np.log(likelihood)}
parts["focal"] = (1 - likelihood) ** 2 * parts["cross-entropy"]
shares = {name: 100 * loss[0] / loss.sum() for name, loss in parts.items()}
exercises.compare(asked, round(shares["focal"]))
''')
code('''
truth = np.zeros((1, 1, 100, 2), np.float32)
truth[..., 0] = 1
guess = np.stack([likelihood, 1 - likelihood], -1)[None, None].astype(np.float32)
for name, focus in (("cross-entropy", 0.0), ("focal", 2.0)):
    ours = float(losses.CrossEntropy(focus=focus)(truth, guess))
    print(f"{name:13}  the hard pixel has {shares[name]:.0f} % of it;", end=" ")
    print(f"by hand {parts[name].mean():.4f}, the package {ours:.4f}")
''')
md('''
### Class weights

One over the share would give every class the same say, as mean IoU does. But then a pixel of the rarest class counts hundreds of times as much as one of road, and a handful of mislabelled ones rules the training. A compromise: the square root of (pixels of the commonest class / pixels of the class), at most 8.
''')
code('''
weights = pd.Series(losses.class_weights(pixels, 8.0), scheme.names)[share.index]
say = share * weights / (share * weights).sum() * 100
figure = plots.mean_bars(pd.DataFrame({"pixels": share, "with weights": say}), "say in the loss (%)")
plots.show(figure, "Bars: weights take say from road and buildings and give it to rare classes")
print(int((weights == 8).sum()), "of", len(weights), "classes have the largest weight")
''')
md('''
## One of them, now

Here the small network of lesson 08 learns with the loss that you chose at the top, for STEPS steps. Meanwhile, commit yourself for the stored comparison: six losses, 900 steps each, several seeds, all else equal.
''')
code('''
best = exercises.predict(
    "Which has the best mean IoU?",
    answer=None,
    choices=["cross-entropy", "weighted", "focal", "Dice", "Tversky", "the sum"],
)
best
''')
code('''
recipe = studies.CHANGED.but(steps=STEPS, loss=LOSS)
model = recipes.train(recipe, train, scheme).model
live = prediction.evaluate(model, val, scheme, recipe.size)
print(f"{LOSS}, {STEPS} steps: mean IoU {live.mean_iou():.3f}, accuracy {live.pixel_accuracy():.3f}")
''',"nbval-ignore-output")
code('''
print("it finds something:", "yes" if live.mean_iou() > 0.3 else "no")
''')
code('''
stored = studies.read("loss").rename({"all, 900 steps": "Dice", "cross-entropy + Dice": "the sum"})
rare = [name for name in scheme.names if share[name] < 1]
stored["rare classes"] = stored[[f"IoU {name}" for name in rare]].mean(axis=1)
scores = ["mean IoU", "rare classes", "pixel accuracy", "mean IoU on train"]
stored[scores].groupby("configuration", sort=False).mean().round(3)
''')
code('''
figure = plots.seed_intervals(
    statistics.means(stored), stored["mean IoU"], "mean IoU on unseen cities, 900 steps"
)
figure.axes[0].axvline(live.mean_iou(), linestyle="--", color="gray")  # yours, with fewer steps
plots.show(figure, "Mean IoU of six losses with their seeds; a dashed line is the training above")
''',"nbval-ignore-output")
code('''
exercises.compare(best, stored["mean IoU"].groupby("configuration").mean().idxmax())
''')
code('''
verdicts = {x: statistics.compared(stored, "Dice", x) for x in ("mean IoU", "rare classes")}
pd.concat(verdicts, axis=1).round(3)
''')
md('''
LOSSTEXT (verdicts; who gains rare classes; accuracy; "Dice is too sure": https://arxiv.org/abs/1911.13273 measured? calibration of Dice vs CE as a cell if cheap)

## A learning rate

Train for a few dozen steps and let the rate grow by the same factor at each step, from far too small to far too large (after [Smith, 2017](https://arxiv.org/abs/1506.01186)). At first nothing happens, then the loss falls, then it rises. Rule of thumb: a tenth of the rate with the lowest loss. We search with the very network, frames and loss that the sweep below uses.
''')
code('''
asked = exercises.predict("What will the rule of thumb say, for this network?", answer=None)
asked
''')
code('''
search = studies.CHANGED.but(schedule="rising", learning_rate=1.0, steps=60, refresh=0)
noted = recipes.train(search, train, scheme).losses
rates = [recipes.rate(search, step / 60) for step in range(60)]
smooth = pd.Series(noted, rates).rolling(5, center=True, min_periods=1).mean()
figure = plots.lines(smooth.to_frame("loss"), "learning rate", "loss", "one short run", log=True)
plots.show(figure, "The loss stays, falls, then rises again as the learning rate grows")
''',"nbval-ignore-output")
code('''
exercises.compare(asked, float(f"{smooth.idxmin() / 10:.1g}"))
''',"nbval-ignore-output")
code('''
print("the rule of thumb says between 0.0005 and 0.05:", end=" ")
print("yes" if 5e-4 < smooth.idxmin() / 10 < 5e-2 else "no")
''')
md('''
That took half a minute. Does it hold? A **sweep** trains to the end with each of five rates, three seeds each:
''')
code('''
sweep = studies.read("learning rate").rename({"all, 900 steps": "rate 0.002"})
found = sweep[["mean IoU", "mean IoU on train"]].groupby("configuration").mean()
found.index = [float(name.split()[1]) for name in found.index]
figure = plots.lines(found.sort_index(), "learning rate", "mean IoU", "to the end", log=True)
plots.show(figure, "Mean IoU on val and train for five learning rates")
''')
code('''
statistics.compared(sweep, "rate 0.002").round(3)
''')
md('''
SWEEPTEXT

## Habits

The rest of a recipe is habit: batches of 8, a schedule, averages. Each is changed alone, at an equal number of frames. And once two changes are made together.
''')
code('''
asked = exercises.predict(
    "Two changes that each bring one point: how many do both together bring?", answer=None, unit=" points"
)
asked
''')
code('''
habits = studies.read("habits")
forgotten = "constant rate, BatchNorm 0.99, not refreshed"  # for the end of the lesson
knobs = habits.drop(forgotten, level="configuration")
gains = statistics.compared(knobs, "all, 900 steps")
within = statistics.gains(knobs, "all, 900 steps")
figure = plots.seed_intervals(gains, within, "gain in mean IoU", zero=True)
plots.show(figure, "Gains of each changed habit over the recipe, with intervals")
''')
code('''
gains.round(3)
''')
md('''
HABITSTEXT (averaged weights against the constant rate they start from; two changes: sum of gains against gain of both)

## BatchNorm again

Lesson 06's trap: running averages that start with made-up values and trail behind. One run was left out of the list. It has a constant rate, a momentum of 0.99, and nothing is computed anew at the end. In training BatchNorm uses the batch's own statistics, so it learned *the same weights* as the other one with a constant rate. What is it worth?
''')
code('''
pair = habits.loc[["constant rate", forgotten]]
statistics.compared(pair, "constant rate").round(3)
''')
md('''
BNTEXT

## One more seed

`ONE_MORE = 7` at the top trains one more seed of "cross-entropy", some seven minutes of one core.
''')
code('''
if ONE_MORE is not None:
    more = studies.one_more("loss", "cross-entropy", ONE_MORE)
    figure = plots.seed_intervals(statistics.means(more), more["mean IoU"], "mean IoU on unseen cities")
    plots.show(figure, "Mean IoU of each loss, one more seed among them")
''')
md('''
## Exercises

**1.** The network is already 0.9 sure of the right class. By what is the pixel's cross-entropy multiplied in the focal loss?
''')
code('''
answer = ...
exercises.check_focal_factor(answer, likelihood=0.9, focus=2)
''')
md('''
**2.** Write the class weights: the square root of how many times more pixels the commonest class has, without a largest weight. A class without a pixel gets 0.
''')
code('''
def class_weights(pixels):
    """Return a weight for each class; pixels is an array with one number per class."""
    ...


exercises.check_class_weights(class_weights)
''')
md('''
**3.** Three people compare Dice with cross-entropy. One comparison is fair. Which, A, B or C?

- A: Both losses, 900 steps, three seeds each. For each loss the learning rate was first chosen among five, on other val streets.
- B: Both losses, 900 steps, three seeds each. The rate was tuned for Dice; cross-entropy got the same.
- C: Dice with three seeds. Cross-entropy with ten, of which the best three are reported.
''')
code('''
answer = ...
exercises.check_fair_comparison(answer)
''')
md('''
**4.** After how many steps is less than 1 % of the start left in an average with momentum 0.99?
''')
code('''
answer = ...
exercises.check_left_of_start(answer, momentum=0.99, share=0.01)
''')
md('''
Solutions: [solutions/09_losses_and_hyperparameters.ipynb](solutions/09_losses_and_hyperparameters.ipynb). Try first.

## What you saw

- A loss decides who is heard: cross-entropy hears pixels, Dice hears classes, weights and focus lie in between.
- SAWLOSS
- SAWRATE
- SAWHABITS
- Stale BatchNorm averages spoil a training in which nothing went wrong.

## Quiz

1. Pixel accuracy rises and mean IoU falls when you change the loss. How can that be?
2. Batches of 4 instead of 8, the same number of epochs. What else did you change?
3. You found that a higher rate helps, and that smaller batches help. Why may both be one discovery?

<details><summary>Answers</summary>

1. The new loss gives rare classes less say. They have few pixels, so accuracy hardly notices, but each is a whole class in mean IoU.
2. Twice as many steps, each on half as many frames: noisier gradients, BatchNorm statistics of 4 frames, and so perhaps another best learning rate.
3. Both let the weights travel further in the same number of frames. If a training is too timid, everything helps that makes it bolder; made together they then bring less than their sum.

</details>

**Next:** which network? Accuracy against time and size.
''')
nb=nbf.v4.new_notebook(cells=cells)
words=sum(len(c.source.split()) for c in cells if c.cell_type=="markdown"); print("words", words)
Path("/tmp/try/09.ipynb").write_text(nbf.writes(nb))
