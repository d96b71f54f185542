"""Draft of lesson 11 on the studies "number of streets" and "frames of drives" (PLANNED); words in capitals wait for them."""
import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 11 · More data

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/11_how_much_data.ipynb)

"More data" was the first project's last wish. Labelling one Cityscapes frame took a person ninety minutes. So before you ask for more, you should know how much it would bring, *which* more, and whether you are short of data at all.

**You will learn**

- to draw a learning curve, fit a power law to it, and say how far to trust it;
- to tell a training that is short of data from one that is short of steps, by its score on train;
- what drawn streets are worth before real ones;
- what frames in a row do not teach.

**Before this:** [lesson 10](10_architectures_and_backbones.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** TIMEMEMORY; the full comparison, whose results are stored, took hours.
**Opens the modules** `cityseg_utils/studies.py` and `cityseg_utils/statistics.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
STREETS = 30  # of the training below
STEPS = 200  # of that training; the stored ones have 900
ONE_MORE = None  # a seed that is not stored, such as 7: one more run of the study, minutes
''',"parameters")
code('''
import numpy as np
import pandas as pd
from scipy import stats

from cityseg_utils import datasets, exercises, framework, plots, prediction, recipes
from cityseg_utils import statistics, studies

framework.set_seed(0)
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
print(len(train), "train frames,", len(val), "val frames")
''')
md('''
## A learning curve

One recipe, that of lesson 08 with changed frames, learns from 8, 15, 30, 60 and 120 streets, evenly from all train cities, and is scored on two unseen ones. Each smaller set is part of the larger ones. All get 900 steps: with 8 streets the network sees each of them 900 times, with 120 sixty times. So the difference is the data, and not the computing.

    python -m cityseg_utils.studies "number of streets"
''')
code('''
everything = studies.read("number of streets")
longer = everything.index.get_level_values("configuration").str.contains("2700")
stored = everything[~longer]
curve = stored.groupby("train frames")[["mean IoU", "mean IoU on train"]].mean()
known = curve[curve.index <= 120]
known.round(3)
''')
md('''
Now you: the same recipe with `STREETS` streets. It will lie below the table, for it has fewer steps, and is scored on other streets of val.
''')
code('''
some = train.iloc[:: max(1, len(train) // STREETS)].iloc[:STREETS]
recipe = studies.CHANGED.but(steps=STEPS)
model = recipes.train(recipe, some, scheme).model
live = prediction.evaluate(model, val, scheme, recipe.size).mean_iou()
print(f"{STREETS} streets, {STEPS} steps: mean IoU {live:.3f}")
''',"nbval-ignore-output")
md('''
## A power law

Over wide ranges, the error of many networks falls like a **power** of the number of examples: twice the data, always the same *factor* ([Hestness and others, 2017](https://arxiv.org/abs/1712.00409)). We borrow the form for error = 1 - mean IoU:

$$\\text{error}(n) = a \\, n^{-b}$$

Taking logarithms makes a line of it: log error = log a - b log n. And a line that is fitted to points comes with a **prediction interval**: so far may the next point lie, if the law holds and points scatter as they did. (Lesson 08's interval was of a *mean*; this one is of a single new point.) Three doubts add up in it: the new point's own scatter (1), the line's height (1/n), and its slope, which matters more the farther out you go (`far`).
''')
code('''
def law(numbers, scores, at):
    """Return the fitted score at other numbers, and its 95 % prediction interval."""
    x, y = np.log(numbers), np.log(1 - scores)
    fitted = stats.linregress(x, y)
    left = y - (fitted.intercept + fitted.slope * x)
    deviation = np.sqrt((left**2).sum() / (len(x) - 2))
    far = (np.log(at) - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    half = stats.t.ppf(0.975, len(x) - 2) * deviation * np.sqrt(1 + 1 / len(x) + far)
    middle = fitted.intercept + fitted.slope * np.log(at)
    errors = {"law": middle, "low": middle + half, "high": middle - half}
    return 1 - np.exp(pd.DataFrame(errors, at))
''')
code('''
at = np.array([8, 15, 30, 60, 120, 240, 480, 960])
shown = law(known.index.to_numpy(), known["mean IoU"].to_numpy(), at)
figure = plots.lines(
    shown.assign(measured=known["mean IoU"]), "train streets", "mean IoU", "five points", log=True
)
figure.axes[0].plot(STREETS, live, "k*", markersize=12, label="just now")
figure.axes[0].legend()
plots.show(figure, "Five points, the law through them with its interval, and the training above")
''',"nbval-ignore-output")
code('''
asked = exercises.predict(
    "What mean IoU will 960 streets give, eight times as many as 120?", answer=None
)
asked
''')
code('''
exercises.compare(asked, round(curve["mean IoU"][960], 3))
''')
code('''
shown["measured"] = curve["mean IoU"].reindex(at)
figure = plots.lines(shown, "train streets", "mean IoU", "and how it went on", log=True)
plots.show(figure, "The law with its interval, and the scores of all numbers of streets up to 960")
''')
code('''
shown["inside"] = shown["measured"].between(shown["low"], shown["high"])
shown.loc[[240, 480, 960]].round(3)
''')
md('''
LAWTEXT (did it hold? how wide?)

And what would five points more than 960 streets take?
''')
code('''
wanted = law(known.index.to_numpy(), known["mean IoU"].to_numpy(), np.geomspace(8, 1e9, 4000))
goal = curve["mean IoU"][960] + 0.05
for name in ("high", "law", "low"):
    enough = wanted.index[wanted[name] > goal]
    print(f"{name:5}", f"{enough[0]:,.0f} streets" if len(enough) else "more than 1,000,000,000")
''')
md('''
NUMBERTEXT

## Short of what?

A score on val alone does not say what is missing. Put the score on train beside it.
''')
code('''
figure = plots.lines(curve, "train streets", "mean IoU", "900 steps", log=True)
plots.show(figure, "Mean IoU on train and on val by number of streets")
''')
code('''
asked = exercises.predict(
    "Three times the steps: which gains more by it?",
    answer=None,
    choices=["120 streets", "960 streets"],
)
asked
''')
code('''
more = {
    "120 streets": ("all, 900 steps", "all, 2700 steps"),
    "960 streets": ("960 streets", "960 streets, 2700 steps"),
}
gains = {}
for name, (base, other) in more.items():
    two = everything.loc[[base, other]]
    found = statistics.compared(two, base).loc[other]
    train_scores = two["mean IoU on train"].groupby("configuration").mean()
    gains[name] = {**found, "gain on train": train_scores[other] - train_scores[base]}
gains = pd.DataFrame.from_dict(gains, orient="index")
exercises.compare(asked, gains["mean"].idxmax())
''')
code('''
gains.round(3)
''')
md('''
STEPSTEXT: with few streets the train score is high and val stays: short of data. With many streets both are close together: short of steps (or size of the network). The recipe of one is not the recipe of the other.

## More frames, or more streets?

A film has thirty frames a second. Are they more data? CamVid's photographs come from drives, one labelled frame a second. From two of them, 266 frames, we take 33 or 34 in two ways: every eighth (**spread**), or as many **in a row**; each seed takes others. A third drive is scored. (With one frame a second even a row covers many metres, so this understates how little a row teaches.)

    python -m cityseg_utils.studies "frames of drives" --camvid /path/to/camvid
''')
code('''
asked = exercises.predict(
    "If the mean IoU of all 266 is 100 %, what do 34 in a row give?", answer=None, unit="%"
)
asked
''')
code('''
real = studies.read("frames of drives").rename(
    {
        "two drives": "all 266",
        "spread": "34 spread",
        "in a row": "34 in a row",
        "two drives, MiniCity first": "all 266, drawn first",
        "spread, MiniCity first": "34 spread, drawn first",
    }
)
ways = real.loc[["all 266", "34 spread", "34 in a row"]]
figure = plots.seed_intervals(statistics.means(ways), ways["mean IoU"], "mean IoU on another drive")
plots.show(figure, "Mean IoU of three ways to use frames, with their seeds")
''')
code('''
average = ways["mean IoU"].groupby("configuration").mean()
exercises.compare(asked, round(100 * average["34 in a row"] / average["all 266"]))
''')
code('''
statistics.compared(ways, "34 in a row").round(3)
''')
code('''
others = ways.filter(regex="^IoU (?!car$)").mean(axis=1).to_frame("all but cars")
print(statistics.compared(others, "34 in a row", "all but cars").round(3).to_string())
statistics.by_class(ways).T.round(2)
''')
md('''
ROWTEXT (which classes; an explanation after the fact; recipes.count_pixels)

The makers of Cityscapes knew. They drove through fifty cities, and of each thirty frames in a row they labelled one.

## Drawn streets before real ones

The labels of drawn streets cost nothing; the training on them took an hour. Does a training on CamVid's photographs gain if it starts from the reference model, which has learned from 3000 drawn streets? Both begin with ImageNet's encoder; one also has a decoder that has learned drawings. (Its recipe was chosen with a look at CamVid, this drive among it, so the gain may be flattered.)

    python -m cityseg_utils.studies "frames of drives" --camvid /path/to/camvid
''')
code('''
gain = exercises.predict(
    "By how many points of mean IoU do drawn streets help before 34 real frames?", answer=None, unit="points"
)
gain
''')
code('''
both = [(few, f"{few}, drawn first") for few in ("34 spread", "all 266")]
drawn = [statistics.compared(real.loc[list(two)], two[0]) for two in both]
exercises.compare(gain, round(100 * drawn[0]["mean"].iloc[0], 1))
''')
code('''
labels = statistics.compared(real.loc[["all 266", "34 spread, drawn first"]], "all 266")
pd.concat([*drawn, labels]).round(3)
''')
md('''
DRAWNTEXT

## One more seed

`ONE_MORE = 7` at the top trains one more seed of "all, 900 steps", some seven minutes of one core.
''')
code('''
if ONE_MORE is not None:
    more = studies.one_more("number of streets", "all, 900 steps", ONE_MORE)
    figure = plots.seed_intervals(statistics.means(more), more["mean IoU"], "mean IoU, val")
    plots.show(figure, "Mean IoU by number of streets, one more seed among them")
''')
md('''
## Exercises

**1.** With 100 streets a network has an error of 0.6, with 400 one of 0.5. What is b?
''')
code('''
answer = ...
exercises.check_exponent(answer, numbers=(100, 400), errors=(0.6, 0.5))
''')
md('''
**2.** Write a function that says how many streets a goal needs, by the power law.
''')
code('''
def streets_needed(mean_iou, a, b):
    """Return the number of streets, as a float."""
    ...


exercises.check_streets_needed(streets_needed)
''')
md('''
**3.** Four trainings, with their mean IoU on train and on val. What is each short of: `"data"`, `"steps"`, `"a larger network"`, or `"nothing that this tells"`?

- A: train 0.82, val 0.41
- B: train 0.44, val 0.43, and the loss is still falling
- C: train 0.83, val 0.80
- D: train 0.31, val 0.33, and the loss has been flat for half of the training
''')
code('''
answer = {"A": ..., "B": ..., "C": ..., "D": ...}
exercises.check_shortages(answer)
''')
md('''
Solutions: [solutions/11_how_much_data.ipynb](solutions/11_how_much_data.ipynb). Try first.

## What you saw

- Before you ask for more data, find out what you are short of: look at the score on train.
- A learning curve with equal steps tells what data bring *with that recipe in those steps*.
- SAWLAW
- SAWSTEPS
- SAWROW
- SAWDRAWN

## Quiz

1. Why did all sizes get the same number of steps, and not of epochs?
2. Your power law was fitted on 8 to 120 streets. Why is its answer for 100,000 worthless?
3. You may label 200 frames of a new city. How do you choose them?

<details><summary>Answers</summary>

1. With equal epochs, the large set would also get more computing, and nobody could tell which of the two helped.
2. It is far outside of what was measured: the recipe's budget, the network's size and the labels' quality set ceilings that a pure power law does not know.
3. Spread over streets, hours and weather, not in a row from one camera, where each frame looks like the last. Whether to ask about those of which the model is least sure, lesson 14 measures.

</details>

**Next:** the second project, U-Net and GAN. Can a second network, which judges whole label maps, teach the first one more?
''')
nb=nbf.v4.new_notebook(cells=cells)
words=sum(len(c.source.split()) for c in cells if c.cell_type=="markdown"); print("words", words)
Path("/tmp/try/11.ipynb").write_text(nbf.writes(nb))
