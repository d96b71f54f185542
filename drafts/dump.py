import nbformat, sys, base64
from pathlib import Path
nb=nbformat.read(sys.argv[1],4); out=Path(sys.argv[2]); out.mkdir(parents=True,exist_ok=True)
lines=[]; k=0
for i,c in enumerate(nb.cells):
    tags=c.metadata.get("tags",[])
    if c.cell_type=="markdown": lines.append(f"\n[{i}] "+c.source+"\n"); continue
    lines.append(f"\n[{i}] ```python {tags if tags else ''}\n{c.source}\n```")
    for o in c.get("outputs",[]):
        if o.output_type=="stream": lines.append("OUT: "+o.text[:3000])
        elif "data" in o:
            d=o["data"]
            for m in ("image/jpeg","image/png"):
                if m in d:
                    k+=1; f=out/f"fig{k:02d}.{m[-4:].strip('/')}"; f.write_bytes(base64.b64decode(d[m])); lines.append(f"FIG: {f}"); break
            else: lines.append("OUT: "+d.get("text/plain","")[:2000])
(out/"lesson.md").write_text("\n".join(lines))
