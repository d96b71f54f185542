import nbformat as nbf
from pathlib import Path
first=nbf.read("/work/main/notebooks/11_how_much_data.ipynb",4).cells[1].source
META={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}}
def build(name, cells):
    out=[]
    for kind,text,*tags in cells:
        if kind=="md": out.append(nbf.v4.new_markdown_cell(text.strip("\n")))
        else: out.append(nbf.v4.new_code_cell(text.strip("\n"),metadata={"tags":tags} if tags else {}))
    nb=nbf.v4.new_notebook(cells=out,metadata=META)
    Path(name).write_text(nbf.writes(nb)+"\n")
HEAD="""
# Solutions {no} · {title}

[Open in Colab](https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks/solutions/{file}.ipynb)

Solutions to the exercises of [lesson {no}](../{file}.ipynb). Try them yourself first. **Time and memory:** five seconds on 2 CPU cores, 1 GB.
"""
S="/work/main/notebooks/solutions/"
build(S+"13_semi_supervised_learning.ipynb",[
("md",HEAD.format(no=13,title="Streets without labels",file="13_semi_supervised_learning")),
("code",first),
("code","DATA = None  # not needed here","parameters"),
("md","""
## 1. A share of the gap

Of the 0.20 between control and ceiling the method brings 0.06: three tenths.
"""),
("code","""
import numpy as np

from cityseg_utils import exercises

answer = (0.46 - 0.40) / (0.60 - 0.40)
print(round(answer, 3))
exercises.check_gap_closed(answer, control=0.40, method=0.46, ceiling=0.60)
"""),
("md","""
## 2. The teacher's memory

A tenth of 1500 steps is 150, so 1 / (1 - momentum) = 150.
"""),
("code","""
answer = 1 - 1 / 150
print(round(answer, 4))
exercises.check_teacher_momentum(answer, steps=1500, share=0.1)
"""),
("md","""
## 3. Paste by hand

One mask decides for both. For the picture it needs a last axis, so that it holds for all three colours.
"""),
("code",'''
def paste(picture, labels, onto, onto_labels, classes):
    """Return a frame with some classes of another one pasted in, and its labels."""
    where = np.isin(labels, classes)
    return np.where(where[..., None], picture, onto), np.where(where, labels, onto_labels)


exercises.check_paste(paste)
'''),
])
