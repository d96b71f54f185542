"""Print the section of docs/results.md on changed frames, from the stored rows."""
from cityseg_utils import statistics, studies
t=studies.read("changed frames")
def gain(setting, way="all", score="mean IoU"):
    these=t.loc[[k for k in t.index if k[0].endswith(f", {setting}")]]
    g=statistics.compared(these, f"none, {setting}", score).loc[f"{way}, {setting}"]
    return f"{g['mean']:+.3f} ({g['low']:.3f} to {g['high']:.3f})", g["verdict"]
S=["300 steps","900 steps","300 steps, 15 streets","900 steps, 15 streets"]
print("""## Changed frames

When do changed frames pay (lesson 08)? The small network learned from 120 streets and from 15, other ones with each
seed, as they are (none), mirrored (flip), cropped sharply, recoloured, and with all three; 300 and 900 steps, scored
on 400 streets of unseen cities. Two points were what matters, fixed before; none and all have five seeds, the rest
three. Mean ± standard deviation over seeds:
""")
print("| frames | seeds | mean IoU | on train | accuracy | classes found | processor time |")
print("|---|---|---|---|---|---|---|")
g=t.groupby("configuration",sort=False); sd=g["mean IoU"].std()
for name,row in g[["mean IoU","mean IoU on train","pixel accuracy","classes found","processor seconds"]].mean().iterrows():
    print(f"| {name} | {len(t.loc[name])} | {row['mean IoU']:.3f} ± {sd[name]:.3f} | {row['mean IoU on train']:.3f} | {row['pixel accuracy']:.3f} | {row['classes found']:.1f} | {row['processor seconds']/60:.0f} min |")
print()
for s in S: print(s, gain(s), "frequent", gain(s,score="mean IoU of frequent classes"))
for w in ("flip","crop","colours","blown-up crop","CutMix","ClassMix"): print(w, gain("900 steps",w), "frequent", gain("900 steps",w,"mean IoU of frequent classes"))
print("hours", t["processor seconds"].sum()/3600, statistics.spread(t))
e=t.loc[[k for k in t.index if k[0].endswith(", 900 steps")]]
print(statistics.compared(e.loc[["crop, 900 steps","all, 900 steps","blown-up crop, 900 steps"]],"crop, 900 steps").round(4).to_string())
