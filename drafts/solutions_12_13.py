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
build(S+"12_adversarial_training.ipynb",[
("md",HEAD.format(no=12,title="U-Net and GAN",file="12_adversarial_training")),
("code",first),
("code","DATA = None  # not needed here","parameters"),
("md","""
## 1. A discriminator's loss

It gives true patches 0.8 for being true, so it is surprised by -log 0.8 each. It gives answers 0.3, so 0.7 for being answers: -log 0.7. The mean of both is well below a coin's 0.693; this discriminator knows something.
"""),
("code","""
import numpy as np

from cityseg_utils import exercises

answer = -(np.log(0.8) + np.log(0.7)) / 2
print(round(answer, 4))
exercises.check_discriminator_loss(answer, of_true=0.8, of_answers=0.3)
"""),
("md","""
## 2. Soften the truth

The true class gets `least`, or the answer's own number if that is larger. What is left goes to the other classes, as the answer shares it among them. Void sums to 0 and is multiplied away.
"""),
("code",'''
def soften(truth, answer, least):
    """Return a truth that is no sharper than the answer; (..., C) all three."""
    true = np.maximum((truth * answer).sum(-1, keepdims=True), least)
    others = answer * (1 - truth)
    others = others / others.sum(-1, keepdims=True) * (1 - true)
    return (truth * true + others) * truth.sum(-1, keepdims=True)


exercises.check_softened(soften)
'''),
("md","""
## 3. A cheat without a street

A person leaves a pixel void that nobody can name; its one-hot is all zeros. A network always names something. So a map with any pixel that sums to 0 was made by a person. That is why the lesson zeroes void in the answers, too.
"""),
("code",'''
def is_true(maps):
    """Say whether (H, W, C) one-hot maps are of a person."""
    return bool((maps.sum(-1) == 0).any())


exercises.check_cheat(is_true)
'''),
])
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
