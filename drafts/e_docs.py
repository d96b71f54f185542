"""Apply when lessons 14 and 16 are stored: rows, links, words. Times as measured are arguments."""
import sys
from pathlib import Path
sys.path.insert(0,'/tmp/drafts')
from nbed import NB
T14,M14,T16,M16=sys.argv[1:5]
R=Path('/work/main')
def edit(path,*pairs):
    p=R/path; s=p.read_text()
    for a,b in pairs:
        assert s.count(a)==1,(path,a,s.count(a)); s=s.replace(a,b)
    p.write_text(s)
edit('README.md',
 ('answer what it asks (lesson 14, to come)','answer what it asks (lesson 14)'),
 ('''
Lessons 14 to 16 (active learning, a benchmark, scaling up) are being built.''',f'''| 14 | [Active learning](notebooks/14_active_learning.ipynb) | a network asks, you answer; what chance does as well | {T14} s | {M14} GB | `active_learning`, `annotations` |
| 16 | [Scaling up](notebooks/16_scaling_up.ipynb) | real Cityscapes, several machines, out of the notebook | {T16} s | {M16} GB | `shards`, `distribution`, `deployment` |

Lesson 15, a benchmark of all methods, is being built.'''))
edit('docs/index.md',('''../notebooks/13_semi_supervised_learning
''','''../notebooks/13_semi_supervised_learning
../notebooks/14_active_learning
'''),('''```{toctree}
:caption: Without installing anything''','''```{toctree}
:caption: Out of the notebook
:maxdepth: 1

../notebooks/16_scaling_up
```

```{toctree}
:caption: Without installing anything'''))
edit('notebooks/glossary.md',('''| **epoch** |''','''| **entropy** | of a pixel's probabilities: 0 if one class has it all, largest if all have the same. | 14 |
| **epoch** |'''),('''| **mask** |''','''| **margin** | between the likeliest class of a pixel and the next: how sure the network is of its choice. | 14 |
| **mask** |'''),('''| **overfitting** |''','''| **ONNX** | a file format for networks that runs without the library that trained them. | 16 |
| **oracle** | what answers in a person's place, from the true labels. | 14 |
| **overfitting** |'''),('''| **skip connection** |''','''| **shard** | one of a few large files that hold a data set's frames, to be read from end to end. | 16 |
| **skip connection** |'''),('''| **teacher** |''','''| **superpixel** | a small region of similar pixels, asked about as one. | 14 |
| **teacher** |'''))
edit('notebooks/teaching.md',('''| 8 | 12, 13: a discriminator; streets without labels, drawn against real streets | the lessons' exercises |
''','''| 8 | 12, 13: a discriminator; streets without labels, drawn against real streets | the lessons' exercises |
| 9 | 14: a network that asks; each answers a hundred pixels, and the class compares its seconds | a hundred more, with `PERSON = True` |
| 10 | 16: out of the notebook; ratios that do not average | `segment.py` on a film of one's own |
'''))
edit('CHANGELOG.md',('- Lessons 00 to 13, their solutions','- Lessons 00 to 14 and 16, their solutions'))
n=NB("13"); n.sub("**Next:** the network has had labels, a rival and a teacher. Now it gets to ask.","**Next:** the network has had labels, a rival and a teacher. Now it gets to ask: [14 · Active learning](14_active_learning.ipynb)."); n.save()
