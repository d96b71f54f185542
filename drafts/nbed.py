import nbformat, sys
from pathlib import Path
class NB:
    def __init__(self, n, folder="/work/main/notebooks"):
        (self.path,) = Path(folder).glob(f"{n}*.ipynb")
        self.nb = nbformat.read(self.path, 4)
    @property
    def cells(self): return self.nb.cells
    def find(self, text, kind=None):
        hits=[i for i,c in enumerate(self.cells) if text in c.source and (kind is None or c.cell_type==kind)]
        assert len(hits)==1, (text, hits)
        return hits[0]
    def put(self, text, source): self.cells[self.find(text)].source=source.strip("\n")
    def sub(self, old, new, count=1):
        hits=[c for c in self.cells if old in c.source]
        assert len(hits)==1 and hits[0].source.count(old)==count, (old, len(hits))
        hits[0].source=hits[0].source.replace(old,new)
    def _new(self, kind, source, tags):
        c = nbformat.v4.new_code_cell(source.strip("\n")) if kind=="code" else nbformat.v4.new_markdown_cell(source.strip("\n"))
        if tags: c.metadata["tags"]=list(tags)
        return c
    def after(self, text, kind, source, tags=()):
        i=self.find(text); self.cells.insert(i+1,self._new(kind,source,tags))
    def before(self, text, kind, source, tags=()):
        i=self.find(text); self.cells.insert(i,self._new(kind,source,tags))
    def drop(self, text): del self.cells[self.find(text)]
    def save(self): nbformat.write(self.nb, self.path)
