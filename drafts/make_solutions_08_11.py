"""Drafts of the solutions of lessons 08 to 11 as build08 to build11 have the exercises: python make_solutions_08_11.py OUT"""
import sys
import nbformat as nbf
from pathlib import Path
old=nbf.read("/work/main/notebooks/solutions/13_semi_supervised_learning.ipynb",4)
def notebook(number, slug, title, time, cells):
    made=[]
    head=f'''# Solutions {number} · {title}

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/solutions/{number}_{slug}.ipynb)

Solutions to the exercises of [lesson {number}](../{number}_{slug}.ipynb). Try them yourself first: a solution that you have read is forgotten by tomorrow, one that you have found is not. **Time and memory:** {time}.'''
    made.append(nbf.v4.new_markdown_cell(head))
    first=old.cells[1].copy(); first.outputs=[]; first.execution_count=None; made.append(first)
    for kind,source,*tags in cells:
        source=source.strip("\n")
        made.append(nbf.v4.new_markdown_cell(source) if kind=="md" else nbf.v4.new_code_cell(source,metadata={"tags":tags} if tags else {}))
    Path(sys.argv[1]).joinpath(f"{number}_{slug}.ipynb").write_text(nbf.writes(nbf.v4.new_notebook(cells=made)))
notebook("08","augmentation_experiments","Augmentation","20 s on 2 CPU cores, 1 GB",[
("code","TRAIN = False  # True: train for exercise 3, some two minutes","parameters"),
("code",'''
import numpy as np

from cityseg_utils import augmentation as a
from cityseg_utils import datasets, exercises, prediction, recipes, statistics, studies
'''),
("md",'''
## 1. To the right

Fill with gray and with void, and copy what is left. Void, for nobody knows what came in: any class would be made up, and learned.
'''),
("code",'''
def shift(image, mask, n):
    """Return both moved n pixels to the right; (H, W, 3) float in 0 .. 1, and (H, W) uint8."""
    moved, labels = np.full_like(image, 0.5), np.full_like(mask, 255)
    width = mask.shape[1]
    moved[:, n:], labels[:, n:] = image[:, : width - n], mask[:, : width - n]
    return moved, labels


exercises.check_shift(shift)
'''),
("md",'''
## 2. How many recipes

Each recipe needs so many seeds, and six hours have so many runs:
'''),
("code",'''
seeds = statistics.seeds_for(0.01, 0.008)
runs = 6 * 60 / 7
print(seeds, "seeds,", int(runs), "runs")
exercises.check_recipes_in_time(int(runs / seeds), minutes=7, hours=6, effect=0.01, deviation=0.008)
'''),
("md",'''
## 3. Changes of your own

Mirrors and colours keep the street's size, so that even 60 steps can use them. (OWNRESULT: what came out when we ran it.)
'''),
("code",'''
mine = a.Compose(a.Flip(), a.Colors(0.3))
answer = {"control": [0.1, 0.1], "mine": [0.2, 0.2]}  # of a run with TRAIN = True
if TRAIN:
    pairs, scheme = datasets.open_dataset(None)
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    few = train.iloc[::8]
    both = {"control": studies.PRETRAINED, "mine": studies.PRETRAINED.but(augment=mine)}

    def score(recipe, seed):
        model = recipes.train(recipe.but(steps=60), few, scheme, seed).model
        return prediction.evaluate(model, val, scheme, (96, 192)).mean_iou()

    answer = {name: [score(recipe, seed) for seed in (0, 1)] for name, recipe in both.items()}
exercises.check_own_changes(answer)
'''),
])
notebook("09","losses_and_hyperparameters","Losses and hyperparameters","10 s on 2 CPU cores, 1 GB",[
("code",'''
import numpy as np

from cityseg_utils import exercises
'''),
("md","## 1. Where a pixel counts a tenth\n\nThe factor is $(1 - p)^2$. It is 0.1 where $1 - p = \\\\sqrt{0.1}$."),
("code","exercises.check_focal_likelihood(1 - 0.1**0.5, factor=0.1, focus=2)"),
("md","## 2. Class weights"),
("code",'''
def class_weights(pixels):
    """Return a weight for each class; pixels is an array with one number per class."""
    return np.sqrt(pixels.max() / pixels)


exercises.check_class_weights(class_weights)
'''),
("md","## 3. Three comparisons\n\nA gives both the same care. In B one loss learns at a rate that was chosen for the other. C shows the best three of ten beside three of three: more tries, a higher best."),
("code",'exercises.check_comparisons({"A": "nothing", "B": "one was tuned", "C": "the best were picked"})'),
("md","## 4. What is left of the start\n\nAfter n steps $0.99^n$ of it. So n is the first whole number above $\\\\log 0.01 / \\\\log 0.99$."),
("code",'''
steps = int(np.floor(np.log(0.01) / np.log(0.99))) + 1
exercises.check_left_of_start(steps, momentum=0.99, share=0.01)
'''),
])
notebook("10","architectures_and_backbones","Architectures and backbones","some seconds on 2 CPU cores, 1 GB",[
("code","DATA = None  # not needed here; as in the lesson","parameters"),
("code","from cityseg_utils import exercises"),
("md","## 1. Operations of a convolution\n\nEach of its 3 x 3 x 64 x 128 weights is used at each of the 48 x 96 pixels, once to multiply and once to add."),
("code",'''
answer = 2 * 48 * 96 * 3 * 3 * 64 * 128
print(f"{answer:,}")
exercises.check_operations(answer, size=(48, 96), kernel=3, channels=(64, 128))
'''),
("md","## 2. The Pareto front\n\nA network is on the front if no other is at least as fast and at least as good, and better in one of the two."),
("code",'''
def front(time, score):
    """Return the set of names; time and score are Series with the same index."""
    names = set()
    for name in time.index:
        as_good = (time <= time[name]) & (score >= score[name])
        better = (time < time[name]) | (score > score[name])
        if not (as_good & better).any():
            names.add(name)
    return names


exercises.check_front(front)
'''),
("md","## 3. The telling run\n\nThe new network differs from the quoted U-Net in four things: architecture, first weights, epochs and crops. A U-Net with the same weights, epochs and crops leaves one of them. The new one from random weights would tell what ImageNet is worth to *it*, and 600 epochs only make the difference larger."),
("code",'exercises.check_telling_run("a U-Net with all three")'),
])
notebook("11","how_much_data","More data","some seconds on 2 CPU cores, 1 GB",[
("code","DATA = None  # not needed here; as in the lesson","parameters"),
("code",'''
import numpy as np

from cityseg_utils import exercises
'''),
("md","## 1. The exponent from two points\n\nFour times the streets multiply the error by 4 to the power of -b. So b = log(0.6 / 0.5) / log(400 / 100)."),
("code",'''
answer = np.log(0.6 / 0.5) / np.log(400 / 100)
print(round(answer, 4))
exercises.check_exponent(answer, numbers=(100, 400), errors=(0.6, 0.5))
'''),
("md","## 2. Streets for a goal\n\nSolve error = a n^-b for n."),
("code",'''
def streets_needed(mean_iou, a, b):
    """Return the number of streets, as a float."""
    return (a / (1 - mean_iou)) ** (1 / b)


exercises.check_streets_needed(streets_needed)
'''),
("md","## 3. Short of what?\n\nA knows its own streets twice as well as others: more streets. B is low on both and still learns: more steps. D is low on both and has stopped: a larger network. C is high on both; what is missing there, these two numbers do not tell."),
("code",'''
exercises.check_shortages(
    {"A": "data", "B": "steps", "C": "nothing that this tells", "D": "a larger network"}
)
'''),
])
