"""Do a study's runs without the estimate: study.py NAME [camvid]."""
import sys
from pathlib import Path
from cityseg_utils import experiments, studies
if __name__ == "__main__":
    name = sys.argv[1]
    study = (studies.STUDIES | studies.PLANNED)[name]
    camvid = Path("/work/shared/data/camvid")
    experiments.run(study.recipes, study.all_seeds(), *study.data(camvid), studies.results(study, Path("/tmp/main/studies")), command=studies.command(name), jobs=1)
