import nbformat as nbf
from pathlib import Path
old=nbf.read("/work/main/notebooks/solutions/13_semi_supervised_learning.ipynb",4)
cells=[]
md=lambda s: cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
code=lambda s: cells.append(nbf.v4.new_code_cell(s.strip("\n")))
md('''
# Solutions 14 · Active learning

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/solutions/14_active_learning.ipynb)

Solutions to the exercises of [lesson 14](../14_active_learning.ipynb). Try them yourself first: a solution that you have read is forgotten by tomorrow, one that you
have found is not. **Time and memory:** a few seconds on 2 CPU cores, under 1 GB.
''')
cells.append(old.cells[1]); cells[-1].outputs=[]; cells[-1].execution_count=None
code('''
import numpy as np

from cityseg_utils import exercises
''')
md('''
## 1. A margin

The likeliest class has 0.55, the next 0.3. What the others have does not matter.
''')
code('''
exercises.check_margin(0.55 - 0.3, probabilities=[0.55, 0.3, 0.15])
''')
md('''
## 2. Clicks and whole frames

80 clicks in each of 120 images are 9,600, at 2.5 seconds 24,000 seconds or 400 minutes. In that time a person labels 4.4 frames.
''')
code('''
minutes = 80 * 120 * 2.5 / 60
exercises.check_whole_frames(minutes / 90, pixels=80, images=120, seconds=2.5, minutes=90)
''')
md('''
## 3. The least confident

Pixels that were asked about get a number above all probabilities, so they come last.
''')
code('''
def least_confident(scores, asked, number):
    """Return so many places in a flattened frame; (H, W, C) scores, (H, W) bool asked."""
    likeliest = np.where(asked, 2, scores.max(-1)).ravel()
    return np.argsort(likeliest)[:number]


exercises.check_least_confident(least_confident)
''')
md('''
Three ways to be unsure, and three different orders. The entropy looks at all classes, the margin at the first two, this one at the first alone. For a pixel with 0.5, 0.5 and one with 0.5, 0.25, 0.25:
''')
code('''
two, three = np.array([0.5, 0.5, 0]), np.array([0.5, 0.25, 0.25])
for name, p in (("two classes", two), ("three classes", three)):
    margin = np.diff(np.sort(p)[-2:])[0]
    entropy = -(p * np.log(p + 1e-12)).sum()
    print(f"{name:13}  likeliest {p.max():.2f}, margin {margin:.2f}, entropy {entropy:.2f}")
''')
md('''
The likeliest class calls both equally unsure. The margin asks about the first, the entropy about the second.
''')
nb=nbf.v4.new_notebook(cells=cells,metadata=old.metadata)
Path("/tmp/try/sol14.ipynb").write_text(nbf.writes(nb))
