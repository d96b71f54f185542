"""Draft of lesson 10 on the studies "networks" and "ImageNet on photographs" (PLANNED); words in capitals wait for them."""
import nbformat as nbf
from pathlib import Path
old=nbf.read("/work/main/notebooks/10_architectures_and_backbones.ipynb",4)
first=nbf.read("/work/main/notebooks/13_semi_supervised_learning.ipynb",4).cells[1].source
cells=[]
def md(s): cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
def code(s,*tags): cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(tags)} if tags else {}))
md(r'''
# 10 · Architectures and backbones

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/10_architectures_and_backbones.ipynb)

U-Net with ResNet-34 was the first project's choice. There are hundreds of others, and each paper says that its own is best. In this lesson you build several with one call, weigh them, and compare them fairly: not for the same number of steps, but for the same *time of a processor*. And you find out what weights from ImageNet are worth, on drawn streets and on real ones.

**You will learn**

- what U-Net, LinkNet, FPN and PSPNet do differently, and what a backbone is;
- that parameters, operations and time are three different costs, and rank networks differently;
- to compare networks at equal cost, and to read a Pareto picture;
- what a network that has seen ImageNet knows, and when to freeze it.

**Before this:** [lesson 09](09_losses_and_hyperparameters.ipynb). **Words:** [glossary](glossary.md); sizes and ids: [cheat sheet](cheat_sheet.md).
**Time and memory:** TIMEMEMORY; the full comparison, whose results are stored, took hours.
**Opens the modules** `cityseg_utils/models.py`, `cityseg_utils/encoders.py` and `cityseg_utils/experiments.py`.
''')
code(first)
code('''
DATA = None  # a folder; None: $CITYSEG_DATA if it is set, else the embedded MiniCity
SIZE = (96, 192)  # height, width; multiples of 96: PSPNet needs 48, the others 32
STEPS = 120  # of each of the two trainings below
ONE_MORE = None  # a seed that is not stored, such as 7: one more run of the study, minutes
''',"parameters")
code('''
import pandas as pd

from cityseg_utils import datasets, exercises, framework, models, plots, prediction, recipes
from cityseg_utils import statistics, studies

framework.set_seed(0)
tf = framework.load_tensorflow()
pairs, scheme = datasets.open_dataset(DATA)
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
print(scheme.num_classes, "classes")
''')
cells.append(old.cells[4])   # Encoder and decoder
md('''
And the **small network** of the lessons before: a U-Net whose encoder, EfficientNet-Lite0, was made for phones, and a decoder of few channels, which ends at half of the picture's size and enlarges its answer.
''')
code('''
networks = {
    name: models.build_model(scheme.num_classes, (*SIZE, 3), backbone, architecture)
    for name, (architecture, backbone, _) in studies.RIVAL_NETWORKS.items()
}
small = studies.PRETRAINED.but(encoder_weights=None)
networks["small"] = recipes.make_model(small, scheme.num_classes)
print(*networks, sep=", ")
''')
md('''
## Three costs

**Parameters** are what must be stored. **Operations** are additions and multiplications for one picture; a convolution uses each of its weights at each pixel of its output, once to multiply and once to add. (Many papers count the two as one, "multiply-adds": then the figures are half of ours.) By hand, for the first convolution of a ResNet: 7 x 7 x 3 weights for each of 64 channels, at half the size.
''')
code('''
by_hand = 2 * (SIZE[0] // 2) * (SIZE[1] // 2) * 7 * 7 * 3 * 64
print(f"{by_hand / 1e9:.3f} billion operations, with {7 * 7 * 3 * 64:,} parameters")
''')
code('''
most = exercises.predict(
    "Which network needs the most operations?", answer=None, choices=list(networks)
)
most
''')
code('''
costs = pd.DataFrame(
    {
        "million parameters": {n: m.count_params() / 1e6 for n, m in networks.items()},
        "billion operations": {n: models.operations(m, SIZE) / 1e9 for n, m in networks.items()},
    }
)
costs.round(2)
''')
code('''
exercises.compare(most, costs["billion operations"].idxmax())
''')
md('''
FPN needs the most operations, though its encoder is the smaller ResNet-18. A weight near the input is used at thousands of pixels, one in the deepest stage at 3 x 6 = 18. This FPN has 3 x 3 convolutions that read 256 and 512 channels at up to *half* the size of the picture; there its cost is. And PSPNet's "ResNet-34" has lost nearly all of ResNet-34's weights, for they sit in the stages that were cut off.

And **time**? First that of a prediction:
''')
code('''
asked = exercises.predict(
    "FPN needs some four times the operations of the U-Net with ResNet-18. How many times the time?",
    answer=None,
    unit="times",
)
asked
''')
code('''
costs["milliseconds"] = {n: 1000 * models.seconds_per_image(m, SIZE) for n, m in networks.items()}
costs["ms per billion"] = costs["milliseconds"] / costs["billion operations"]
costs.sort_values("milliseconds").round(1)
''',"nbval-ignore-output")
code('''
time = costs["milliseconds"]
exercises.compare(asked, round(time["FPN, ResNet-18"] / time["U-Net, ResNet-18"], 1))
''',"nbval-ignore-output")
md('''
Operations tell the time only roughly: look at the last column. A layer that does little with each number that it reads may wait for memory (which no cell here measures). On your machine, and more so on a GPU, the order may be another: **measure where it will run**.

## The same time for each

With the same number of *steps*, the large network gets more computing. If you pay for hours, compare equal hours. (If you train once and use the network for years, train each until it stops gaining; that costs more than we have.) So here each gets the same **processor time**, the seconds that a core works for you, whatever the clock on the wall says: that of 900 steps of the small network. We timed steps of all of them once, by turns, with reading and changing of frames (`python benchmarks/networks.py --equal`), and gave each as many as fit.

    python -m cityseg_utils.studies networks
''')
code('''
names = {"all, 900 steps": "small, ImageNet", "frozen": "small, ImageNet, frozen"}
stored = studies.read("networks").rename(names | {"random weights": "small"})
spent = stored.groupby("configuration", sort=False)[["steps", "processor seconds"]].mean()
spent["seconds a step"] = spent["processor seconds"] / spent["steps"]
spent.round(2)
''')
code('''
random_ones = stored.drop(list(names.values()), level="configuration")
best = exercises.predict(
    "All from random weights: which has the highest mean IoU on unseen cities after that time?",
    answer=None,
    choices=list(random_ones.index.unique("configuration")),
)
best
''')
code('''
means = statistics.means(stored)
figure = plots.seed_intervals(means, stored["mean IoU"], "mean IoU on unseen cities, equal time")
plots.show(figure, "Mean IoU of each network with its seeds and intervals, after equal processor time")
''')
code('''
exercises.compare(best, means.loc[random_ones.index.unique("configuration"), "mean"].idxmax())
''')
code('''
margins = {"mean IoU": 0.02, "pixel accuracy": 0.005}
both = {x: statistics.compared(random_ones, "small", x, margin=m) for x, m in margins.items()}
pd.concat(both, axis=1).round(3)
''')
code('''
stored["mean IoU on train"].groupby("configuration", sort=False).mean().round(3)
''')
md('''
NETWORKSTEXT (beside train scores: under- or overfitted?) (All learn with the recipe that was found for the small network: rate, loss, changed frames. Another rate may suit another network better, so this comparison favours the small one. Only the small one has ImageNet's weights in the course; the others' would have to be fetched.)

## Better or faster

Two networks are hard to compare if one is better and the other faster. But if one is better *and* faster, the other is out. What is left is the **Pareto front**, once by mean IoU and once by accuracy:
''')
code('''
costs.loc["small, ImageNet"] = costs.loc["small"]
for score in ("mean IoU", "pixel accuracy"):
    figure = plots.trade_off(
        costs["milliseconds"], statistics.means(stored, score), "milliseconds per image", score
    )
    plots.show(figure, f"{score} against time per image, with intervals")
''',"nbval-ignore-output")
md('''
Near the front seeds decide: look at the interval of the *difference*, in the table above. And the scores hold after this time of training, not for ever.

## What ImageNet knows

ImageNet's photographs show mostly single things, a few of them from the street, and nobody drew masks for them. Still, a network that has learned to name what they show has filters for edges, textures, wheels and leaves. What is that worth here? Live, `STEPS` steps each on frames as they are, first from random weights and then from ImageNet's:
''')
code('''
gain = exercises.predict(
    "By how many points of mean IoU is the second one ahead?", answer=None, unit="points"
)
gain
''')
code('''
ways = {"random weights": {"encoder_weights": None}, "ImageNet": {}}
live = {}
for name, change in ways.items():
    recipe = studies.PRETRAINED.but(steps=STEPS, **change)
    model = recipes.train(recipe, train, scheme).model
    live[name] = prediction.evaluate(model, val, scheme, recipe.size).mean_iou()
pd.Series(live, name=f"mean IoU after {STEPS} steps").round(3)
''',"nbval-ignore-output")
code('''
exercises.compare(gain, round(100 * (live["ImageNet"] - live["random weights"]), 1))
''',"nbval-ignore-output")
md('''
That is early, and one seed. After the full time on drawn streets, and after 600 steps on CamVid's photographs, a drive left out (frozen: the steps that take as long):

    python -m cityseg_utils.studies "ImageNet on photographs" --camvid /path/to/camvid
''')
code('''
photographs = studies.read("ImageNet on photographs")
ways = {"small, ImageNet": "ImageNet", "small, ImageNet, frozen": "frozen", "small": "random"}
drawn = stored.rename(ways).loc[list(ways.values())]
real = photographs.rename({"two drives": "ImageNet", "random weights": "random"})
tables = {"drawn streets": drawn, "photographs": real}
worth = {name: statistics.compared(table, "ImageNet") for name, table in tables.items()}
pd.concat(worth).round(3)
''')
code('''
now = {f"{name}, {STEPS} steps": score for name, score in live.items()}
figure = plots.seed_intervals(
    statistics.means(drawn), drawn["mean IoU"], "mean IoU on unseen cities", now=now
)
plots.show(figure, "Mean IoU with and without ImageNet's weights, and of the two trainings above")
''')
code('''
scores = ["mean IoU", "mean IoU on train", "steps"]
pd.concat({x: y.groupby("configuration")[scores].mean() for x, y in tables.items()}).round(3)
''')
md('''
IMAGENETTEXT

### Freezing

A fresh decoder sends large, random gradients back into the encoder and can spoil good weights. So one often **freezes** the encoder at first. We asked a simpler question: is an encoder that never learns good enough, if it lets you do nearly twice the steps in the same time? ("frozen" in the tables; BatchNorm keeps ImageNet's averages there, too.) FREEZETEXT
''')
code('''
def learning(model):
    """Count the weights that training changes."""
    return sum(int(tf.size(weight)) for weight in model.trainable_weights)


frozen = recipes.make_model(small.but(freeze_encoder=True), scheme.num_classes)
before = learning(frozen)
models.unfreeze(frozen)
print(f"{before / learning(frozen):.0%} of the small network's weights learn while it is frozen")
''')
md('''
(Compile the model anew after unfreezing; Keras decides then what it trains.)

## And newer ones?

segmentation-models stands still since 2020. What came after it?

- **DeepLabV3+** ([2018](https://arxiv.org/abs/1802.02611)) looks at several distances at once with *dilated* convolutions, whose weights reach for pixels farther apart, and keeps a fine map to draw borders with.
- **SegFormer** ([2021](https://arxiv.org/abs/2105.15203)) has a *transformer* for an encoder, in which every place of the picture may look at every other, and a very small decoder.

[KerasHub](https://keras.io/keras_hub/) has both, [segmentation-models-pytorch](https://github.com/qubvel-org/segmentation_models.pytorch) these and many more, and [Transformers](https://huggingface.co/docs/transformers/tasks/semantic_segmentation) SegFormer and its successors. What you have learned here holds for them: an encoder with weights from elsewhere, a decoder, one comparison at equal cost.

## One more seed

`ONE_MORE = 7` at the top trains one more seed of "small, ImageNet", some seven minutes of one core.
''')
code('''
if ONE_MORE is not None:
    more = studies.one_more("networks", "all, 900 steps", ONE_MORE)
    figure = plots.seed_intervals(statistics.means(more), more["mean IoU"], "mean IoU, val")
    plots.show(figure, "Mean IoU of each network, one more seed among them")
''')
md('''
## Exercises

**1.** How many operations does a 3 x 3 convolution from 64 to 128 channels need on a picture of 48 x 96 (output of the same size; additions and multiplications each count)?
''')
code('''
answer = ...
exercises.check_operations(answer, size=(48, 96), kernel=3, channels=(64, 128))
''')
md('''
**2.** Write a function that finds the Pareto front: the names of all networks for which no other is at least as fast and as good, and better in one of the two.
''')
code('''
def front(time, score):
    """Return the set of names; time and score are Series with the same index."""
    ...


exercises.check_front(front)
''')
md('''
**3.** A paper compares its new network with a U-Net. The new one had ImageNet's weights, 300 epochs and crops; the U-Net's figure is quoted from a paper of 2016. Which *one* further run tells most about whether the *architecture* is better: `"a U-Net with all three"`, `"the new one from random weights"`, or `"the new one with 600 epochs"`?
''')
code('''
answer = ...
exercises.check_telling_run(answer)
''')
cells.append(nbf.v4.new_markdown_cell('''Solutions: [solutions/10_architectures_and_backbones.ipynb](solutions/10_architectures_and_backbones.ipynb). Try first.

## What you saw

- An encoder says what, a decoder says where; they can be combined at will, with one call.
- Parameters, operations and time are three costs. They rank networks differently, and time depends on the machine.
- SAWNETWORKS
- SAWIMAGENET
- A network off the Pareto front has a rival that is at least as fast and as good. Near the front, seeds decide.

'''+old.cells[40].source[old.cells[40].source.index("## Quiz"):]))
nb=nbf.v4.new_notebook(cells=cells)
words=sum(len(c.source.split()) for c in cells if c.cell_type=="markdown"); print("words", words)
Path("/tmp/try/10.ipynb").write_text(nbf.writes(nb))
