"""The full comparisons behind lessons 08 to 13: what was asked, of which recipes, on what.

    python -m cityseg_utils.studies augmentation losses
    python -m cityseg_utils.studies --camvid /path/to/camvid

say what they will cost and then do the runs, of these studies or of all, that are not yet in the
tables of results, some minutes each. In a checkout these are the files stored with the package,
elsewhere those of a new folder ``results/``. Two of these at a time, each on a core of its own
(Linux: ``taskset -c 0``, ``taskset -c 1``), share the work, which is faster than one on both cores.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from cityseg_utils import datasets, experiments, statistics, storage
from cityseg_utils.adversarial import Adversarial
from cityseg_utils.augmentation import (
    ClassMix,
    Colors,
    Compose,
    CutMix,
    Flip,
    Rotate,
    ScaleAndCrop,
)
from cityseg_utils.errors import run_command
from cityseg_utils.labels import CAMVID
from cityseg_utils.methods import Method
from cityseg_utils.recipes import Recipe
from cityseg_utils.semi_supervised import MeanTeacher

PLAIN = Recipe(size=(96, 192), steps=300)
CROP = ScaleAndCrop((96, 192), (0.75, 2.0))
TOGETHER = PLAIN.but(augment=Compose(CROP, Flip(), Colors(0.3)))

CAMVID_PLAIN = PLAIN.but(size=(128, 160))
# What lessons 08 and 09 found to help; and as the reference model has learned with changed colours,
# what starts from it is compared with what learns with them, too.
CAMVID_COLORS = CAMVID_PLAIN.but(augment=Colors(0.5), loss="dice")
CAMVID_CROP = ScaleAndCrop((128, 160), (0.75, 2.0))

# The network that learns in minutes.
PLAIN_DICE = PLAIN.but(precision="float32", learning_rate=2e-3, loss="dice", schedule="one cycle")
SMALL = PLAIN_DICE.but(backbone="efficientnetlite0")
PRETRAINED = SMALL.but(encoder_weights="imagenet")
CHANGES = Compose(ScaleAndCrop((96, 192), (0.75, 1.5)), Flip(), Colors(0.3))

# What a rival is put beside: the best of the small network's recipes.
RIVALLED = PRETRAINED.but(steps=900, augment=CHANGES)

# From which `benchmarks/camvid.py` was chosen before there was the small network.
CROPS = ScaleAndCrop((128, 160), (0.55, 1.4), seek=0.3)
LOOKS = (Flip(), Colors(0.5))
CAMVID_LONG = Recipe(
    size=(256, 352),
    augment=Compose(CROPS, *LOOKS),
    loss="weighted cross-entropy + dice",
    schedule="one cycle",
    weight_decay=1e-4,
    steps=600,
)
CAMVID_FAST = CAMVID_LONG.but(backbone="resnet18", steps=900)  # about the same time
CAMVID_DRAWN = CAMVID_LONG.but(first_weights="reference")

# Changes of frames that are read larger than the network sees them, so that crops are sharp.
LARGE = (144, 288)
SHARP = ScaleAndCrop((96, 192), (0.5, 1.0))  # 0.75 to 1.5 times what the network sees of a street
LONG = PRETRAINED.but(steps=900)
WAYS = {
    "none": {},
    "flip": {"augment": Flip()},
    "crop": {"augment": SHARP, "read_size": LARGE},
    "colours": {"augment": Colors(0.3)},
    "all": {"augment": Compose(SHARP, Flip(), Colors(0.3)), "read_size": LARGE},
}
CHANGED = LONG.but(**WAYS["all"])
WHEN_CHANGES_PAY = {
    f"{way}, {steps} steps{few}": PRETRAINED.but(steps=steps, **changes)
    for few in ("", ", 15 streets")
    for steps in (300, 900)
    for way, changes in WAYS.items()
}


def unseen_cities(val: int = 400):
    """Return MiniCity's train frames, so many of its val cities, and its classes.

    Up to 40 are of the embedded MiniCity; these are among any larger number, too.
    """
    pairs, scheme = datasets.open_dataset(datasets.minicity_root())
    train, few = (pairs[pairs["split"] == split] for split in ("train", "val"))
    if val <= len(few):
        return train, few.iloc[:val], scheme
    drawn = datasets.draw_streets(len(train), val)
    return train, drawn[drawn["split"] == "val"].iloc[:val], scheme


def unseen_drive(camvid: Path, drive: str):
    """Return CamVid's train frames without a drive, the frames of that drive, and the classes.

    0001TP was filmed at dusk, 0006R0 in daylight. Val is a clip of a drive that is in train.
    """
    pairs = datasets.find_pairs(camvid)
    pairs = pairs[pairs["split"] == "train"]
    unseen = pairs["city"] == drive
    return pairs[~unseen], pairs[unseen], CAMVID


# Learning with few labels: four labelled frames a step, and with a method four others beside them.
LOOKS_OF_FEW = {
    "flip": (Compose(Flip(), Colors(0.3)), Flip()),
    "crop": (CHANGES, Compose(ScaleAndCrop((96, 192), (1.0, 1.5)), Flip())),
}
FEW_STEPS = 1500
LABELS = {"8 labels": 8, "15 labels": 15, "30 labels": 30, "all labels": 120}  # of 120 streets


def few_labels(rate: float, looks: str, method: Method | None = None, **changes) -> Recipe:
    """Return a recipe for few labels: learning rate, augmentation, and method if there is one."""
    labelled, others = LOOKS_OF_FEW[looks]
    if method is not None:
        method = replace(method, augment=others)
    recipe = PRETRAINED.but(
        steps=FEW_STEPS, batch_size=4, learning_rate=rate, augment=labelled, average=0.99
    )
    return recipe.but(method=method, **changes)


# What is searched for the same way: the control, the method, and its machinery on labelled frames.
PASTED = MeanTeacher(rare_first=True, weight=0.5)
WAYS_FOR_FEW = {
    "labels alone": None,
    "pasted classes": PASTED,
    "pasted classes of labelled": replace(PASTED, own_frames=True),
}
TRIED_FOR_FEW = ((2e-3, "flip"), (2e-3, "crop"), (1e-3, "flip"), (1e-3, "crop"), (4e-3, "flip"))
SEARCH_FOR_FEW = {
    f"{name}, {rate}, {looks}, 15 labels": few_labels(rate, looks, method)
    for rate, looks in TRIED_FOR_FEW
    for name, method in WAYS_FOR_FEW.items()
}
# And then, at the best of these rates and looks, the loss on the pseudo-labels.
BEST_FOR_FEW = {
    name: method and replace(method, loss="dice") for name, method in WAYS_FOR_FEW.items()
}
TRIED_WITH_DICE = {
    "Dice": ({}, FEW_STEPS),
    "Dice, weight 1": ({"weight": 1.0}, FEW_STEPS),
    "Dice, 3000 steps": ({}, 3000),
}
SEARCH_FOR_FEW |= {
    f"{name}, {what}, 15 labels": few_labels(
        2e-3, "crop", replace(BEST_FOR_FEW[name], **settings), steps=steps
    )
    for what, (settings, steps) in TRIED_WITH_DICE.items()
    for name in ("pasted classes", "pasted classes of labelled")
}
SEARCH_FOR_FEW["labels alone, 3000 steps, 15 labels"] = few_labels(2e-3, "crop", steps=3000)

ALONE = few_labels(2e-3, "crop")
FEW = {f"{name}, 15 labels": few_labels(2e-3, "crop", x) for name, x in BEST_FOR_FEW.items()} | {
    # The machinery with its own best loss: in the search it was a point ahead of Dice.
    "pasted classes of labelled, cross-entropy, 15 labels": few_labels(
        2e-3, "crop", WAYS_FOR_FEW["pasted classes of labelled"]
    ),
    # A step of the method costs 2.1 times as much (benchmarks/methods.py); these had half as much
    # processor time again as the method.
    "labels alone for longer, 15 labels": ALONE.but(steps=round(2.3 * FEW_STEPS)),
    "labels alone, all labels": ALONE,
    "labels alone, two losses, all labels": ALONE.but(loss="cross-entropy + dice"),
}
# But for the published one and the rival, each differs from "pasted evenly" in what it is named
# for, and that from the best: mixtures of other frames know no rare classes.
DICE = {"loss": "dice", "weight": 0.5, "paste": False}
LOSERS = {
    "two rounds": MeanTeacher(**DICE, mix=None, fixed=True, warm=0.5),
    "mean teacher": MeanTeacher(**DICE, mix=None),
    "CutMix": MeanTeacher(**DICE, mix=CutMix(own=True)),
    "CutMix as published": MeanTeacher(mix=CutMix(own=True), paste=False),
    "ClassMix of others": MeanTeacher(**DICE),
    "pasted evenly": MeanTeacher(**DICE | {"paste": True}),
    "rival that labels": Adversarial(confident=0.2),
}
ALL_OF_FEW = (
    FEW
    | {f"{name}, 15 labels": few_labels(2e-3, "crop", x) for name, x in LOSERS.items()}
    | {
        f"{name}, {labels}": few_labels(2e-3, "crop", x)
        for labels in ("8 labels", "30 labels")
        for name, x in BEST_FOR_FEW.items()
    }
)


def hide_labels(recipes: dict[str, Recipe]) -> Callable:
    """Return a study's `frames`: which streets keep their labels, each seed draws anew.

    How many, the end of a recipe's name says, as in `LABELS`; one without a method gets no others.
    """

    def frames(train: pd.DataFrame) -> dict:
        return {
            name: partial(_hidden, train, LABELS[name.rpartition(", ")[2]], recipe.method is None)
            for name, recipe in recipes.items()
        }

    return frames


def _hidden(train: pd.DataFrame, labelled: int, alone: bool, seed: int) -> pd.DataFrame:
    some = datasets.hide_masks(train, labelled, seed)
    return some[some["mask"].notna()] if alone else some


@dataclass(frozen=True)
class Study:
    """A question, and the recipes that answer it; the first is the baseline.

    Attributes
    ----------
    question : str
    recipes : dict of names to Recipes
    on : str
        ``"minicity"`` or ``"camvid"``.
    table : str, optional
        The name of the file of results, that of the data if there is none.
    drive : str
        CamVid's drive that is not trained on but scored.
    frames : callable, optional
        Takes all train frames and returns those of each recipe that has fewer, by name, or a
        function of the seed that returns them.
    streets : int
        MiniCity's val streets that are drawn.
    scored : (int, int or None)
        From which to which of these are scored. The first ones are of one city; what chooses a
        recipe by them leaves the others fresh.
    seeds : tuple of int
        Fixed before the first run.
    main : tuple of str
        Recipes that the main claims are of; they get two seeds more.
    margin : float
        The largest difference of mean IoU that does not matter, said before the first run.
    effect : float
        The smallest difference that the seeds are to show four times of five, said before, too.
        With a deviation of 0.004, as 900 steps of the small network had, three seeds do, with
        0.007 four, with 0.014, as 300 steps had, nine (`statistics.seeds_for`).
    """

    question: str
    recipes: dict[str, Recipe]
    on: str = "minicity"
    table: str | None = None
    drive: str = "0001TP"
    frames: Callable[[pd.DataFrame], dict[str, pd.DataFrame]] = lambda train: {}
    streets: int = 400
    scored: tuple[int, int | None] = (0, None)
    seeds: tuple[int, ...] = (0, 1, 2)
    main: tuple[str, ...] = ()
    margin: float = statistics.MARGIN
    effect: float = 0.02

    def all_seeds(self) -> dict[str, tuple[int, ...]]:
        """Return the seeds of each recipe."""
        last = max(self.seeds)
        more = dict.fromkeys(self.main, (*self.seeds, last + 1, last + 2))
        return dict.fromkeys(self.recipes, self.seeds) | more

    def data(self, camvid: Path | None = None):
        """Return the train frames of each recipe, the frames to score on, and the classes."""
        if self.on == "camvid":
            train, val, scheme = unseen_drive(camvid, self.drive)
        else:
            train, val, scheme = unseen_cities(self.streets)
            val = val.iloc[slice(*self.scored)]
        return {name: train for name in self.recipes} | self.frames(train), val, scheme


# With the steps that take about as long as 300 of the plain recipe, 415 seconds on one core of a
# Xeon: from first runs beside each other, on a machine whose speed varies by a fifth and more.
NETWORKS = {
    "U-Net, ResNet-18": ("Unet", "resnet18", 390),
    "U-Net, MobileNetV2": ("Unet", "mobilenetv2", 365),
    "LinkNet, ResNet-18": ("Linknet", "resnet18", 670),
    "FPN, ResNet-18": ("FPN", "resnet18", 280),
    "PSPNet, ResNet-34": ("PSPNet", "resnet34", 850),
}

EVERY = {"8 streets": 16, "15 streets": 8, "30 streets": 4, "60 streets": 2}  # of 120


def _some_streets(names: Iterable[str]) -> Callable:
    """Return a study's `frames`: as many streets as the name of a recipe says, others a seed.

    Of the train cities, evenly; the smaller sets of a seed are parts of its larger ones. More than
    there are, are drawn, the same for every seed.
    """
    said = {name: re.search(r"\d+ streets", name) for name in names}
    said = {name: found[0] for name, found in said.items() if found}
    return lambda train: {
        name: partial(_every, train, EVERY[streets])
        if streets in EVERY
        else partial(_drawn, int(streets.split()[0]))
        for name, streets in said.items()
    }


def _every(train: pd.DataFrame, nth: int, seed: int) -> pd.DataFrame:
    return train.iloc[seed % nth :: nth]


def _drawn(streets: int, seed: int) -> pd.DataFrame:
    return datasets.draw_streets(streets)


def _in_a_row(train: pd.DataFrame, nth: int, seed: int) -> pd.DataFrame:
    """Return as many frames of each drive as `_every` does, in a row; each seed from another one.

    Five seeds in a row begin at the first frame, at the last that is possible, and between.
    """
    number = train["city"].map(_every(train, nth, seed).groupby("city").size())
    room = train.groupby("city")["city"].transform("size") - number
    place = train.groupby("city").cumcount() - room * (seed % 5) // 4
    return train[(place >= 0) & (place < number)]


def _parts_of_drives(train: pd.DataFrame) -> dict[str, Callable]:
    """Return every eighth frame, and as many in a row."""
    spread, row = partial(_every, train, 8), partial(_in_a_row, train, 8)
    return {"spread": spread, "spread, MiniCity first": spread, "in a row": row}


def _numbers_of_streets(names: Iterable[str]) -> Callable:
    """Return what `_some_streets` does, but for every seed the streets of seed 0."""
    anew = _some_streets(names)
    return lambda train: {name: part(0) for name, part in anew(train).items()}


def _frames_of_two_drives(train: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return every eighth frame, and as many from the beginning of each drive."""
    return {name: part(0) for name, part in _parts_of_drives(train).items()}


STUDIES = {
    "augmentation": Study(
        "Which changes of the train frames help on streets of unseen cities?",
        {
            "plain": PLAIN,
            "flip": PLAIN.but(augment=Flip()),
            "scale and crop": PLAIN.but(augment=CROP),
            "rotate": PLAIN.but(augment=Rotate(20)),
            "colours": PLAIN.but(augment=Colors(0.5)),
            "CutMix": PLAIN.but(mix=CutMix()),
            "ClassMix": PLAIN.but(mix=ClassMix()),
            "flip, crop, colours": TOGETHER,
            "15 streets": PLAIN,
            "15 streets; flip, crop, colours": TOGETHER,
        },
        frames=_numbers_of_streets(("15 streets", "15 streets; flip, crop, colours")),
    ),
    "small network": Study(
        "What does a small network learn in minutes, what is ImageNet worth, and when do changed "
        "frames pay?",
        {
            "ResNet-34, two losses": PLAIN.but(precision="float32"),
            "ResNet-34": PLAIN_DICE,
            "from random weights": SMALL,
            "300 steps": PRETRAINED,
            "300 steps, squashed": PRETRAINED.but(size=(128, 128)),
            "300 steps, changed": PRETRAINED.but(augment=CHANGES),
            "300 steps, 480 streets": PRETRAINED,
            "300 steps, 15 streets": PRETRAINED,
            "900 steps": PRETRAINED.but(steps=900),
            "900 steps, changed": PRETRAINED.but(steps=900, augment=CHANGES),
        },
        table="small",
        frames=_numbers_of_streets(("300 steps, 480 streets", "300 steps, 15 streets")),
        main=("300 steps", "900 steps, changed"),
    ),
    "how long": Study(
        "After how many steps is the small network done, with changed frames and without?",
        {
            f"{way}, {steps} steps": PRETRAINED.but(steps=steps, **WAYS[way])
            for steps in (300, 900, 2700)
            for way in ("none", "all")
        },
        table="pilot",
        seeds=(20,),
        scored=(0, 40),
    ),
    "few labels, search": Study(
        "Which learning rate, and which changes of frames, with few labels?",
        SEARCH_FOR_FEW,
        table="semi",
        frames=hide_labels(SEARCH_FOR_FEW),
        seeds=(20,),
        scored=(0, 40),
    ),
    "few labels": Study(
        "What do pictures without labels bring beside few with labels?",
        ALL_OF_FEW,
        table="semi",
        frames=hide_labels(ALL_OF_FEW),
        scored=(40, None),
        main=tuple(FEW),
    ),
    "rival": Study(
        "Does a discriminator of true label maps help a network that has all labels?",
        {
            "without a rival": RIVALLED,
            "rival, 0.01": RIVALLED.but(method=Adversarial(weight=0.01)),
            "rival, 0.1": RIVALLED.but(method=Adversarial(weight=0.1)),
            "rival of softened truth, 0.1": RIVALLED.but(
                method=Adversarial(weight=0.1, soften=0.9)
            ),
        },
        table="semi",
    ),
    "drive": Study(
        "Which changes of daylight frames help at dusk, on real streets?",
        {
            "plain": CAMVID_PLAIN,
            "flip and crop": CAMVID_PLAIN.but(augment=Compose(CAMVID_CROP, Flip())),
            "colours": CAMVID_PLAIN.but(augment=Colors(0.5)),
            "flip, crop, colours": CAMVID_PLAIN.but(
                augment=Compose(CAMVID_CROP, Flip(), Colors(0.5))
            ),
        },
        on="camvid",
    ),
    "losses": Study(
        "Which loss gives the best mean IoU, and which the best rare classes?",
        {
            "plain": PLAIN,
            "Dice": PLAIN.but(loss="dice"),
            "cross-entropy": PLAIN.but(loss="cross-entropy"),
            "focal": PLAIN.but(loss="focal"),
            "weighted cross-entropy": PLAIN.but(loss="weighted cross-entropy"),
        },
    ),
    "training": Study(
        "Which hyperparameters matter?",
        {
            "plain": PLAIN,
            "learning rate 0.004": PLAIN.but(learning_rate=4e-3),
            "batches of 4, 600 steps": PLAIN.but(batch_size=4, steps=600),
            "constant rate": PLAIN.but(schedule="constant"),
            "constant rate, averaged weights": PLAIN.but(schedule="constant", average=0.98),
            "constant rate, BatchNorm 0.99, not refreshed": PLAIN.but(
                schedule="constant", batch_norm_momentum=0.99, refresh=0
            ),
        },
    ),
    "architectures": Study(
        "Which network is best after the same time of training?",
        {"plain": PLAIN}
        | {
            name: PLAIN.but(architecture=architecture, backbone=backbone, steps=steps)
            for name, (architecture, backbone, steps) in NETWORKS.items()
        },
    ),
    "data": Study(
        "What do more streets bring?",
        {name: PLAIN for name in (*EVERY, "plain", "480 streets")}
        # The loss that lesson 09 found to get further in the same steps: does it make more of them?
        | {name: PLAIN.but(loss="dice") for name in ("Dice", "480 streets, Dice")},
        frames=_numbers_of_streets((*EVERY, "480 streets", "480 streets, Dice")),
    ),
    "real data": Study(
        "What do more frames of the same streets bring, and what drawn streets before real ones?",
        {
            "two drives": CAMVID_COLORS,
            "spread": CAMVID_COLORS,
            "in a row": CAMVID_COLORS,
            "two drives, MiniCity first": CAMVID_COLORS.but(first_weights="reference"),
            "spread, MiniCity first": CAMVID_COLORS.but(first_weights="reference"),
        },
        on="camvid",
        drive="0006R0",
        frames=_frames_of_two_drives,
    ),
    "real losses": Study(
        "Does Dice help on photographs, too?",
        {
            "cross-entropy + Dice": CAMVID_COLORS.but(loss="cross-entropy + dice"),
            "two drives": CAMVID_COLORS,
        },
        on="camvid",
        drive="0006R0",
    ),
    "real networks": Study(
        "Does FPN lead on photographs, too, in the same time?",
        {
            "two drives": CAMVID_COLORS,
            "FPN": CAMVID_COLORS.but(architecture="FPN", backbone="resnet18", steps=240),
        },
        on="camvid",
        drive="0006R0",
    ),
    "recipe": Study(
        "Which recipe for an hour on CamVid, judged by short runs on a drive left out?",
        {
            "crops": CAMVID_LONG,
            "crops, MiniCity first": CAMVID_DRAWN,
            "crops, strong colours": CAMVID_LONG.but(augment=Compose(CROPS, Flip(), Colors(1.0))),
            "crops, ResNet-18": CAMVID_FAST,
            # What lesson 09 found to help on MiniCity.
            "crops, ResNet-18, Dice": CAMVID_FAST.but(loss="dice"),
        },
        on="camvid",
        drive="0006R0",
    ),
}

# -- Asked, and not yet answered: questions, recipes, seeds and margin before the first run. -------

# On photographs, with the same changes.
PHOTOGRAPHS = PRETRAINED.but(size=(128, 160), steps=600)
CROPPED = {"read_size": (192, 240)}
SHARP_PHOTOGRAPHS = ScaleAndCrop((128, 160), (0.5, 1.0))
PHOTOGRAPHS_CHANGED = PHOTOGRAPHS.but(
    augment=Compose(SHARP_PHOTOGRAPHS, Flip(), Colors(0.3)), **CROPPED
)

# With the steps that take the processor time of 900 of the small network, by turns on a core of a
# Xeon with AVX-512 in float32 (`benchmarks/networks.py --equal`). On another processor they differ.
RIVAL_NETWORKS = {
    "U-Net, ResNet-18": ("Unet", "resnet18", 463),
    "U-Net, ResNet-34": ("Unet", "resnet34", 337),
    "U-Net, MobileNetV2": ("Unet", "mobilenetv2", 505),
    "LinkNet, ResNet-18": ("Linknet", "resnet18", 657),
    "FPN, ResNet-18": ("FPN", "resnet18", 151),
    "PSPNet, ResNet-34": ("PSPNet", "resnet34", 729),
}
RATES = (5e-4, 1e-3, 4e-3, 8e-3, 1.6e-2)  # beside the recipe's own
OF_FIFTEEN = "all, 900 steps, 15 streets"  # shared with lesson 08
MORE_OR_FEWER = tuple(f"{number} streets" for number in (8, 30, 60, 240, 480, 960))

PLANNED = {
    "changed frames": Study(
        "When do changed frames pay: after how many steps, on how many streets, and which?",
        WHEN_CHANGES_PAY
        | {
            "blown-up crop, 900 steps": LONG.but(augment=ScaleAndCrop((96, 192), (0.75, 1.5))),
            "CutMix, 900 steps": LONG.but(mix=CutMix()),
            "ClassMix, 900 steps": LONG.but(mix=ClassMix()),
        },
        table="streets",
        frames=_some_streets(WHEN_CHANGES_PAY),
        main=tuple(x for x in WHEN_CHANGES_PAY if x.startswith(("none", "all"))),
    ),
    "loss": Study(
        "Which loss gives the best mean IoU, and which the best rare classes?",
        {
            "all, 900 steps": CHANGED,
            "cross-entropy": CHANGED.but(loss="cross-entropy"),
            "cross-entropy + Dice": CHANGED.but(loss="cross-entropy + dice"),
            "weighted cross-entropy": CHANGED.but(
                # Five of 19 classes have the largest weight; with 8 they would be eight.
                loss="weighted cross-entropy",
                largest_weight=10.0,
            ),
            "focal": CHANGED.but(loss="focal"),
            "Tversky": CHANGED.but(loss="tversky"),
            # The recipe's rate was found with Dice.
            "cross-entropy, rate 0.001": CHANGED.but(loss="cross-entropy", learning_rate=1e-3),
            "cross-entropy, rate 0.004": CHANGED.but(loss="cross-entropy", learning_rate=4e-3),
        },
        table="streets",
        main=("all, 900 steps", "cross-entropy"),
    ),
    "learning rate": Study(
        "Which learning rate, and does the finder find it?",
        {"all, 900 steps": CHANGED}
        | {f"rate {rate}": CHANGED.but(learning_rate=rate) for rate in RATES},
        table="streets",
    ),
    "habits": Study(
        "Do batches, schedule and averages matter, and do two small changes add up?",
        {
            "all, 900 steps": CHANGED,
            "batches of 4": CHANGED.but(batch_size=4, steps=1800),
            "batches of 16": CHANGED.but(batch_size=16, steps=450),
            "cosine": CHANGED.but(schedule="cosine"),
            "constant rate": CHANGED.but(schedule="constant"),
            "constant rate, averaged weights": CHANGED.but(schedule="constant", average=0.99),
            "constant rate, BatchNorm 0.99, not refreshed": CHANGED.but(
                schedule="constant", batch_norm_momentum=0.99, refresh=0
            ),
            "two losses, rate 0.004": CHANGED.but(loss="cross-entropy + dice", learning_rate=4e-3),
        },
        table="streets",
    ),
    "networks": Study(
        "Which network is best after the same processor time of training?",
        {
            "all, 900 steps": CHANGED,
            "frozen": CHANGED.but(freeze_encoder=True, steps=1674),
            "random weights": CHANGED.but(encoder_weights=None),
        }
        | {
            name: CHANGED.but(
                architecture=kind, backbone=backbone, encoder_weights=None, steps=steps
            )
            for name, (kind, backbone, steps) in RIVAL_NETWORKS.items()
        },
        table="streets",
        main=("all, 900 steps", "random weights"),
    ),
    "ImageNet on photographs": Study(
        "What does a network that has seen ImageNet know of photographs?",
        {
            "two drives": PHOTOGRAPHS_CHANGED,
            # As many steps as take the time of the others, as above.
            "frozen": PHOTOGRAPHS_CHANGED.but(freeze_encoder=True, steps=1137),
            "random weights": PHOTOGRAPHS_CHANGED.but(encoder_weights=None),
        },
        on="camvid",
        table="photographs",
        drive="0006R0",
        seeds=(0, 1, 2, 3, 4),
    ),
    "dusk": Study(
        "Which changes of daylight frames help at dusk, on real streets?",
        {
            "none": PHOTOGRAPHS,
            "flip and crop": PHOTOGRAPHS.but(augment=Compose(SHARP_PHOTOGRAPHS, Flip()), **CROPPED),
            "colours": PHOTOGRAPHS.but(augment=Colors(0.5)),
            "flip, crop, colours": PHOTOGRAPHS.but(
                augment=Compose(SHARP_PHOTOGRAPHS, Flip(), Colors(0.5)), **CROPPED
            ),
        },
        on="camvid",
        table="photographs",
    ),
    "number of streets": Study(
        "What do more streets bring, and what more steps on them?",
        {"all, 900 steps": CHANGED}
        | {streets: CHANGED for streets in (OF_FIFTEEN, *MORE_OR_FEWER)}
        | {
            "all, 2700 steps": CHANGED.but(steps=2700),
            "960 streets, 2700 steps": CHANGED.but(steps=2700),
        },
        table="streets",
        frames=_some_streets((OF_FIFTEEN, *MORE_OR_FEWER, "960 streets, 2700 steps")),
    ),
    "frames of drives": Study(
        "What do more frames of the same streets bring, and what drawn streets before real ones?",
        {
            "two drives": PHOTOGRAPHS_CHANGED,
            "spread": PHOTOGRAPHS_CHANGED,
            "in a row": PHOTOGRAPHS_CHANGED,
            "two drives, MiniCity first": PHOTOGRAPHS_CHANGED.but(first_weights="reference"),
            "spread, MiniCity first": PHOTOGRAPHS_CHANGED.but(first_weights="reference"),
        },
        on="camvid",
        table="photographs",
        drive="0006R0",
        frames=_parts_of_drives,
        seeds=(0, 1, 2, 3, 4),
    ),
}
# Lesson 15: every method in the processor time of 900 steps of the small network, or of 600 on
# photographs. All but these are of other studies, under the same names.
UNET_STEPS = RIVAL_NETWORKS["U-Net, ResNet-34"][2] / LONG.steps  # to one of the small network
RIVAL_STEPS = 1 / 1.108  # benchmarks/methods.py
FIRST_PROJECT = PLAIN_DICE.but(learning_rate=1e-3, schedule="constant")  # Adam's rate


def every_method(best: Recipe) -> dict[str, Recipe]:
    """Return recipes that cost as much time as the small network's best, with all labels."""
    unet_steps = round(UNET_STEPS * best.steps)
    return {
        "random weights": best.but(encoder_weights=None),
        "U-Net, ResNet-34": best.but(backbone="resnet34", encoder_weights=None, steps=unet_steps),
        "first project": FIRST_PROJECT.but(size=best.size, steps=unet_steps),
        "rival": best.but(method=Adversarial(weight=0.01), steps=round(RIVAL_STEPS * best.steps)),
    }


CROPS_OF_FEW = Compose(ScaleAndCrop((128, 160), (0.75, 1.5)), Flip(), Colors(0.3))
OTHERS_OF_FEW = Compose(ScaleAndCrop((128, 160), (1.0, 1.5)), Flip())
FEW_PHOTOGRAPHS = ALONE.but(size=(128, 160), augment=CROPS_OF_FEW)
FEW_ON_PHOTOGRAPHS = {
    # As in lesson 13's runs, 1.6 times the steps take the method's time.
    "labels alone, 15 labels": FEW_PHOTOGRAPHS.but(steps=round(1.6 * FEW_STEPS)),
    "pasted classes, 15 labels": FEW_PHOTOGRAPHS.but(
        method=replace(BEST_FOR_FEW["pasted classes"], augment=OTHERS_OF_FEW)
    ),
}
PLANNED |= {
    "all labels": Study(
        "With all labels and in the same time: what is each method worth?",
        {"all, 900 steps": CHANGED, "none, 900 steps": LONG} | every_method(CHANGED),
        table="streets",
        main=("all, 900 steps", "none, 900 steps", "random weights"),
    ),
    "all labels on photographs": Study(
        "With all labels and in the same time: what is each method worth on photographs?",
        {"two drives": PHOTOGRAPHS_CHANGED, "unchanged": PHOTOGRAPHS}
        | every_method(PHOTOGRAPHS_CHANGED),
        on="camvid",
        table="photographs",
        drive="0006R0",
        main=("two drives", "random weights"),
    ),
    "15 labels on photographs": Study(
        "With 15 labels and in the same time: what do photographs without labels bring?",
        FEW_ON_PHOTOGRAPHS,
        on="camvid",
        table="photographs",
        drive="0006R0",
        frames=hide_labels(FEW_ON_PHOTOGRAPHS),
    ),
}
# The first 40 of val's streets chose the budget; all else is scored on the others.
PLANNED = {
    name: study if study.on == "camvid" else replace(study, scored=(40, None))
    for name, study in PLANNED.items()
}


# The stored runs of all that came before were scored on the embedded MiniCity's.
STUDIES = {
    name: study if study.table in ("semi", "pilot") else replace(study, streets=40)
    for name, study in STUDIES.items()
}
RESULTS = Path(__file__).resolve().parent / "results"


def results(study: Study, folder: Path = RESULTS) -> Path:
    """Return the file that holds the study's runs, the stored ones if no other folder is named."""
    return folder / f"{study.table or study.on}.csv"


def command(name: str) -> str:
    """Return what does the runs of a study."""
    needs = " --camvid /path/to/camvid" if (STUDIES | PLANNED)[name].on == "camvid" else ""
    return f"python -m cityseg_utils.studies {shlex.quote(name)}{needs}"


def read(name: str) -> pd.DataFrame:
    """Return the stored runs of a study, those of the baseline first."""
    study = STUDIES[name]
    table = experiments.read(results(study))
    configurations = list(table.index.get_level_values("configuration"))
    return table.iloc[
        [k for name in study.recipes for k, x in enumerate(configurations) if x == name]
    ]


def one_more(name: str, configuration: str, seed: int, camvid: Path | None = None) -> pd.DataFrame:
    """Do one more seed of one configuration of a study, and return it below the stored runs.

    Its row is kept in ``runs/studies/``, with what was done there before; the package stays as it
    is.

    Raises
    ------
    ValueError
        If that seed is stored.
    """
    study, stored = STUDIES[name], read(name)
    if (configuration, seed) in stored.index:
        raise ValueError(f"seed {seed} of {configuration!r} is among the stored ones; take another")
    file = results(study, storage.home() / "runs" / "studies")
    recipes = {configuration: study.recipes[configuration]}
    own = experiments.run(
        recipes, [seed], *study.data(camvid), file, progress=experiments.LiveTable()
    )
    return pd.concat([stored, own])


def main(arguments: list[str] | None = None) -> None:
    """Do the runs of some studies, and say before what they cost."""
    known = STUDIES | PLANNED
    parser = argparse.ArgumentParser("python -m cityseg_utils.studies")
    # Of no names argparse asks whether the empty list is a choice.
    parser.add_argument("studies", choices=[*known, []], nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the study")
    parser.add_argument("--camvid", type=Path, help="CamVid's folder")
    parser.add_argument("--cost", action="store_true", help="say it, and do nothing")
    # An installed package stays as it came; only in a checkout are rows added to the stored ones.
    in_checkout = storage.home() == RESULTS.parent.parent
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS if in_checkout else storage.home() / "results",
        help="the folder of the tables that get the rows: %(default)s",
    )
    options = parser.parse_args(arguments)
    chosen = {name: known[name] for name in options.studies or known}
    for name, study in chosen.items():
        if study.on == "camvid" and options.camvid is None:
            parser.error(f"{name} needs --camvid, the folder of CamVid")
    work = {
        name: (*study.data(options.camvid), results(study, options.results))
        for name, study in chosen.items()
    }
    seeds = {name: options.seeds or study.all_seeds() for name, study in chosen.items()}
    _say_cost(chosen, seeds, work)
    if options.cost:
        return
    for name, study in chosen.items():
        live = experiments.LiveTable()
        experiments.run(
            study.recipes, seeds[name], *work[name], progress=live, command=command(name)
        )


def _say_cost(chosen: dict[str, Study], seeds: dict, work: dict) -> None:
    """Print what each study costs, and all together; what two of them share is done once."""
    counted, hours = set(), 0.0
    for name, study in chosen.items():
        file = work[name][-1]
        recipes = {x: recipe for x, recipe in study.recipes.items() if (file, x) not in counted}
        counted |= {(file, x) for x in recipes}
        cost = experiments.cost(recipes, seeds[name], *work[name])
        hours += cost.processor_seconds / 3600
        print(f"{name}: {cost}", flush=True)
    print(f"together {hours:.1f} processor hours of training", flush=True)


if __name__ == "__main__":
    run_command(main)
