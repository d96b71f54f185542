"""Print the rows of a study for docs/results.md: gen_results.py STUDY [columns]"""
import sys
from cityseg_utils import studies
t=studies.read(sys.argv[1])
g=t.groupby("configuration",sort=False)
sd=g["mean IoU"].std()
for name,row in g[["mean IoU","mean IoU on train","pixel accuracy","classes found","processor seconds"]].mean().iterrows():
    n=len(t.loc[name]); sec=row["processor seconds"]
    print(f"| {name} | {n} | {row['mean IoU']:.3f} ± {sd[name]:.3f} | {row['mean IoU on train']:.3f} | {row['pixel accuracy']:.3f} | {row['classes found']:.1f} | {sec/60:.0f} min |")
