"""The stored results are those of the recipes that the studies name today."""

import re
import subprocess
import sys

import pandas as pd
import pytest

from cityseg_utils import experiments, studies
from cityseg_utils.studies import EVERY, PLANNED, STUDIES

ALL = STUDIES | PLANNED

# Those whose budget is time, not frames, or that ask what a larger one brings.
TIMED = {
    "recipe",
    "few labels",
    "few labels, search",
    "architectures",
    "real networks",
    "small network",
    "how long",
    "changed frames",
    "networks",
    "ImageNet on photographs",
    "number of streets",
    "all labels",
    "all labels on photographs",
    "15 labels on photographs",
}


def test_one_name_is_one_recipe_in_each_file():
    seen = {}
    for study in ALL.values():
        for name, recipe in study.recipes.items():
            assert seen.setdefault((studies.results(study), name), recipe) == recipe


@pytest.mark.parametrize("name", sorted(ALL.keys() - TIMED))
def test_all_of_a_study_have_the_same_budget_of_frames(name):
    budgets = {recipe.steps * recipe.batch_size for recipe in ALL[name].recipes.values()}
    assert len(budgets) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_stored_runs_are_of_these_recipes(name):
    table = studies.read(name)
    for (configuration, _), row in table.iterrows():
        assert row["recipe"] == str(STUDIES[name].recipes[configuration])
        assert row["steps"] == STUDIES[name].recipes[configuration].steps
        if number := re.search(r"(\d+) streets", configuration):
            assert row["train frames"] == int(number[1])
        asked = [
            other
            for other, study in STUDIES.items()
            if studies.results(study) == studies.results(STUDIES[name])
            and configuration in study.recipes
        ]
        assert row["command"] in map(studies.command, asked)


# Choices of recipes, which nothing but the choice is claimed of.
UNFINISHED = {"recipe", "few labels, search", "how long"}


@pytest.mark.parametrize("name", sorted(STUDIES.keys() - UNFINISHED))
def test_every_claim_has_the_seeds_that_were_fixed(name):
    assert min(map(len, STUDIES[name].all_seeds().values())) >= 3
    asked = {}  # by whichever study asks for most
    for study in STUDIES.values():
        if studies.results(study) == studies.results(STUDIES[name]):
            for x in STUDIES[name].recipes.keys() & study.recipes.keys():
                asked[x] = {*asked.get(x, ()), *study.all_seeds()[x]}
    expected = {(configuration, seed) for configuration, seeds in asked.items() for seed in seeds}
    assert set(studies.read(name).index) == expected


def test_every_stored_row_belongs_to_a_study():
    names = {}
    for study in STUDIES.values():
        names.setdefault(studies.results(study), set()).update(study.recipes)
    tables = {"minicity.csv", "camvid.csv", "small.csv", "semi.csv", "pilot.csv"}
    assert {path.name for path in names} == tables
    for file, known in names.items():
        assert set(experiments.read(file).index.get_level_values(0)) <= known


def test_fewer_streets_are_among_the_more():
    parts = [set(range(0, 120, step)) for step in EVERY.values()]
    assert [len(part) for part in parts] == [int(name.split()[0]) for name in EVERY]
    assert parts[0] < parts[1] < parts[2] < parts[3]


def test_as_many_frames_in_a_row_as_spread():
    train = pd.DataFrame({"city": 101 * ["a"] + 204 * ["b"], "frame": range(305)})
    parts = studies._frames_of_two_drives(train)
    assert parts["spread"]["frame"].diff().dropna().unique().tolist() == [8]
    rows = dict(iter(parts["in a row"].groupby("city")["frame"]))
    assert rows["a"].tolist() == list(range(13))
    assert rows["b"].tolist() == list(range(101, 127))
    assert len(parts["spread"]) == 39


def test_each_seed_has_other_streets_and_smaller_sets_are_parts_of_larger_ones():
    train = pd.DataFrame({"frame": range(120)})
    ways = studies._some_streets([*EVERY, "plain"])(train)
    assert "plain" not in ways
    for seed in range(5):
        parts = [set(way(seed)["frame"]) for way in ways.values()]
        assert [len(part) for part in parts] == [int(name.split()[0]) for name in EVERY]
        assert parts[0] < parts[1] < parts[2] < parts[3]
    assert not set(ways["8 streets"](0)["frame"]) & set(ways["8 streets"](1)["frame"])


def test_each_seed_has_another_row_of_as_many_frames_as_its_spread():
    train = pd.DataFrame({"city": 62 * ["a"] + 204 * ["b"], "frame": range(266)})
    ways = studies._parts_of_drives(train)
    begins = set()
    for seed in range(5):
        spread, row = ways["spread"](seed), ways["in a row"](seed)
        assert spread["frame"].diff().dropna().unique().tolist() == [8]
        assert spread.groupby("city").size().equals(row.groupby("city").size())
        for _, part in row.groupby("city"):
            assert part["frame"].diff().dropna().eq(1).all()
        begins.add(row["frame"].iloc[0])
    assert min(begins) == 0 and max(row["frame"]) == 265 and len(begins) == 5


def test_few_labels_are_drawn_anew_by_each_seed():
    train = pd.DataFrame({"image": range(120), "mask": range(120)})
    names = ("labels alone, 0.002, crop, 15 labels", "pasted classes, 0.002, crop, 15 labels")
    drawn = studies.hide_labels(studies.SEARCH_FOR_FEW)(train)
    alone, with_others = (drawn[name] for name in names)
    assert len(alone(0)) == 15 and len(with_others(0)) == 120
    assert set(with_others(0).dropna().index) == set(alone(0).index) != set(alone(1).index)


def test_one_more_seed_is_not_a_stored_one():
    with pytest.raises(ValueError, match="seed 0 of 'plain' is among the stored ones"):
        studies.one_more("augmentation", "plain", 0)


@pytest.mark.slow
def test_camvid_has_to_be_named():
    command = [sys.executable, "-m", "cityseg_utils.studies", "drive"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs --camvid" in done.stderr
