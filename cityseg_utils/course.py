"""Run the lessons without a screen, store them executed, and write the repository's address.

Used by the Makefile: ``python -m cityseg_utils.course run | store | address``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from cityseg_utils import storage

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "build"

# What nbval's kernels have too; without it stored outputs would differ from checked ones.
_QUIET = {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

_GITHUB, _COLAB = "https://github.com/", "https://colab.research.google.com/"
_NOBODY = "/OWNER/"  # of an address that is not known yet
_ADDRESSED = (
    *("docs/index.md", "docs/windows.md", "docs/mac_linux.md", "docs/engineers.md"),
    *("CITATION.cff", "README.md", "pyproject.toml"),
)
_IGNORED = {"nbval-ignore-output", "nbval-skip"}


def lessons(chosen: list[str], solutions: bool = False) -> list[Path]:
    """Return the notebooks whose numbers are in `chosen` (all if it is empty), in order."""
    folders = [NOTEBOOKS, NOTEBOOKS / "solutions"] if solutions else [NOTEBOOKS]
    found = [path for folder in folders for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    unknown = set(chosen) - {path.name[:2] for path in found}
    if unknown:
        raise SystemExit(f"there is no lesson {', '.join(sorted(unknown))}")
    return [path for path in found if not chosen or path.name[:2] in chosen]


def parameters(notebook: Path) -> set[str]:
    """Return the names that a notebook's cell tagged ``parameters`` sets."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return set(re.findall(r"^(\w+) *=", "".join(cell["source"]), re.M))
    return set()


def why_unchecked(notebook) -> str | None:
    """Say why running a notebook under nbval would prove little, or None if it proves enough."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.execution_count is None for cell in code):
        return "has cells that were never run; store it again with `make notebooks`"
    ignored = [cell for cell in code if _IGNORED & set(cell.metadata.get("tags", []))]
    if len(ignored) > len(code) / 4:
        return f"{len(ignored)} of {len(code)} cells are not compared, a quarter at most may be"
    compared = [cell for cell in code if cell not in ignored and _has_text(cell)]
    if len(compared) < len(code) / 3:
        return f"{len(compared)} of {len(code)} cells have text to compare, a third must"
    return None


def _has_text(cell) -> bool:
    return any("text" in x or "text/plain" in x.get("data", {}) for x in cell.outputs)


def run(chosen: list[str], params: list[str]) -> int:
    """Execute lessons with papermill into ``build/``, and as HTML; print time and memory."""
    BUILD.mkdir(exist_ok=True)
    if wrong := [param for param in params if "=" not in param]:
        raise SystemExit(f"{wrong}: write NAME=VALUE, such as STEPS=200")
    wanted = dict(param.split("=", 1) for param in params)
    known = set().union(*(parameters(path) for path in lessons(chosen)))
    if wanted.keys() - known:
        raise SystemExit(
            f"no lesson has {sorted(wanted.keys() - known)}; there are {sorted(known)}"
        )
    rows = []
    for notebook in lessons(chosen):
        target = BUILD / notebook.name
        command = [sys.executable, "-m", "papermill", str(notebook), str(target)]
        for name in wanted.keys() & parameters(notebook):
            command += ["-p", name, wanted[name]]
        print(f"\n{notebook.stem}", flush=True)
        start = time.perf_counter()
        child = subprocess.Popen([*command, "--cwd", str(NOTEBOOKS)], env={**os.environ, **_QUIET})
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        # The peak of papermill and of the kernel it waited for; macOS counts bytes, Linux KiB.
        memory = usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
        rows.append((notebook.stem, seconds, memory, "ok" if status == 0 else "FAILED"))
        if target.exists():
            export_html(target, BUILD)
        if status != 0:
            break
    print(f"\n{'lesson':36} {'seconds':>8} {'GB':>6}")
    for name, seconds, memory, outcome in rows:
        print(f"{name:36} {seconds:8.0f} {memory:6.1f}  {outcome}")
    return int(rows[-1][-1] != "ok")


def export_html(notebook: Path, folder: Path) -> Path:
    """Write an executed notebook as a page that needs neither kernel nor network."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    # Without the state of its widgets a page shows their twins; with it, it would fetch programs.
    content["metadata"].pop("widgets", None)
    plain = folder / notebook.name
    storage.write_bytes(plain, json.dumps(content).encode("utf-8"))
    # The classic template keeps the pictures' descriptions.
    options = ("--to", "html", "--template", "classic", "--log-level", "WARN")
    _jupyter("nbconvert", *options, str(plain))
    return plain.with_suffix(".html")


def store(chosen: list[str]) -> int:
    """Execute lessons and solutions in place; keep only what belongs in the history."""
    for notebook in lessons(chosen, solutions=True):
        print(notebook.relative_to(ROOT), flush=True)
        _jupyter(
            *("nbconvert", "--to", "notebook", "--execute", "--inplace", "--log-level", "WARN"),
            "--ExecutePreprocessor.store_widget_state=False",
            "--ExecutePreprocessor.timeout=3600",
            str(notebook),
        )
        content = json.loads(notebook.read_text(encoding="utf-8"))
        content["metadata"] = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        for cell in content["cells"]:
            cell["metadata"].pop("execution", None)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        storage.write_bytes(notebook, text.encode("utf-8"))
    return 0


def address(url: str, tag: str = "main") -> int:
    """Write the repository's address, and the tag that a lesson in Colab installs, where needed.

    The address stands in lessons, links to Colab, site, README and pyproject. Colab opens notebooks
    and nothing else, so a lesson's links to other pages become whole addresses, too.
    """
    url = url.removesuffix(".git")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", tag):
        raise SystemExit(f"{tag!r} is no tag or branch such as v1.0")
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}", url):
        raise SystemExit(f"{url!r} is no address such as https://github.com/me/course")
    if not url.startswith(_GITHUB):
        print(
            "Colab opens what is on GitHub, nothing else: the lessons' links lead to its first page"
        )
    pages = [ROOT / name for name in _ADDRESSED]
    old = repository()
    # The longer one first, so that neither is taken for the beginning of the other.
    known = "|".join(map(re.escape, sorted((old, url), key=len, reverse=True)))
    texts = {}
    # What remembers the old address comes last: broken off, this can be done again.
    for path in [*lessons([], solutions=True), *pages]:
        texts[path] = re.sub(known, url, path.read_text(encoding="utf-8"))
        lesson = path if path.suffix == ".ipynb" else NOTEBOOKS / "00_start_here.ipynb"
        link = _in_colab(url, tag, lesson.relative_to(ROOT).as_posix())
        texts[path] = re.sub(rf"{_COLAB}(github/[^)]*)?(?=\))", link, texts[path])
        if url.startswith(_GITHUB):
            owner, name = url.removeprefix(_GITHUB).split("/")[:2]
            site = f"https://{owner}.github.io/{name}/"
            texts[path] = re.sub(r"https://[\w.-]+\.github\.io/[\w.-]+/", site, texts[path])
        if _NOBODY not in url:
            texts[path] = re.sub(r"\*Not yet published: [^.*]+\. ", "*", texts[path])
        texts[path] = re.sub(r"(git\+\{REPOSITORY\}@)[\w./-]+", rf"\g<1>{tag}", texts[path])
        if path.suffix == ".ipynb":
            texts[path] = local_links(texts[path], path.parent, url)
            if url.startswith(_GITHUB) and _NOBODY not in url:
                texts[path] = _whole_links(texts[path], path.parent, f"{url}/blob/{tag}")
    for path, text in texts.items():
        storage.write_bytes(path, text.encode("utf-8"))
    return 0


def repository() -> str:
    """Return the repository's address, as pyproject.toml has it."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(r'^Repository = "(.+)"$', project, re.M)[1]


def local_links(text: str, folder: Path, url: str) -> str:
    """Return Markdown with links to pages of the repository as they are within a checkout.

    Parameters
    ----------
    text : str
    folder : Path
        Where the text lies.
    url : str
        The repository's address, whose files lie below ``blob`` and a tag.
    """

    def local(match: re.Match) -> str:
        parts = match[1].split("/")
        for k in range(1, len(parts)):  # a tag may have several parts
            target = "/".join(parts[k:])
            if (ROOT / target.split("#")[0]).is_file():
                return f"]({Path(os.path.relpath(ROOT / target, folder)).as_posix()})"
        return match[0]

    return re.sub(rf"\]\({re.escape(url)}/blob/([^)\s]+)\)", local, text)


def _whole_links(text: str, folder: Path, blob: str) -> str:
    def whole(match: re.Match) -> str:
        target = (folder / match[1].split("#")[0]).resolve()
        if target.suffix == ".ipynb" or not target.is_file() or not target.is_relative_to(ROOT):
            return match[0]  # Colab finds notebooks beside the one that it shows
        anchor = "".join(match[1].partition("#")[1:])
        return f"]({blob}/{target.relative_to(ROOT).as_posix()}{anchor})"

    return re.sub(r"\]\(([\w./#-]+)\)", whole, text)


def _in_colab(url: str, tag: str, notebook: str) -> str:
    """Return the address at which Colab opens a notebook, or its first page to upload one."""
    if not url.startswith(_GITHUB):
        return _COLAB
    return f"{_COLAB}github/{url.removeprefix(_GITHUB)}/blob/{tag}/{notebook}"


def _jupyter(*arguments: str) -> None:
    environment = {**os.environ, **_QUIET, "PYTEST_CURRENT_TEST": "1"}
    subprocess.run([sys.executable, "-m", "jupyter", *arguments], env=environment, check=True)


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.course", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, action in (("run", run), ("store", store)):
        command = commands.add_parser(name, help=action.__doc__)
        command.add_argument("--lessons", dest="chosen", nargs="*", default=[], metavar="NN")
        if action is run:
            command.add_argument("--params", nargs="*", default=[], metavar="NAME=VALUE")
        command.set_defaults(action=action)
    command = commands.add_parser("address", help=address.__doc__)
    command.add_argument("url")
    command.add_argument("tag", nargs="?", default="main", help="default: %(default)s")
    command.set_defaults(action=address)
    arguments = vars(parser.parse_args())
    return arguments.pop("action")(**arguments)


if __name__ == "__main__":
    sys.exit(main())
