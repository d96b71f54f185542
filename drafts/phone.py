import sys, tempfile, time, statistics
from pathlib import Path
import cv2, numpy as np, nbformat
from PIL import Image
sys.path[:0]=["/work/main/tests/browser","/work/main/benchmarks"]
import lab
import annotator as bench
from playwright.sync_api import sync_playwright
out=Path("/tmp/try/phone"); out.mkdir(exist_ok=True)
for p in out.glob("*.jpg"): p.unlink()
frames=sorted(Path("/work/shared/data/camvid/val").glob("*.png"))[::40][:3]
rng=np.random.default_rng(0)
for k,f in enumerate(frames):
    im=cv2.resize(cv2.imread(str(f)),(4032,3024),interpolation=cv2.INTER_CUBIC)
    im=np.clip(im+rng.normal(0,6,im.shape),0,255).astype(np.uint8)
    pil=Image.fromarray(im[...,::-1])
    ex=Image.Exif()
    if k:  # lies on its side in the file
        pil=pil.transpose(Image.ROTATE_90); ex[0x0112]=6
    pil.save(out/f"photo{k}.jpg",quality=90,exif=ex)
SRC='''
import pandas as pd, numpy as np
from pathlib import Path
from cityseg_utils import annotations, models, prediction, widgets, preprocessing as prep, active_learning
from cityseg_utils.labels import CITYSCAPES
files=sorted(Path("/tmp/try/phone").glob("*.jpg"))
pairs=pd.DataFrame({"image":files,"mask":None,"split":"train","city":"phone","frame":[f.stem for f in files]})
model=models.load_reference()
def scores(k):
    image=prep.read_image(files[k]); size=models.reference_size(image.shape[:2])
    return model.predict_on_batch(prep.read_image(files[k],size)[None]/255)[0]
log=annotations.AnswerLog(Path("/tmp/try/phone/answers.jsonl"),CITYSCAPES)
widgets.annotate(pairs,log,scores)
'''
Path("/tmp/try/phone/answers.jsonl").unlink(missing_ok=True)
with tempfile.TemporaryDirectory() as folder, sync_playwright() as pw:
    with lab.serve(Path(folder)) as (address, token, notebooks):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SRC)]), notebooks/"speed.ipynb")
        browser=pw.chromium.launch(executable_path=lab.CHROMIUM,args=lab.FLAGS)
        page=browser.new_page(viewport={"width":1500,"height":1200})
        t=time.time()
        nb=lab.Notebook(page,address,token,"speed.ipynb")
        nb.panel.locator(".cityseg-viewer[data-ready='0']").wait_for(timeout=120000)
        print("open", round(time.time()-t,1),"s", nb.failures())
        an=nb.panel.locator(".cityseg-viewer"); stage=an.locator(".stage")
        for k in range(3):
            if k:
                t=time.time(); an.get_by_role("button",name="next frame").click()
                nb.panel.locator(f".cityseg-viewer[data-ready='{k}']").wait_for(timeout=120000); print("frame",k,round(time.time()-t,2),"s")
            stage.focus(); page.keyboard.press("b")
            for r in (20,60,120):
                times=bench.strokes(page,stage,r); print("radius",r,"median",round(statistics.median(times),1),"max",round(max(times),1))
            an.screenshot(path=f"/tmp/try/phone/shot{k}.png")
            t=time.time(); page.wait_for_function("document.querySelector('.cityseg-viewer').dataset.saved==='true'",timeout=60000); print("saved after",round(time.time()-t,2))
            t=time.time(); an.get_by_role("button",name="take the guess wherever nothing was said").click()
            page.wait_for_function("document.querySelector('.cityseg-viewer').dataset.saved==='true'",timeout=60000); print("guess saved",round(time.time()-t,2))
        print(nb.errors, nb.outside)
        an.screenshot(path="/tmp/try/phone/shot_last.png")
        browser.close()
from cityseg_utils import annotations
from cityseg_utils.labels import CITYSCAPES
log=annotations.AnswerLog(Path("/tmp/try/phone/answers.jsonl"),CITYSCAPES)
print(len(log.answers),"answers", Path("/tmp/try/phone/answers.jsonl").stat().st_size/1e6,"MB")
from cityseg_utils.preprocessing import read_image
for f in sorted(out.glob("*.jpg")): print(f.name, read_image(f).shape)
