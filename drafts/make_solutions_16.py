import nbformat as nbf
from pathlib import Path
old=nbf.read("/work/main/notebooks/solutions/13_semi_supervised_learning.ipynb",4)
cells=[]
md=lambda s: cells.append(nbf.v4.new_markdown_cell(s.strip("\n")))
code=lambda s,*t: cells.append(nbf.v4.new_code_cell(s.strip("\n"),metadata={"tags":list(t)} if t else {}))
md('''
# Solutions 16 · Scaling up

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/solutions/16_scaling_up.ipynb)

Solutions to the exercises of [lesson 16](../16_scaling_up.ipynb). Try them yourself first: a solution that you have read is forgotten by tomorrow, one that you
have found is not. **Time and memory:** half a minute on 2 CPU cores, 1 GB.
''')
cells.append(old.cells[1]); cells[-1].outputs=[]; cells[-1].execution_count=None
code('''
DATA = None  # the same folder as in the lesson
SIZE = (256, 512)
''',"parameters")
code('''
import numpy as np
import pandas as pd

from cityseg_utils import datasets, exercises, models
from cityseg_utils import preprocessing as prep

pairs, scheme = datasets.open_dataset(DATA)
val = pairs[pairs["split"] == "val"]
''')
md('''
## 1. The hurry

Eight machines, each paid for a fifth of the time: 8 / 5 of what one costs.
''')
code('''
exercises.check_rent(8 / 5, devices=8, speedup=5)
''')
md('''
## 2. Sums add up

Add up the sums, add up the pixels, and divide once. A worker without a labelled pixel adds nothing, and nothing has to be said about it.
''')
code('''
def loss_of_all(parts):
    """Return the mean loss of a labelled pixel, from (sum of losses, pixels) of each worker."""
    total, pixels = np.sum(parts, axis=0)
    return total / pixels


exercises.check_loss_of_all(loss_of_all)
''')
md('''
## 3. Three exports

Each fault can be undone in the picture, if it can be undone at all. Colours that are exchanged twice are as they were. A picture that is multiplied by 255 survives a division too many. What is lost by shrinking stays lost. (Here the network itself stands in the place of its export; they say the same.)
''')
code('''
network = models.load_reference(scheme, pairs)
x = np.stack([prep.read_image(path, SIZE) for path in val["image"].iloc[:8]]) / np.float32(255)
ours = network.predict_on_batch(x).argmax(-1)
undo = {
    "as it is": lambda x: x,
    "red and blue exchanged": lambda x: x[..., ::-1],
    "times 255": lambda x: 255 * x,
}
''')
code('''
wrong = exercises.faulty_exports(network)
same = {
    name: {way: np.mean(export.predict_on_batch(f(x)).argmax(-1) == ours) for way, f in undo.items()}
    for name, export in wrong.items()
}
table = pd.DataFrame(same).T
table.round(2)
''',"nbval-ignore-output")
code('''
print({name: way for name, way in table.idxmax(axis=1).items() if table.loc[name, way] > 0.999})
''')
md('''
B is whole again if the picture is multiplied by 255, and C if its colours are exchanged. A is not to be cured, and was never far off: small things are gone.
''')
code('''
exercises.check_exports({"A": "half the size", "B": "divided twice", "C": "blue first"})
''')
nb=nbf.v4.new_notebook(cells=cells,metadata=old.metadata)
Path("/tmp/try/sol16.ipynb").write_text(nbf.writes(nb))
