import nbformat,sys,time,os,resource
import matplotlib; matplotlib.use("Agg")
nb=nbformat.read(sys.argv[1],4); g={"__name__":"__main__"}
import IPython.display
for i,c in enumerate(nb.cells):
    if c.cell_type!="code": continue
    t=time.time(); p=time.process_time()
    src=c.source
    if src.lstrip().startswith("%") or "pip install" in src: continue
    try: exec(compile(src,f"cell{i}","exec"),g)
    except Exception as e: print("FAIL",i,repr(e)[:300],flush=True); break
    if time.time()-t>1: print(i,f"wall {time.time()-t:.1f} cpu {time.process_time()-p:.1f}",src.splitlines()[0][:60],flush=True)
print("total",time.process_time())
