"""Search of drawn -> real. Run: dr.py NAME..."""
import sys, time
from pathlib import Path
import pandas as pd
sys.path.insert(0, "/tmp/dr/benchmarks")
import transfer
from cityseg_utils import datasets, labels, recipes, storage
from cityseg_utils.adversarial import Adversarial
from cityseg_utils.augmentation import *
from cityseg_utils.semi_supervised import MeanTeacher
CAM="/work/shared/data/camvid"
LOOK=Compose(ScaleAndCrop((128,160),(1.0,1.6)),Flip(),Colors(.3))
S=transfer.SMALL.but(freeze_encoder=True, refresh=30)
def T(**k): return MeanTeacher(**{**dict(size=(128,160),augment=LOOK,share=True,threshold=.9,strong_on="mixture",refresh_on="unlabelled"),**k})
def A(w,**k): return Adversarial(**{**dict(against="source",weight=w,size=(128,160),augment=LOOK,refresh_on="unlabelled"),**k})
R=S.but(first_weights="reference",encoder_weights=None,freeze_encoder=False,learning_rate=1e-3)
W={
 "source": S, 
 "dacs": S.but(method=T()),
 "dacs rare": S.but(method=T(rare_first=True)),
 "adv .003": S.but(method=A(.003)),
 "adv .01": S.but(method=A(.01)),
 "adv .001": S.but(method=A(.001)),
 "ref source": R,
 "ref dacs": R.but(method=T()),
 "ref dacs rare": R.but(method=T(rare_first=True)),
 "ref dacs dice": R.but(method=T(share=False,loss="dice",threshold=0.,weight=.5)),
 "ref dacs hard": R.but(method=T(share=False,threshold=.8)),
 "ref mt": R.but(method=T(mix=None,paste=False,share=False,threshold=.8)),
 "ref adv": R.but(method=A(.003)),
 "dacs hard": S.but(method=T(share=False,threshold=.8)),
 "dacs dice": S.but(method=T(share=False,loss="dice",threshold=0.,weight=.5)),
 "dacs 1200": S.but(method=T(),steps=1200),
 "source 1200": S.but(steps=1200,refresh=0),
 "source plain": S.but(refresh=0),
 "adv .001 not refreshed": S.but(method=A(.001),refresh=0),
 "dacs rare 1200": S.but(method=T(rare_first=True),steps=1200),
 "dacs unfrozen": S.but(method=T(),freeze_encoder=False),
 "dice rare": S.but(method=T(rare_first=True,share=False,loss="dice",threshold=0.,weight=.5)),
 "dice rare 1200": S.but(method=T(rare_first=True,share=False,loss="dice",threshold=0.,weight=.5),steps=1200),
 "dacs rare b8": S.but(method=T(rare_first=True,batch_size=8)),
 "dacs rare strong": S.but(method=T(rare_first=True,strong=Colors(1.0))),
 "late": S.but(method=T(rare_first=True,warm=.5),steps=1200),
 "late hard": S.but(method=T(rare_first=True,warm=.5,share=False,threshold=.6),steps=1200),
 "both losses": S.but(method=T(rare_first=True),steps=1200,loss="dice"),
 "mt": S.but(method=T(mix=None,paste=False,share=False,threshold=.8)),

}
def main(name, unseen="0006R0", seed=20):
    cam=datasets.find_pairs(CAM); tr=cam[cam.split=="train"]
    src=datasets.draw_streets(480); rec=W[name]
    pairs=src
    if rec.method is not None:
        pairs=pd.concat([src, tr[tr.city!=unseen].assign(mask=None)], ignore_index=True)
    t=recipes.train(rec,pairs,labels.CITYSCAPES,seed,recipes.tell,storage.home()/"runs","dr-"+name.replace(" ","-"))
    sc={"val":cam[cam.split=="val"],unseen:tr[tr.city==unseen]}
    for s in ((192,256),):
        for k,p in sc.items():
            m=transfer.score(t.model,p,s)
            print(f"RESULT {name} seed {seed} unseen {unseen} {k} {s} mIoU {m.mean_iou():.4f} acc {m.pixel_accuracy():.3f} cpu {t.processor_seconds:.0f}", m.iou().round(2).to_dict(), flush=True)
if __name__=="__main__":
    for n in sys.argv[1:]: main(n)
