import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/11_how_much_data.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 14 · Active learning: let the network ask

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/14_active_learning.ipynb)

Labelling one frame of Cityscapes took a person ninety minutes. Many of the labelled pixels are ones that a network soon gets right: the middle of the road, the middle of the sky. The second project turned this around. The network asks about a pixel, a person says what it is, the network learns, and asks again. The person only clicks, and each click should be useful. That is **active learning**, and several rounds of it are a *campaign*. In this lesson a network asks *you*, and before that you find out how clever its questions are.

**You will learn**

- to see where a network is unsure, and whether it really is wrong there;
- two ways to be unsure, and where their questions lie;
- to compare ways of asking: with their cost, controls and seeds;
- to answer a hundred questions yourself, and to say what they changed and what they did not.

**Before this:** [lesson 13](13_semi_supervised_learning.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** two minutes on 2 CPU cores, 1.6 GB, and as long as you like to click; the full comparison, whose results are stored, took hours.
**Opens the modules** `cityseg_utils/active_learning.py`, `annotations.py` and `widgets/annotator.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
STEPS = 60  # of each of the three trainings below
FOLDER = None  # a name for all that is made here, such as "my answers"; None: a new one
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
folder = Path(FOLDER or tempfile.mkdtemp())
log = annotations.AnswerLog(folder / "answers.jsonl", scheme)
pool = active_learning.Pool(train, scheme, SIZE, log)
oracle = annotations.Oracle(train, scheme)
''')
code('''
rng = np.random.default_rng((0, 0))  # seed 0, round 0
blindly = active_learning.blindly(scheme.num_classes, SIZE)  # there is no model yet
if not log.answers:  # else this cell has run before
    questions = pool.questions(active_learning.STRATEGIES["random"], 10, blindly, rng)
    pool.ask(oracle, questions)
print(f"{len(log.answers)} answers: {10 / np.prod(SIZE):.2%} of the pixels")
''')
md('''
A network learns from them as from whole masks. In the training files all other pixels are void, and void is never trained on (lesson 05). (So there are two kinds of void, *nobody asked* and *nobody can tell*; the pool keeps them apart.) Two things change. The loss is a cross-entropy with class weights: with ten pixels a frame only about half of the classes have a labelled pixel in a batch, often a single one, and the Dice of one pixel is mostly noise. And the labels are *points*: if a frame is enlarged, each stays one pixel (`points=True`); copied to its neighbours, as the nearest-neighbour rule of lesson 02 would do, it would count more.
''')
code('''
from cityseg_utils import prediction, recipes, statistics, studies

recipe = studies.PRETRAINED.but(
    size=SIZE,
    steps=STEPS,
    loss="weighted cross-entropy",
    augment=Compose(ScaleAndCrop(SIZE, (1.0, 1.6), points=True), Flip()),
    refresh=8,  # batches, for the averages of BatchNorm (lesson 06)
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
''')
md('''
White is unsure; each map has a scale of its own. The margin draws thin white lines where the network's answer changes from one class to another, which need not be where the street's classes meet. The entropy is spread over whole regions. How well does that fit the mistakes?
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
    "The 20 pixels of highest entropy: how far is a typical one from the nearest other of them?",
    answer=None,
    unit="pixels",
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
for two in (["highest entropy", "smallest margin"], ["among small margins", "random"]):
    figure = plots.grid([[dotted(ways[way]) for way in two]], two)
    plots.show(figure, "A street with dots at twenty pixels: " + ", ".join(two))
''')
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
In this street the questions by entropy lie in heaps at the rim. Neighbours often have the same label, so we expect twenty such answers to tell little; no campaign here tests that. By margin they lie five times as far apart, though still closer than chance has them. The maps suggest why: entropy is high in *areas*, and the margin is 0 on *lines*, where one class takes over from the next.

[PixelPick](https://arxiv.org/abs/2104.06394) (Shin and others, 2021) draws at random among the 5 % of pixels with the smallest margin: partly random, partly by margin. (In our table these lie no further apart than the twenty smallest margins themselves.)

By hand, that is two lines. A strategy of the package gets what a model says of a frame (`Seen`: its probabilities, those for the mirrored frame, and what was asked before). It returns places in the frame, counted row by row from 0; `seen.free` holds those that were not asked about yet:
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

Before we praise cleverness, a look at what it has to beat.
''')
code('''
road = exercises.predict("Of a hundred random pixels, how many are road?", answer=None)
road
''')
code('''
def classes_of(strategy, number=50):
    \"\"\"Return the share of each class among the true labels of what a strategy asks about.\"\"\"
    rng, found = np.random.default_rng(0), []
    for k in range(0, len(train), 4):
        truth = prep.read_mask(train["mask"].iloc[k], scheme, SIZE).ravel()
        seen = active_learning.Seen(*look(k), np.zeros(SIZE, bool))
        found.append(truth[active_learning.STRATEGIES[strategy](seen, number, rng)])
    return np.bincount(np.concatenate(found), minlength=256) / (len(found) * number)


shares = pd.DataFrame({x: classes_of(x) for x in ("random", "stratified random", "margin")})
table = shares.iloc[: scheme.num_classes].set_axis(list(scheme.names))
table.loc["void"] = shares.loc[255]
table.sort_values("random", ascending=False).round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(road, round(100 * table["random"].get("road", 0)))
''')
md('''
Chance asks about what there is most of. **Stratified** random is nearly as simple: draw one of the classes that the model *predicts* in the frame, each with the same chance, then one of its pixels. It needs no doubt at all, and asks less about road and more about most others. (0.001 is one or two pixels of 1,400: do not read the last rows.) This is the second control.

Look at the row "void", too. About one question in nine is about a pixel that nobody can name: mostly the car's own bonnet, or the black wedges at the picture's edge. The person looks, says "I cannot tell", and the click is gone. PixelPick's published code leaves void pixels out of its questions, by looking them up in the labels. No person could work like that, so the clicks for void are missing from its count. Here they are counted.

## It asks, and learns

Now the network asks: thirty more pixels of each frame, by margin. The oracle answers, and a network learns anew, *from the beginning*, from all forty.
''')
code('''
asked = exercises.predict(
    "Four times the answers: what mean IoU will the new network have?", answer=None
)
asked
''')
code('''
def campaign(strategy):
    """Return the model after each round, by the number of answers an image."""
    rounds = active_learning.campaign(
        strategy,
        (10, 40),
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
models = campaign("margin")
small = pd.Series({n: scores_on(model, val).mean_iou() for n, model in models.items()})
small.rename("mean IoU").rename_axis("pixels an image").round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(asked, round(small[40], 2))
''',"nbval-ignore-output")
code('''
print("more answers, a higher score:", "yes" if small[40] > small[10] else "no")
''')
md('''
## Who asks best?

More labels, a better network: that is no wonder, and no merit of the margin. To compare ways of asking takes several of them, with the same number of answers, and seeds. The stored campaigns have that: five strategies, four rounds up to 80 pixels an image, and three seeds (two for the two new strategies). They are larger than what you have just run: all 120 train frames at 96 x 192, 600 steps, and 400 val streets to be scored on. Two strategies are new. *Stratified margin* draws a predicted class evenly, then its least sure pixel, with some noise that halves each round. *Disagreement* draws among the 5 % of pixels where the answers for a frame and for its mirror image differ most.

    python -m cityseg_utils.campaigns random "stratified random" margin "stratified margin" disagreement

Before you look, three things that the campaigns leave out. The oracle is never wrong and never tired; a person probably makes more mistakes at borders, where margin and disagreement like to ask. Each answer costs the same. And each frame gets the same number of questions, so this is about *where in a frame* to ask, not about which frames.
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
kind = ["data", "unit", "learner"]
pixels = stored.xs(("MiniCity", "pixel", "labels alone"), level=kind)["mean IoU"]
frames = stored.xs(("MiniCity", "whole frame", "labels alone"), level=kind)["mean IoU"]
frames = frames.groupby("strategy").mean()
whole = frames[["all labels", "all labels, Dice"]].max()  # the better of two losses
curves = pixels.groupby(["answers", "strategy"], sort=False).mean().unstack(sort=False)
exercises.compare(asked, round(100 * curves.loc[80, "random"] / whole))
''')
code('''
shown = curves.assign(**{"all labels": whole})
figure = plots.lines(shown, "labelled pixels an image", "mean IoU", "five ways to ask", log=True)
plots.show(figure, "Mean IoU over the number of labelled pixels, for five ways to ask, and all labels")
''')
md('''
(Two of the curves are means of two seeds, the others of three; that is why they begin a little lower, though all share the first round.)

Is any of them above **both** kinds of chance? One number for a whole campaign is the mean of its rounds, without the first, which all share:
''')
code('''
later = pixels.drop(campaigns.BUDGETS[0], level="answers")
area = later.groupby(["strategy", "seed"], sort=False).mean()
area = area.rename_axis(["configuration", "seed"]).to_frame()
both = {chance: statistics.compared(area, chance) for chance in ("random", "stratified random")}
columns = ["mean", "low", "high", "verdict"]
pd.concat({name: table[columns] for name, table in both.items()}, axis=1).round(3)
''')
md('''
Read the table twice. Beside plain chance on the left, all four are better, by four to six points. A paper could stop here. Beside the chance that draws classes evenly, on the right, **none is better**. Margin (three seeds) and stratified margin (two) show no difference of two points, which was called too small to matter before the first run. Disagreement, with two seeds, comes out below.

So what may margin have gained over plain chance? In the table of classes above (of our small network) it asks far less about road and more about buildings, sidewalks, poles and rarer things. Drawing the classes evenly also takes from road and gives to rarer classes, and needs no doubt, only a guess. That would explain the tie; no cell shows that it does. (Nor does this show that doubt is worth nothing. With more answers, larger networks or real streets it may begin to pay, and the second control may be worth less. It shows which control to ask for.)
''')
OTHERS = False  # until CamVid and superpixels are there with more than one seed
if OTHERS: md('''
## Parts instead of pixels, photographs instead of drawings
''')
if OTHERS: code('''
grounds = stored.xs("labels alone", level="learner").drop("whole frame", level="unit")["mean IoU"]
grounds = grounds[grounds.index.isin(["random", "stratified random", "margin"], "strategy")]
by = ["data", "unit", "strategy"]
table = grounds.groupby([*by, "answers"], sort=False).mean().unstack("answers")
table["seeds"] = grounds.reset_index().groupby(by)["seed"].nunique()
table.round(3).fillna("")
''')
if OTHERS: md('''
OTHERTEXT
''')
md('''
## And the pixels that nobody named?

Each image has forty labelled pixels and thousands without a label. Lesson 13 has methods for those: a teacher labels them, and the student learns from mixtures. (Its best method pastes whole classes out of labelled streets. Here no street has a whole class labelled, so what is pasted is cut out along the teacher's labels, from another street of the batch.) Such a training takes 1.6 times as long (`processor seconds` in the stored table). As a control the labels alone get 2.3 times the steps, which is more than their share: 1.4 times the teacher's time.
''')
code('''
way = ("MiniCity", "pixel", "stratified random", 40)
forty = stored.xs(way, level=["data", "unit", "strategy", "answers"])["mean IoU"]
forty = forty.rename_axis(["configuration", "seed"]).to_frame()
table = statistics.compared(forty, "labels alone for longer").add_prefix("difference: ")
scores = forty["mean IoU"].groupby("configuration", sort=False).mean()
table.insert(0, "of all labels", scores / whole)
table.insert(0, "mean IoU", scores)
table.round(3)
''')
md('''
The teacher, which helped in lesson 13, where whole streets had no label, shows no gain here over the labels alone with more steps: no difference of two points. (A control of exactly equal time was not run.) Why? One guess: where every street has labels of its own, there is less to add; and what is truly labelled cannot be pasted. It is a guess; no cell of this lesson tests it. (Two seeds; a gain, or a loss, of a point is not excluded.) Forty pixels with a teacher reach some five sixths of the score with all labels; twice as many pixels, and no teacher, reach more.

## Now you

Here are ten streets that no training has seen the labels of, and ten questions about each. Set `PERSON = True` and `FOLDER = "my answers"` at the top (a folder for your answers alone; in Colab one of your Drive, for the machine's own disk is lost with it). Then *Run > Run All Cells*, and wait: two minutes, and the tables at the end have none of your answers yet. Scroll back to here and answer. Then click the cell below the annotator and choose *Run > Run Selected Cell and All Below*.

You can do all of it with one hand. Click into the picture first, or the keys go to the notebook. `e` takes the network's guess, `1` to `5` the class on the button with that number. If the right one is not there, choose it in the list at the right and press `d`. `w` skips, `q` (its button: "unsure") says that you cannot tell, `z` takes an answer back. Each answer goes to the disk at once; a red line says so if it did not. To go on another day, run all cells again with the same `FOLDER`. (Do not let the guess tempt you: who only presses `e` teaches the network its own mistakes.)
''')
code('''
from cityseg_utils import widgets

home = folder / "mine"
mine = annotations.AnswerLog(home / "answers.jsonl", scheme)
my_pool = active_learning.Pool(fresh, scheme, SIZE, mine)
before = models[40]
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
if not PERSON and not mine.answers:
    my_pool.ask(annotations.Oracle(fresh, scheme), questions)
answers = mine.answers
print(f"{len(answers)} answers, {annotations.clicks(answers)} clicks")
if PERSON and answers:
    print(f"{np.median([answer.seconds for answer in answers]):.1f} s an answer, the median")
''')
md('''
Now the network learns once more from the beginning: from all that it knew after the campaign by margin, and from your answers. How much do they change?
''')
code('''
log = annotations.AnswerLog(folder / "margin" / "answers.jsonl", scheme)
had = active_learning.Pool(train, scheme, SIZE, log).write(folder / "had")
mine_too = [my_pool.write(folder / "with mine")] if answers else []
both = pd.concat([had, *mine_too])
who = "your" if PERSON else "the oracle's"
after = {
    "before": before,
    f"with {who} answers": learn(both),
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
Did they help on unseen streets? With another seed a training ends elsewhere anyway. From the spread over seeds of the stored campaigns (larger pictures, ten times the steps), this is how far two trainings may lie apart by chance, nineteen times of twenty:
''')
code('''
forty = pixels.xs(40, level="answers").rename_axis(["configuration", "seed"]).to_frame()
deviation, _ = statistics.spread(forty)
print(f"{2 * 2**0.5 * deviation:.3f}")
''')
md('''
So a gain, or a loss, of less than about two points may be luck, and more so in short trainings. Besides, your ten streets have ten labels each and the others forty, so in the same sixty steps the network meets fewer labels in all. Beside the 4,400 answers that were there before, a hundred are few. (Your ten streets are *training* streets in the second row, so that column is no test at all.) To know, one would repeat both rows with several seeds, as the campaigns did.

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
In the 50 minutes that ten pixels an image take, one gets as far as with four frames labelled whole, which take six hours. In little more than these six hours, eighty pixels, classes drawn evenly, in each of 120 streets reach nearly nine tenths of the score with all labels, which would take 180. So here a few labels in each of many streets were worth more than all labels of four (which were trained with Dice alone). (Ninety minutes is what Cityscapes reports of its own frames. A frame of MiniCity is smaller and would take less. And SECONDS is our guess: put in yours.)

**Your own photographs.** `widgets.annotate` takes any frames, with `models.load_reference()` as the first guess (it has learned from drawn streets alone, so expect little of it on photographs), with a brush, a fill tool and [superpixels](glossary.md) (small regions of similar pixels, labelled with one click; pass `segments=`). `annotations.save` turns the answers into a folder that `datasets.open_dataset` opens, as the lessons' `DATA`; `annotations.save_cityscapes` writes label maps and polygons as Cityscapes has them. [data/README.md](../data/README.md) says how to make a table of your photographs.

## Exercises

**1.** A network gives a pixel 0.55 for sidewalk, 0.3 for road, 0.15 for terrain and nothing for the rest. What is its margin?
''')
code('''
answer = ...
exercises.check_margin(answer, probabilities=[0.55, 0.3, 0.15])
''')
md('''
**2.** In a campaign a person answers 80 pixels in each of 120 images, 2.5 seconds each. How many fully labelled frames, at 90 minutes each, is the same time worth? (Three decimals.)
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
- The pixels of the highest entropy are neighbours; those of the smallest margin lie further apart.
- A strategy has to beat chance twice: plain chance, and chance that draws classes evenly. Questions about void cost a click and give no label.
- On MiniCity, margin beats plain chance clearly, and shows no difference of two points from chance that draws the predicted classes evenly. Who shows the first alone has shown half.
- Eighty pixels an image, 0.4 % of them, reach 77 % of the score with all labels if drawn by plain chance, and 89 % if the predicted classes are drawn evenly.
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

**Next:** lesson 15 will put all methods into one table; it is being built.
''')
nb=nbf.v4.new_notebook(cells=cells,metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}})
Path("/tmp/try/14.ipynb").write_text(nbf.writes(nb))
