import nbformat as nbf
from pathlib import Path
old=nbf.read("/work/main/notebooks/solutions/13_semi_supervised_learning.ipynb",4)
cells=[]
md=lambda s: cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
code=lambda s,*t: cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(t)} if t else {}))
md('''
# Solutions 15 · The benchmark

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/solutions/15_benchmark.ipynb)

Solutions to the exercises of [lesson 15](../15_benchmark.ipynb). Try them yourself first: a solution that you have read is forgotten by tomorrow, one that you have found is not. **Time and memory:** some seconds, 0.3 GB.
''')
cells.append(old.cells[1]); cells[-1].outputs=[]; cells[-1].execution_count=None
code('''
DATA = None  # not needed here; as in the lesson
''',"parameters")
code('''
import numpy as np

from cityseg_utils import exercises
''')
md('''
## 1. The largest Dice

If all classes have an IoU of 0.70, each has a Dice of 2 x 0.7 / 1.7, and so has the mean. Any spread makes it smaller: the curve from IoU to Dice bends down.
''')
code('''
largest = 2 * 0.70 / 1.70
spread = np.mean([2 * iou / (1 + iou) for iou in (0.5, 0.9)])  # their mean IoU is 0.70, too
print(f"equal {largest:.3f}, spread {spread:.3f}")
exercises.check_largest_dice(largest, mean_iou=0.70)
''')
md('''
## 2. Five papers

A: 0.925 / (2 - 0.925) is 0.860, so the IoU is micro. B: frames of one film lie in train and in test. C: where the union is empty, it writes 1. D: the peak was chosen on the frames that it is reported for. E: nineteen classes and twenty rows; without the twentieth, which is perfect, the mean is 0.779.
''')
code('''
print(f"A: {0.925 / (2 - 0.925):.3f}, E: {(20 * 0.79 - 1) / 19:.3f}")
papers = {"A": "micro", "B": "leak", "C": "absent", "D": "best epoch", "E": "void"}
exercises.check_suspects(papers)
''')
md('''
## 3. One matrix

Add up over the frames, leave out the classes that never occur, and divide once.
''')
code('''
def one_matrix(frames):
    """Return a mean IoU from pairs of (C,) arrays, intersection and union, one pair a frame."""
    intersection, union = np.sum(frames, axis=0)
    return (intersection[union > 0] / union[union > 0]).mean()


exercises.check_one_matrix(one_matrix)
''')
nb=nbf.v4.new_notebook(cells=cells,metadata=old.metadata)
Path("/tmp/try/sol15.ipynb").write_text(nbf.writes(nb))
