"""Run every benchmark of speed, and write one table: each ratio to a named peer or limit.

    python benchmarks/all.py
    python benchmarks/all.py pipeline scoring

Each is a process of its own, one after the other; a ratio is of one run, so that machines can be
compared. What a row says is in `noting.note`. It wants idle cores; the viewer and the annotator
need Chromium, the export its extra and CamVid's frames.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from noting import KEYS, TABLE

from cityseg_utils import studies, tables

HERE = Path(__file__).parent
BENCHMARKS = {
    "pipeline": [],
    "memory": ["pipeline.py", "--memory"],
    "augmentation": [],
    "steps": ["steps.py", "--backbones", "resnet18"],
    "engine": [],
    "methods": [],
    "scoring": [],
    "drawing": [],
    "viewer": [],
    "annotator": [],
    "export": [],
}


def main() -> None:
    """Run them, and write what was measured in place of their older rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="default all")
    parser.add_argument("--camvid", type=Path, help="CamVid's folder, for the export")
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "benchmarks.csv")
    options = parser.parse_args()
    names = options.names or [name for name in BENCHMARKS if name != "export" or options.camvid]
    with tempfile.TemporaryDirectory() as folder:
        fresh, failed = Path(folder) / "rows.csv", []
        for name in names:
            script, *arguments = BENCHMARKS[name] or [f"{name}.py"]
            shown = " ".join(["python", f"benchmarks/{script}", *arguments])
            if name == "export":
                arguments += ["--camvid", str(options.camvid)]
                shown += " --camvid /path/to/camvid"
            print(f"{name}: {shown}", flush=True)
            env = {**os.environ, TABLE: str(fresh), "CITYSEG_BENCHMARK": f"{name}: {shown}"}
            command = [sys.executable, HERE / script, *arguments]
            if subprocess.run(command, env=env, check=False).returncode:
                failed.append(name)
        measured = tables.read(fresh, KEYS, KEYS).reset_index() if fresh.exists() else None
    if measured is not None:
        keep(measured, options.results)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


def keep(measured: pd.DataFrame, results: Path) -> None:
    """Write rows; of the benchmarks that were measured, no older row is left."""
    if results.exists():
        old = tables.read(results, KEYS, KEYS).reset_index()
        measured = pd.concat([old[~old["benchmark"].isin(measured["benchmark"])], measured])
    rows = measured.astype(object).fillna("").astype(str).to_dict("records")
    tables.write(results, rows)


if __name__ == "__main__":
    main()
