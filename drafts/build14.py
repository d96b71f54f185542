import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/11_how_much_data.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 14 · Active learning: let the network ask

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/14_active_learning.ipynb)

Labelling one frame of Cityscapes took a person ninety minutes. Most of the labelled pixels are ones that any network soon gets right: the middle of the road, the middle of the sky. The second project turned this around. The network asks about a pixel, a person says what it is, the network learns, and asks again. The person only clicks, and each click should be useful. That is **active learning**, and several rounds of it are a *campaign*. In this lesson a network asks *you*, and before that you find out how clever its questions are.

**You will learn**

- to see where a network is unsure, and whether it really is wrong there;
- two ways to be unsure, and why the questions of one of them are bad;
- to compare ways of asking: with their cost, controls and seeds;
- to answer a hundred questions yourself, and to say what they changed and what they did not.

**Before this:** [lesson 13](13_semi_supervised_learning.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** two minutes on 2 CPU cores, 1.6 GB, and as long as you like to click; the full comparison, whose results are stored, took hours.
**Opens the modules** `cityseg_utils/active_learning.py`, `annotations.py` and `widgets/annotator.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
STEPS = 60  # of each of the seven trainings below
FOLDER = None  # for your answers; None: a new one
PERSON = False  # True: you answer, and not the truth in your place
''',"parameters")
code('''
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cityseg_utils import active_learning, annotations, datasets, exercises, framework, plots
from cityseg_utils import preprocessing as prep
from cityseg_utils.augmentation import Compose, Flip, ScaleAndCrop

tf = framework.load_tensorflow()
framework.set_seed(0)
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
fresh = train.sample(10, random_state=0).sort_index()  # for you, at the end
train = train.drop(fresh.index)
print(len(train), "train frames,", len(fresh), "for you,", len(val), "val frames")
''')
md('''
## Ten pixels an image

We begin as every such campaign begins: with a few pixels drawn by chance. Of each train frame, ten pixels get a label, and the others stay unknown. In place of a person an **oracle** answers; it looks the label up in the mask. A `Pool` knows which pixels were asked about, at the size that the network sees, and an `AnswerLog` keeps each answer in a file.
''')
code('''
SIZE = (64, 128)
folder = Path(tempfile.mkdtemp())
log = annotations.AnswerLog(folder / "answers.jsonl", scheme)
pool = active_learning.Pool(train, scheme, SIZE, log)
oracle = annotations.Oracle(train, scheme)
''')
code('''
rng = np.random.default_rng((0, 0))  # seed 0, round 0
blindly = active_learning.blindly(scheme.num_classes, SIZE)  # there is no model yet
questions = pool.questions(active_learning.STRATEGIES["random"], 10, blindly, rng)
pool.ask(oracle, questions)
print(f"{len(log.answers)} answers: {10 / np.prod(SIZE):.2%} of the pixels")
''')
md('''
A network learns from them as from whole masks. In the training files all other pixels are void, and void is never trained on (lesson 05). (So there are two kinds of void, *nobody asked* and *nobody can tell*; the pool keeps them apart.) Two things change. The loss is a cross-entropy with class weights: most classes have no labelled pixel in a batch, and then their Dice is not defined. And the labels are *points*: if a frame is enlarged, each stays one pixel (`points=True`); copied to its neighbours, as the nearest-neighbour rule of lesson 02 would do, it would count more.
''')
code('''
from cityseg_utils import prediction, recipes, statistics, studies

recipe = studies.PRETRAINED.but(
    size=SIZE,
    steps=STEPS,
    loss="weighted cross-entropy",
    augment=Compose(ScaleAndCrop(SIZE, (1.0, 1.6), points=True), Flip()),
    average=0.9,
)


def learn(rows, seed=0):
    """Train from the beginning; what was trained already is not trained again."""
    runs = folder / "trainings"
    return recipes.train(recipe, rows, scheme, seed, runs=runs, name="round").model
''')
code('''
def scores_on(model, rows):
    return prediction.evaluate(model, rows, scheme, SIZE)


model = learn(pool.write(folder / "first"))
print(f"mean IoU {scores_on(model, val).mean_iou():.3f}")
''',"nbval-ignore-output")
md('''
## Is it right to be unsure?

The network gives each pixel a probability for every class. Two of many ways to say how unsure it is:

- the **entropy** of these probabilities: 0 if one class has it all, largest if all have the same;
- the **margin** between the likeliest class and the next: 1 if it is sure, 0 if two classes are tied.
''')
code('''
look = active_learning.look_with(model, train, SIZE)
scores, mirrored = look(0)
entropy = -(scores * np.log(scores + 1e-12)).sum(-1)
two = np.sort(scores, axis=-1)[..., -2:]
margin = two[..., 1] - two[..., 0]
same = np.allclose(margin, active_learning.margins(scores), atol=1e-6)
print("the package computes the same margin:", "yes" if same else "no")
''')

code('''
rows = []
for k in (0, 1):
    scores, _ = look(k)
    image, truth = prep.read_pair(train["image"].iloc[k], train["mask"].iloc[k], scheme, SIZE)
    wrong = (scores.argmax(-1) != truth) & (truth != 255)
    entropy = -(scores * np.log(scores + 1e-12)).sum(-1)
    rows.append([image, wrong, 1 - active_learning.margins(scores), entropy])
figure = plots.grid(rows, ["street", "wrong (white)", "1 - margin", "entropy"])
plots.show(figure, "Two streets, the wrong pixels, and two maps of how unsure the network is")
''',"nbval-ignore-output")
md('''
White is unsure, each map in its own scale. The margin draws thin lines where two classes meet. The entropy is spread over whole regions. How well does that fit the mistakes?
''')
code('''
asked = exercises.predict(
    "Take the 5 % of pixels with the smallest margin. How many per cent of them are wrong?",
    answer=None, unit="%"
)
asked
''')
code('''
def errors(k):
    \"\"\"Return margin and mistake of each labelled pixel of a val frame.\"\"\"
    truth = prep.read_mask(val["mask"].iloc[k], scheme, SIZE)
    scores = model.predict_on_batch(prep.read_image(val["image"].iloc[k], SIZE)[None] / 255)[0]
    labelled = truth != 255
    return active_learning.margins(scores)[labelled], (scores.argmax(-1) != truth)[labelled]


margins, mistakes = map(np.concatenate, zip(*map(errors, range(len(val))), strict=True))
least = margins <= np.quantile(margins, 0.05)
shares = {"least sure": mistakes[least].mean(), "all others": mistakes[~least].mean()}
pd.Series(shares, name="wrong").round(2)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(100 * shares["least sure"]))
''',"nbval-ignore-output")
code('''
ratio = shares["least sure"] / shares["all others"]
print("the least sure are wrong more than twice as often:", "yes" if ratio > 2 else "no")
''')
md('''
So its doubts mean something: where it is unsure it is often wrong. Whether an *answer* there teaches it more than elsewhere is another question, and the campaigns below are about that. Let us ask about the twenty least sure pixels of each street. By which of the two maps?
''')
code('''
def least_sure(k):
    \"\"\"Return twenty places of a street, chosen in four ways.\"\"\"
    scores, _ = look(k)
    entropy = -(scores * np.log(scores + 1e-12)).sum(-1).ravel()
    by_margin = np.argsort(active_learning.margins(scores).ravel())
    twentieth = by_margin[: by_margin.size // 20]
    return {
        "highest entropy": np.argsort(-entropy)[:20],
        "smallest margin": by_margin[:20],
        "among small margins": np.random.default_rng(k).choice(twentieth, 20, replace=False),
        "random": np.random.default_rng(k).choice(entropy.size, 20, replace=False),
    }
''')
code('''
asked = exercises.predict(
    "Take the 20 pixels of highest entropy: how far is each from its nearest neighbour among them?",
    answer=None,
    unit=" pixels",
)
asked
''')
code('''
def dotted(places):
    \"\"\"Return the first street, enlarged, with a dot at each place.\"\"\"
    image = cv2.resize(prep.read_image(train["image"].iloc[0], SIZE), (512, 256))
    image = cv2.copyMakeBorder(image, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    for row, column in zip(*np.unravel_index(places, SIZE), strict=True):
        at = int(4 * column + 10), int(4 * row + 10)
        cv2.circle(image, at, 5, (0, 0, 0), -1)
        cv2.circle(image, at, 4, (255, 0, 255), -1)
    return image


ways = least_sure(0)
pictures = [dotted(places) for places in ways.values()]
figure = plots.grid([pictures[:2], pictures[2:]], list(ways)[:2], ["least sure", "drawn"])
plots.show(figure, "A street four times, with twenty dots at the pixels that four ways choose")
''',"nbval-ignore-output")
code('''
def apart(places):
    \"\"\"Return how far it is from a pixel to the nearest other one, the median.\"\"\"
    at = np.stack(np.unravel_index(places, SIZE), -1)
    far = np.linalg.norm(at[:, None] - at, axis=-1) + 1e9 * np.eye(len(at))
    return float(np.median(far.min(1)))


near = [{way: apart(places) for way, places in least_sure(k).items()} for k in range(20)]
near = pd.DataFrame(near)
near.mean().round(1)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(near["highest entropy"].mean(), 1))
''',"nbval-ignore-output")
code('''
print("those of the highest entropy are neighbours:", end=" ")
print("yes" if near["highest entropy"].mean() < 2 else "no")
print("those of the smallest margin lie further apart:", end=" ")
print("yes" if near["smallest margin"].mean() > 2 * near["highest entropy"].mean() else "no")
''')
md('''
By entropy the questions lie side by side, in a heap or two, often at the rim of the picture. Twenty answers there say the same thing again and again. The margin is spared this, and its map shows why. Entropy is high in *areas*. The margin is 0 on *lines*, where one class takes over from the next, and these lines run through the whole street.

[PixelPick](https://arxiv.org/abs/2104.06394) (Shin and others, 2021) draws at random among the 5 % of pixels with the smallest margin: partly random, partly by margin. That way the questions of one round are not all about the very same line.

By hand, that is three lines. A strategy of the package gets what a model says of a frame (`Seen`: its probabilities, those for the mirrored frame, and what was asked before). It returns places in the frame, counted row by row from 0:
''')
code('''
def margin_by_hand(seen, number, rng):
    \"\"\"Draw among the least sure twentieth of the pixels that were not asked about yet.\"\"\"
    order = seen.free[np.argsort(active_learning.margins(seen.scores).ravel()[seen.free])]
    return rng.choice(order[: max(number, round(len(order) / 20))], number, replace=False)


seen = active_learning.Seen(*look(0), pool.labels(pool.names[0]) != annotations.UNLABELLED)
ours = margin_by_hand(seen, 10, np.random.default_rng(1))
theirs = active_learning.margin(seen, 10, np.random.default_rng(1))
print("the same pixels as the package's:", "yes" if set(ours) == set(theirs) else "no")
''')
md('''
## What chance asks about

Before we praise cleverness, a look at what it has to beat. Of a hundred random pixels, how many are road?
''')
code('''
def classes_of(strategy, number=50):
    \"\"\"Return the share of each class among the true labels of what a strategy asks about.\"\"\"
    rng, found = np.random.default_rng(0), []
    for k in range(len(train)):
        truth = prep.read_mask(train["mask"].iloc[k], scheme, SIZE).ravel()
        seen = active_learning.Seen(*look(k), np.zeros(SIZE, bool))
        found.append(truth[active_learning.STRATEGIES[strategy](seen, number, rng)])
    return np.bincount(np.concatenate(found), minlength=256) / (len(train) * number)


shares = pd.DataFrame({x: classes_of(x) for x in ("random", "stratified random", "margin")})
table = shares.iloc[: scheme.num_classes].set_axis(list(scheme.names))
table.loc["void"] = shares.loc[255]
table.sort_values("random", ascending=False).round(3)
''',"nbval-ignore-output")
md('''
Chance asks about what there is most of. **Stratified** random is nearly as simple: draw one of the classes that the model *predicts* in the frame, each with the same chance, then one of its pixels. It needs no doubt at all, and asks less about road and more about what is rarer. This is the second control.

Look at the row "void", too. About one question in seven, in all three ways, is about a pixel that nobody can name: the rim of a thing, or the car's own bonnet. The person looks, says "I cannot tell", and the click is gone. PixelPick's published code leaves void pixels out of its questions, by looking them up in the labels. No person could work like that, so the clicks for void are missing from its count. Here they are counted.

## A small campaign

Now twice the same: ask, train from the beginning, ask again, until each frame has forty labelled pixels. One campaign asks at random, the other by margin. Both start with the ten pixels and the training from above.
''')
code('''
asked = exercises.predict(
    "With 40 pixels each: by how many points of mean IoU is margin above random? (Below: minus.)",
    answer=None, unit=" points"
)
asked
''')
code('''
def campaign(strategy):
    """Return the model after each round, by the number of answers an image."""
    rounds = active_learning.campaign(
        strategy,
        (10, 20, 40),
        train,
        scheme,
        recipe,
        seed=0,
        folder=folder / strategy,
        runs=folder / "trainings",
    )
    return {answers: trained.model for answers, trained in rounds}
''')
code('''
models = {strategy: campaign(strategy) for strategy in ("random", "margin")}
small = pd.DataFrame(
    {way: {n: scores_on(x, val).mean_iou() for n, x in done.items()} for way, done in models.items()}
)
small.rename_axis("pixels an image").round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(100 * (small["margin"] - small["random"]).loc[40], 1))
''',"nbval-ignore-output")
code('''
print("the first round is the same for both:", "yes" if small.loc[10].nunique() == 1 else "no")
print("more answers, a higher score:", "yes" if (small.loc[40] > small.loc[10]).all() else "no")
''')
md('''
One seed, short trainings, twice forty streets to score on: whichever of the two is ahead, it says nothing yet. To compare ways of asking takes the stored campaigns: five strategies, three seeds and four rounds, up to 80 pixels an image. They are larger than what you have just run: all 120 train frames at 96 x 192, 600 steps, and 400 val streets to be scored on. Two strategies are new. *Stratified margin* draws a predicted class evenly, then its least sure pixel, with some noise that halves each round. *Disagreement* asks where the answers for a frame and for its mirror image differ most.

    python -m cityseg_utils.campaigns random "stratified random" margin "stratified margin" disagreement

Before you look, three things that the campaigns leave out. The oracle is never wrong and never tired; a person makes more mistakes just at borders, where margin and disagreement like to ask. Each answer costs the same. And each frame gets the same number of questions, so this is about *where in a frame* to ask, not about which frames.

## Who asks best?
''')
code('''
asked = exercises.predict(
    "With 80 random pixels an image (0.4 % of 96 x 192), what share of the score with all labels?",
    answer=None, unit="%"
)
asked
''')
code('''
from cityseg_utils import campaigns

stored = campaigns.read()
pixels = stored.xs(("MiniCity", "pixel", "labels alone"))["mean IoU"]
frames = stored.xs(("MiniCity", "whole frame", "labels alone"))["mean IoU"]
frames = frames.groupby("strategy").mean()
whole = frames[["all labels", "all labels, Dice"]].max()  # the better of two losses
curves = pixels.groupby(["answers", "strategy"], sort=False).mean().unstack(sort=False)
exercises.compare(asked, round(100 * curves.loc[80, "random"] / whole))
''')
code('''
shown = curves.assign(**{"all labels": whole})
figure = plots.lines(shown, "labelled pixels an image", "mean IoU", "five ways to ask", log=True)
plots.show(figure, "Mean IoU over the number of labelled pixels, for five ways to ask")
''')
md('''
Is any of them above **both** kinds of chance? One number for a whole campaign is the mean of its rounds, without the first, which all share:
''')
code('''
later = pixels.drop(campaigns.BUDGETS[0], level="answers")
area = later.groupby(["strategy", "seed"], sort=False).mean()
area = area.rename_axis(["configuration", "seed"]).to_frame()
both = {chance: statistics.compared(area, chance) for chance in ("random", "stratified random")}
pd.concat(both, axis=1).round(3)
''')
md('''
STRATEGYTEXT

## Parts instead of pixels, photographs instead of drawings
''')
code('''
OTHERTABLE
''')
md('''
OTHERTEXT

## And the pixels that nobody named?

Each image has forty labelled pixels and thousands without a label. Lesson 13 has methods for those: a teacher labels them, and the student learns from mixtures. (Its best method pastes classes of labelled streets. Single pixels cannot be pasted, so here classes of other streets are, as the teacher labels them.) A step costs 2.3 times as much, so the labels alone get 2.3 times the steps as a control.
''')
code('''
TAUGHTTABLE
''')
md('''
TAUGHTTEXT

## Now you

Here are ten streets that no training has seen the labels of, and ten questions about each. Set `PERSON = True` and `FOLDER = "my answers"` at the top, run the cells down to here, and answer; then run the rest. You can do all of it with one hand: `e` takes the network's guess, `1` to `9` name the likeliest classes, `w` skips, `q` says that you cannot tell, `z` takes an answer back. Each answer is on the disk before the next question comes; close the page, and it goes on where you left it. (Do not let the guess tempt you: who only presses `e` teaches the network its own mistakes.)
''')
code('''
from cityseg_utils import widgets

home = Path(FOLDER or folder / "mine")
mine = annotations.AnswerLog(home / "answers.jsonl", scheme)
my_pool = active_learning.Pool(fresh, scheme, SIZE, mine)
before = models["margin"][40]
look = active_learning.look_with(before, fresh, SIZE)
if not (home / "questions.json").exists():  # else go on with those of before
    way, rng = active_learning.STRATEGIES["stratified random"], np.random.default_rng(0)
    home.mkdir(parents=True, exist_ok=True)
    (home / "questions.json").write_text(json.dumps(my_pool.questions(way, 10, look, rng)))
questions = json.loads((home / "questions.json").read_text())
annotator = widgets.annotate(fresh, mine, lambda k: look(k)[0], questions, folder=home)
annotator
''',"nbval-ignore-output")
code('''
if not PERSON:
    my_pool.ask(annotations.Oracle(fresh, scheme), questions)
answers = mine.answers
print(f"{len(answers)} answers, {annotations.clicks(answers)} clicks")
if PERSON and answers:
    print(f"{sum(answer.seconds for answer in answers) / len(answers):.1f} s an answer")
''')
md('''
Now the network learns once more from the beginning: from all that it knew after the campaign by margin, and from your answers. How much did they change? With another seed a training ends elsewhere anyway, so the control is one with another seed and *without* your answers.
''')
code('''
log = annotations.AnswerLog(folder / "margin" / "answers.jsonl", scheme)
had = active_learning.Pool(train, scheme, SIZE, log).write(folder / "had")
both = pd.concat([had, my_pool.write(folder / "with mine")])
after = {
    "before": before,
    "with your answers": learn(both),
    "another seed, without them": learn(had, seed=1),
}
''')
code('''
streets = {"your ten streets": fresh, "unseen streets": val}
table = pd.DataFrame(
    {name: {k: scores_on(x, rows).mean_iou() for k, x in after.items()} for name, rows in streets.items()}
)
table.round(3)
''',"nbval-ignore-output")
md('''
With one seed on each side nobody can tell what your hundred answers changed on unseen streets: the row without them moved about as much. Beside the 4,400 answers that were there before, a hundred are few. (Your ten streets are *training* streets in the second row, so that column is no test at all.) To know, one would repeat all three rows with other seeds, as the campaigns did.

## What a budget buys
''')
code('''
SECONDS = 2.5  # an answer; put in what you needed
hours = {f"{n} pixels an image": n * 120 * SECONDS / 3600 for n in campaigns.BUDGETS}
prices = pd.DataFrame({"hours": hours})
prices["mean IoU"] = curves["stratified random"].to_numpy()
prices.loc["4 whole frames"] = 4 * 1.5, frames["4 whole frames, Dice"]
prices.loc["all 120 frames, whole"] = 120 * 1.5, whole
prices["share of the score"] = prices["mean IoU"] / whole
prices.round(2)
''')
md('''
BUDGETTEXT

**Your own photographs.** `widgets.annotate` takes any frames, with `models.load_reference()` as the first guess (it has learned from drawn streets alone, so expect little of it on photographs), with a brush, superpixels and a fill tool. `annotations.save` turns the answers into a folder that `datasets.open_dataset` opens, so every lesson of this course runs on it; `annotations.save_cityscapes` writes label maps and polygons as Cityscapes has them. [data/README.md](../data/README.md) says how to make a table of your photographs.

## Exercises

**1.** A network gives a pixel 0.5 for sidewalk, 0.4 for road, 0.1 for terrain and nothing for the rest. What is its margin?
''')
code('''
answer = ...
exercises.check_margin(answer, probabilities=[0.5, 0.4, 0.1])
''')
md('''
**2.** In a campaign a person answers 80 pixels in each of 120 images, 2.5 seconds each. How many fully labelled frames, at 90 minutes each, is the same time worth? (A decimal number.)
''')
code('''
answer = ...
exercises.check_whole_frames(answer, pixels=80, images=120, seconds=2.5, minutes=90)
''')
md('''
**3.** Write a third way to be unsure: ask about the pixels whose *likeliest* class has the smallest probability, and never about those that are True in `asked`.
''')
code('''
def least_confident(scores, asked, number):
    \"\"\"Return so many places in a flattened frame; (H, W, C) scores, (H, W) bool asked.\"\"\"
    ...


exercises.check_least_confident(least_confident)
''')
md('''
Solutions: [solutions/14_active_learning.ipynb](solutions/14_active_learning.ipynb). Try first.

## What you saw

- A network is wrong far more often where it is unsure.
- The pixels of the highest entropy are neighbours, and their answers say the same thing; those of the smallest margin lie on lines through the whole street.
- A strategy has to beat chance twice: plain chance, and chance that draws classes evenly. Questions about void cost a click and give no label.
- SAWSTRATEGY
- SAWSHARE
- A hundred clicks are few. With one seed nobody can tell what they changed.

## Quiz

1. A paper compares its strategy with random pixels alone, and wins. Which two controls are missing?
2. The score of a campaign rises from round to round, and each round goes on training the same network. What has risen besides the number of answers?
3. Your tool shows a person pixels that are void only seldom, and without looking at any label. How could it?

<details><summary>Answers</summary>

1. Random pixels drawn evenly from the classes that the model predicts: part of the gain may be that rare classes are met more often, which needs no doubt. And whole frames for the same time of a person.
2. The number of steps. Nobody knows then whether new answers helped or more training. That is why each round here trains from the beginning.
3. By what it has already been told: the bonnet lies at the same place in every frame, and after some answers of "I cannot tell" it can learn where such pixels lie. These first answers are paid for.

</details>

**Next:** fifteen lessons of methods. Which of them is worth what, at equal cost, on streets that none of them has ever seen?
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/14.ipynb").write_text(nbf.writes(nb))
