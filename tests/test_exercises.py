"""Every check tells a right answer, a wrong one and an untouched stub apart."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cityseg_utils import exercises, studies
from cityseg_utils.exercises import RIGHT, UNTOUCHED, WRONG
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.preprocessing import denormalize, normalize, resize_mask

SCHEME = ClassScheme("tiny", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (7, 9, 11), (0,))
MASK = np.array([[0, 1, 1], [1, VOID, 2]], np.uint8)
PAIRS = pd.DataFrame(
    {
        "split": ["train", "train", "train", "val"],
        "city": ["x", "x", "y", "z"],
        "frame": ["1", "2", "1", "1"],
    }
)
FRAMES = pd.DataFrame(
    [
        (city, f"{city}{k}.png", f"{city}{k}_labels.png")
        for city in ("ashford", "birkstadt", "corvina", "dunmere")
        for k in range(6)
    ],
    columns=["city", "image", "mask"],
)
TRIO = exercises.three_masks(FRAMES)
IMAGES = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
ENCODED = np.stack([MASK == k for k in range(3)], -1).astype(np.float32)
TRUTH = np.array([[1, 1], [0, 0]], bool)
GUESS = np.array([[1, 0], [1, 0]], bool)
# b and c were taken for each other; c got most pixels that are not its own.
ALARMS = ConfusionMatrix(3, names="abc").update(np.array([0, 1, 1, 2]), np.array([0, 2, 2, 1]))
MATRIX = ConfusionMatrix(3, names=SCHEME.names).update(
    np.repeat([0, 1], [50, 50]), np.repeat([0, 1, 0], [50, 20, 30])
)
GAINS = pd.DataFrame({"low": [0.1, -0.1, -0.2], "high": [0.2, 0.1, -0.1]})


class Several(tuple):
    """Right answers that differ."""


def leaking_frames(pairs):
    train, val = (pairs.loc[pairs["split"] == split, "city"] for split in ("train", "val"))
    return int(val.isin(train).sum())


ANSWERS = [
    (
        exercises.check_matching_mask,
        (TRIO, FRAMES),
        Several(["B", "b", " B"]),
        ["A", "C", "D", 1, ["B"]],
    ),
    (
        exercises.check_void_share,
        (MASK,),
        Several([1 / 6, 0.1667, np.float32(1 / 6)]),
        [0.2, 1, "much", [1 / 6, 0], 16.67],
    ),
    (
        exercises.check_frames_per_city,
        (PAIRS,),
        Several(
            [
                PAIRS[PAIRS["split"] == "train"]["city"].value_counts(),
                PAIRS[PAIRS["split"] == "train"].groupby("city").size(),
                PAIRS[PAIRS["split"] == "train"].groupby("city").size().reset_index(),
                PAIRS[PAIRS["split"] == "train"].groupby("city")[["frame"]].count(),
                {"y": 1, "x": 2},
            ]
        ),
        [PAIRS["city"].value_counts(), {"x": 2}, {"x": 2.9, "y": 1}, 3, "x", PAIRS, PAIRS.iloc[:0]],
    ),
    (
        exercises.check_clean_split,
        (exercises.three_splits(FRAMES),),
        Several(["C", "c", " C "]),
        ["A", "B", "AC", 2],
    ),
    (
        exercises.check_invented_classes,
        (np.array([7, 2]), np.array([7, 2, 5, 6, 8, 26]), CITYSCAPES),
        Several([{8, 26}, [26, 8], np.array([8, 26], np.uint8)]),
        [{8}, {5, 6, 8, 26}, {7, 8, 26}, [5, 6], 8, "8, 26", {}],
    ),
    (
        exercises.check_normalization,
        (normalize(IMAGES[0], "efficientnetb0"),),
        Several(["efficientnetb0", "standard", "EfficientNetB0"]),  # two names, one convention
        ["unit", "vgg16", "mobilenetv2", "resnet34", 2, "blue first"],
    ),
    (
        exercises.check_class_pixels,
        (ENCODED,),
        Several([[1, 3, 1, 1], (1, 3, 1, 1), np.append(ENCODED.sum((0, 1)), 1)]),
        [[1, 3, 2, 0], [1, 3, 1], ENCODED.sum((0, 1)), 5, "many", [1, 1, 3, 1]],
    ),
    (
        exercises.check_one_hot_bytes,
        (8, 4, 4, SCHEME),
        Several([1536, 1536.0, np.prod([8, 4, 4, 3, 4])]),
        [384, 1536 * 2, "1536 bytes", 1536 // 8],
    ),
    (
        exercises.check_iou,
        (TRUTH, GUESS),
        Several([1 / 3, 0.333, np.float32(1) / 3]),
        [0.5, 2 / 3, 33.3, 3, "third"],
    ),
    (
        exercises.check_steps,
        (2975, 8, 30),
        Several([372 * 30, 11160.0, np.int64(11160)]),
        [371 * 30, 372, 371.875 * 30, 2975 * 30, "372 x 30"],
    ),
    (
        exercises.check_worst_class,
        (MATRIX,),
        Several(["b", " B", np.str_("b")]),
        ["a", "c", 1, ["b"]],
    ),
    (
        exercises.check_diagnoses,
        (),
        Several(
            [
                exercises.CLINIC,
                dict(reversed(exercises.CLINIC.items())),
                {k.lower(): f"{fault.upper()} " for k, fault in exercises.CLINIC.items()},
                exercises.CLINIC
                | {"D": "batch norm\N{RIGHT SINGLE QUOTATION MARK}s averages not used"},
            ]
        ),
        [
            exercises.CLINIC | {"A": exercises.CLINIC["B"], "B": exercises.CLINIC["A"]},
            {"A": exercises.CLINIC["A"]},
            dict.fromkeys("ABCDEF", "overfitting"),
            list(exercises.CLINIC.values()),
            "A",
        ],
    ),
    (
        exercises.check_repaired,
        (FRAMES,),
        Several(
            [
                FRAMES,
                FRAMES[::-1].astype(str),
                pd.DataFrame({"mask": FRAMES["mask"], "image": FRAMES["image"].map(Path)}),
            ]
        ),
        [
            exercises.seventh_patient(FRAMES),
            FRAMES.assign(mask=FRAMES["mask"].where(FRAMES.index > 0)),
            FRAMES.assign(mask=FRAMES["mask"].to_numpy()[::-1]),
            FRAMES.iloc[1:],
            pd.concat([FRAMES, FRAMES.iloc[:1]]),
            FRAMES["mask"],
            list(FRAMES["mask"]),
        ],
    ),
    (
        exercises.check_iou_from_counts,
        (900, 1000, 800),
        Several([8 / 11, 0.727, np.float32(8 / 11)]),
        [8 / 19, 0.8, "0.73", 1.375, 72.7],
    ),
    (
        exercises.check_all_or_nothing,
        (),
        Several([[1, 1, 1, 0, 0], (0, 1, 0, 1, 1), np.array([1.0, 0.0, 0.0, 1.0, 1.0])]),
        [[0.6] * 5, [1, 1, 0.9, 0.1, 0], [1, 1, 1], 0.6, "1, 1, 1, 0, 0", [1, 1, 1, 1, 0]],
    ),
    (
        exercises.check_false_alarms,
        (ALARMS,),
        Several(["c", "C ", np.str_("c")]),
        ["a", "b", 2, ["c"]],
    ),
    (exercises.check_half_width, ([0.01, 0.03, 0.02],), 0.02484, [0.0248 / 2, 0.043, "0.02"]),
    (exercises.check_differences_seen, (GAINS,), 2, [1, 3, 0.5, "two"]),
    (
        exercises.check_recipes_in_time,
        (7, 6, 0.01, 0.008),
        Several([4, 4.0, np.int64(4)]),
        [3, 5, 51, 12, "four", 4.3],
    ),
    (
        exercises.check_own_changes,
        (),
        Several(
            [
                {"control": [0.3, 0.31], "mine": [0.31, 0.32]},
                {"control": (0.2, 0.1), "mine": np.array([0.21, 0.4])},
            ]
        ),
        [
            {"control": [0.3, 0.31], "mine": [0.32, 0.3]},
            {"control": [0.3, 0.31], "mine": [0.3, 0.31]},
            {"control": [0.3, 0.31], "mine": [0.4, np.nan]},
            {"mine": [0.4]},
            0.35,
        ],
    ),
    (exercises.check_focal_likelihood, (0.1, 2), 0.6838, [0.1, 0.3162, 0.9, 0.99, "low"]),
    (
        exercises.check_comparisons,
        (),
        Several(
            [
                exercises.COMPARISONS,
                {k.lower(): f" {what.upper()}" for k, what in exercises.COMPARISONS.items()},
            ]
        ),
        [
            exercises.COMPARISONS | {"B": "nothing"},
            exercises.COMPARISONS | {"A": "one was tuned", "B": "nothing"},
            {"A": "nothing"},
            dict.fromkeys("ABC", "nothing"),
            "A",
        ],
    ),
    (
        exercises.check_telling_run,
        (),
        Several(
            ["a U-Net with all three", "A u-net with all three ", np.str_("a U-Net with all three")]
        ),
        ["the new one from random weights", "the new one with 600 epochs", "a U-Net", 1],
    ),
    (
        exercises.check_shortages,
        (),
        Several(
            [
                exercises.SHORTAGES,
                dict(reversed(exercises.SHORTAGES.items())),
                {k.lower(): f" {what.upper()}" for k, what in exercises.SHORTAGES.items()},
            ]
        ),
        [
            exercises.SHORTAGES | {"B": "a larger network", "D": "steps"},
            exercises.SHORTAGES | {"A": "steps"},
            {"A": "data"},
            dict.fromkeys("ABCD", "data"),
            "data",
        ],
    ),
    (exercises.check_focal_factor, (0.9, 2), 0.01, [0.81, 0.1, 2]),
    (exercises.check_left_of_start, (0.99, 0.01), 459, [458, 460, 100, 458.2]),
    (exercises.check_operations, ((48, 96), 3, (64, 128)), 679477248, [339738624, 0.5, "many"]),
    (exercises.check_exponent, ((100, 400), (0.6, 0.5)), 0.1315, [-0.1315, 0.18, "b"]),
    (exercises.check_discriminator_loss, (0.8, 0.3), 0.2899, [0.58, -0.29, 0.7136, 0.714, "low"]),
    (exercises.check_gap_closed, (0.4, 0.46, 0.6), 0.3, [0.06, 30, 0.7, 0.767, "a third"]),
    (exercises.check_teacher_momentum, (1500, 0.1), 0.9933, [0.9, 150, 0.99, 1 / 150]),
    (exercises.check_margin, ([0.1, 0.5, 0.4],), 0.1, [0.4, 0.5, -0.1, 0.9, "small"]),
    (exercises.check_whole_frames, (80, 120, 2.5, 90), 4.444, [80, 4, 266.667, 0.0741, 400]),
    (exercises.check_largest_dice, (0.8,), 0.8889, [0.8, 0.9, 88.89, 0.667, 1]),
    (
        exercises.check_rent,
        (8, 5.0),
        Several([1.6, 8 / 5, np.float64(1.6)]),
        [0.625, 8, 5, "1.6 times", 160],
    ),
    (
        exercises.check_exports,
        (),
        Several(
            [
                exercises.EXPORTS,
                {"a": "Half the size", "b": "divided twice", "c": " blue first"},
                dict(reversed(exercises.EXPORTS.items())),
            ]
        ),
        [
            {"A": "blue first", "B": "divided twice", "C": "half the size"},
            {"A": "half the size"},
            ["half the size", "divided twice", "blue first"],
            {"A": "half the size", "B": "divided twice", "C": "green"},
        ],
    ),
    (
        exercises.check_suspects,
        (),
        Several([exercises.SUSPECTS, {k.lower(): f" {x}" for k, x in exercises.SUSPECTS.items()}]),
        [
            exercises.SUSPECTS | {"A": "absent", "C": "micro"},
            exercises.SUSPECTS | {"B": "overfitting"},
            {"A": "micro"},
            "micro",
        ],
    ),
]


def one_matrix(frames):
    intersection, union = np.sum(frames, axis=0)
    return (intersection[union > 0] / union[union > 0]).mean()


def one_matrix_by_class(frames):
    scores = []
    for k in range(len(frames[0][0])):
        if union := sum(union[k] for _, union in frames):
            scores.append(sum(intersection[k] for intersection, _ in frames) / union)
    return sum(scores) / len(scores)


def softened(truth, answer, least):
    first = np.maximum(least, (truth * answer).sum(-1, keepdims=True))
    rest = answer * (1 - truth)
    rest = rest / rest.sum(-1, keepdims=True) * (1 - first)
    return (truth * first + rest) * truth.sum(-1, keepdims=True)


def softened_by_pixel(truth, answer, least):
    new = np.zeros(truth.shape)
    for k in range(len(truth)):
        if truth[k].sum():
            c = truth[k].argmax()
            new[k] = answer[k] * (1 - max(least, answer[k, c])) / (1 - answer[k, c])
            new[k, c] = max(least, answer[k, c])
    return new


def least_confident(scores, asked, number):
    return np.argsort(np.where(asked, 2, scores.max(-1)).ravel())[:number]


def least_confident_one_by_one(scores, asked, number):
    best = scores.max(-1)
    free = [(best[place], n) for n, place in enumerate(np.ndindex(best.shape)) if not asked[place]]
    return [n for _, n in sorted(free)[:number]][::-1]


def least_confident_partly(scores, asked, number):
    free = np.flatnonzero(~asked)
    return free[np.argpartition(scores.max(-1).ravel()[free], number)[:number]]


def pasted(picture, labels, onto, onto_labels, classes):
    return pasted_all(picture, labels, onto, onto_labels, np.setdiff1d(classes, onto_labels))


def pasted_all(picture, labels, onto, onto_labels, classes):
    where = np.isin(labels, classes)
    return np.where(where[..., None], picture, onto), np.where(where, labels, onto_labels)


def pasted_in_place(picture, labels, onto, onto_labels, classes):
    for k in [k for k in classes if (onto_labels != k).all()]:
        onto[labels == k], onto_labels[labels == k] = picture[labels == k], k
    return onto, onto_labels


def shifted(image, mask, n, gray=0.5, label=VOID):
    width = image.shape[1]
    moved = np.concatenate([np.full_like(image[:, :n], gray), image[:, : width - n]], 1)
    return moved, np.concatenate([np.full_like(mask[:, :n], label), mask[:, : width - n]], 1)


def shifted_in_place(image, mask, n):
    if n:
        image[:, n:], mask[:, n:] = image[:, :-n].copy(), mask[:, :-n].copy()
    image[:, :n], mask[:, :n] = 0.5, VOID
    return image, mask


def soft_dice(t, p):
    return 2 * (t * p).sum((0, 1, 2)) / (t.sum((0, 1, 2)) + p.sum((0, 1, 2)))


def soft_dice_in_a_loop(t, p):
    t, p = t.reshape(-1, t.shape[-1]), p.reshape(-1, p.shape[-1])
    return np.array([2 * a @ b / (a.sum() + b.sum()) for a, b in zip(t.T, p.T, strict=True)])


def snapped(mask, blended):
    """Make the nearest label of what interpolation gave, which is a class between two others."""
    labels = np.unique(mask).astype(int)
    nearest = np.abs(blended[..., None].astype(int) - labels).argmin(-1)
    return labels[nearest].astype(np.uint8)


FUNCTIONS = [
    (
        exercises.check_soft_dice_loss,
        (),
        Several(
            [
                lambda t, p: 1 - soft_dice(t, p).mean(),
                lambda t, p: np.mean(1 - soft_dice_in_a_loop(t, p)),
                lambda t, p: (
                    1 - np.mean(2 * np.einsum("nhwc,nhwc->c", t, p) / np.einsum("nhwc->c", t + p))
                ),
            ]
        ),
        [
            lambda t, p: soft_dice(t, p).mean(),
            lambda t, p: 1 - soft_dice(t, p),
            lambda t, p: 1 - soft_dice(t, p)[t.any((0, 1, 2))].mean(),  # fair, but not asked here
            lambda t, p: 1 - 2 * (t * p).sum() / (t.sum() + p.sum()),
            lambda t, p: 1 - (t * p).sum((0, 1, 2)).mean(),
        ],
    ),
    (
        partial(exercises.check_soft_dice_loss, absent=False),
        (),
        Several(
            [
                lambda t, p: 1 - soft_dice(t, p)[t.any((0, 1, 2))].mean(),
                lambda t, p: 1 - np.sum(soft_dice_in_a_loop(t, p)) / t.max((0, 1, 2)).sum(),
                lambda t, p: np.mean((1 - soft_dice(t, p))[t.sum((0, 1, 2)) > 0]),
            ]
        ),
        [
            lambda t, p: 1 - soft_dice(t, p).mean(),
            lambda t, p: 1 - soft_dice(t, p)[p.any((0, 1, 2))].mean(),
            lambda t, p: 1 - soft_dice(t, p)[np.unique(t.argmax(-1))].mean(),  # void is no class 0
            lambda t, p: 1 - soft_dice(t, p)[:-1].mean(),
            lambda t, p: 1 - soft_dice(t, p).sum() / (t.shape[-1] - 1),
            lambda t, p: 1 - soft_dice(t, p).max(),
        ],
    ),
    (
        exercises.check_front,
        (),
        lambda time, score: {
            n for n in time.index if not ((time < time[n]) & (score > score[n])).any()
        },
        [
            lambda time, score: set(time.index),
            lambda time, score: {score.idxmax()},
            lambda time, score: set(score.index[score == score.cummax()]),  # not sorted by time
            lambda time, score: ["a"],
        ],
    ),
    (
        exercises.check_streets_needed,
        (),
        lambda goal, a, b: (a / (1 - goal)) ** (1 / b),
        [
            lambda goal, a, b: (a / goal) ** (1 / b),
            lambda goal, a, b: a * (1 - goal) ** -b,
        ],
    ),
    (
        exercises.check_mirror,
        (),
        lambda image, mask: (image[:, ::-1], mask[:, ::-1]),
        [
            lambda image, mask: (image[:, ::-1], mask),
            lambda image, mask: (image[::-1], mask[::-1]),
            lambda image, mask: (image[..., ::-1], mask[..., ::-1]),
            lambda image, mask: image[:, ::-1],
        ],
    ),
    *(
        (
            exercises.check_shift,
            (),
            right,
            [
                lambda image, mask, n: shifted(image, mask, n)[0],
                lambda image, mask, n: (shifted(image, mask, n)[0], mask),
                lambda image, mask, n: (np.roll(image, n, 1), np.roll(mask, n, 1)),
                lambda image, mask, n: shifted(image[:, ::-1], mask[:, ::-1], n),
                lambda image, mask, n: shifted(image, mask, n, label=0),
                lambda image, mask, n: shifted(image, mask, n, gray=0),
            ],
        )
        for right in (shifted, shifted_in_place)
    ),
    (
        exercises.check_class_weights,
        (),
        lambda pixels: np.sqrt(pixels.max() / pixels),
        [
            lambda pixels: pixels.max() / pixels,
            lambda pixels: np.sqrt(pixels.sum() / pixels),
            lambda pixels: np.ones(2),
        ],
    ),
    (
        exercises.check_accuracy_from_micro_iou,
        (),
        Several(
            [
                lambda iou: 2 * iou / (1 + iou),
                lambda iou: 2 - 2 / (1 + iou),
                lambda iou: 2 / (1 + 1 / iou),
            ]
        ),
        [
            lambda iou: iou / (2 - iou),
            lambda iou: iou,
            lambda iou: (1 + iou) / 2,
            lambda iou: 2 * iou / (1 - iou),
        ],
    ),
    (
        exercises.check_leaking_frames,
        (FRAMES.assign(split=np.repeat(["train", "train", "val", "test"], 6)),),
        Several(
            [
                leaking_frames,
                lambda pairs: len(
                    pairs[pairs["split"] == "train"][["city"]]
                    .drop_duplicates()
                    .merge(pairs[pairs["split"] == "val"], on="city")
                ),
                lambda pairs: sum(
                    city in set(pairs[pairs["split"] == "train"]["city"])
                    for city in pairs[pairs["split"] == "val"]["city"]
                ),
            ]
        ),
        [
            # Leaks into the test split are not asked for here.
            lambda pairs: int((pairs.groupby("city")["split"].transform("nunique") > 1).sum()),
            lambda pairs: bool(leaking_frames(pairs)),
            lambda pairs: 0,
            lambda pairs: len(
                set(pairs[pairs["split"] == "train"]["city"])
                & set(pairs[pairs["split"] == "val"]["city"])
            ),
            lambda pairs: leaking_frames(
                pairs.assign(split=pairs["split"].str.replace("test", "val"))
            ),
            lambda pairs: int((pairs["split"] == "val").sum()),
        ],
    ),
    (
        exercises.check_to_ids,
        (CITYSCAPES,),
        Several(
            [
                lambda mask, scheme: np.append(scheme.ids, np.zeros(256, int))[
                    np.where(mask == VOID, len(scheme.ids), mask)
                ],
                lambda mask, scheme: np.where(
                    mask == VOID, 0, np.array(scheme.ids)[np.where(mask == VOID, 0, mask)]
                ),
                lambda mask, scheme: [
                    [0 if value == VOID else scheme.ids[value] for value in row] for row in mask
                ],
            ]
        ),
        [
            lambda mask, scheme: mask,
            lambda mask, scheme: np.where(mask == VOID, 0, mask),
            lambda mask, scheme: np.array(scheme.ids)[mask],
            lambda mask, scheme: np.array(scheme.ids)[np.where(mask == VOID, 0, mask)],
            lambda mask, scheme: scheme.remap(mask),
        ],
    ),
    (
        exercises.check_shrink,
        (),
        Several(
            [
                resize_mask,
                lambda mask, size: cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST),
                lambda mask, size: mask[
                    np.ix_(*(np.arange(n) * m // n for n, m in zip(size, mask.shape, strict=True)))
                ],
            ]
        ),
        [
            lambda mask, size: cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA),
            lambda mask, size: cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT),
            lambda mask, size: cv2.resize(mask, size[::-1]),
            lambda mask, size: resize_mask(mask.astype(float), size) / 255,
            lambda mask, size: mask,
            lambda mask, size: np.zeros(size),
            lambda mask, size: snapped(mask, cv2.resize(mask, size[::-1])),
        ],
    ),
    (
        exercises.check_inverse,
        (),
        Several(
            [
                lambda image, mean, std: np.round(255 * (image * std + mean)).astype(np.uint8),
                lambda image, mean, std: (255 * (image * std + mean) + 0.5).astype(np.uint8),
                lambda image, mean, std: denormalize(image, "standard", mean, std),
            ]
        ),
        [
            lambda image, mean, std: (255 * (image * std + mean)).astype(np.uint8),
            lambda image, mean, std: 255 * (image + mean) * std,
            lambda image, mean, std: image,
            lambda image, mean, std: 255 * (image * std + mean),
            lambda image, mean, std: np.ceil(255 * (image * std + mean) - 0.01).astype(np.uint8),
            lambda image, mean, std: (255 * (image * std + mean) + 0.001).astype(np.uint8),
        ],
    ),
    (
        exercises.check_from_one_hot,
        (),
        Several(
            [
                lambda encoded: np.uint8(np.where(encoded.any(-1), encoded.argmax(-1), VOID)),
                lambda encoded: (
                    (encoded.cumsum(-1) == 0).sum(-1)
                    + (VOID - encoded.shape[-1]) * (encoded.sum(-1) == 0)
                ).astype("uint8"),
                lambda encoded: np.array(
                    [[list(p).index(1) if 1 in p else VOID for p in row] for row in encoded],
                    np.uint8,
                ),
            ]
        ),
        [
            lambda encoded: encoded.argmax(-1),
            lambda encoded: np.where(encoded.argmax(-1) > 0, encoded.argmax(-1), VOID),
            lambda encoded: np.where(encoded.any(-1), encoded.argmax(-1), -1),
            lambda encoded: encoded,
            lambda encoded: np.where(encoded.any(-1), encoded.argmax(0), VOID),
            lambda encoded: np.where(encoded.any(-1), encoded.argmax(-1), VOID),  # not uint8
            lambda encoded: np.uint8(
                np.where(encoded.any(-1), encoded[..., :3] @ [0, 1, 2], VOID)  # for 3 classes alone
            ),
        ],
    ),
    (
        exercises.check_dice_from_iou,
        (),
        Several(
            [
                lambda iou: 2 * iou / (1 + iou),
                lambda iou: 2 - 2 / (1 + iou),
                lambda iou: 2 * np.float32(iou) / (iou + 1.0),
            ]
        ),
        [
            lambda iou: iou,
            lambda iou: 2 * iou,
            lambda iou: 2 * iou / (1 - iou),
            lambda iou: iou / (2 - iou),
        ],
    ),
    *(
        (
            exercises.check_softened,
            (),
            right,
            [
                lambda truth, answer, least: truth * least,
                lambda truth, answer, least: truth * least + (1 - truth) * answer,
                lambda truth, answer, least: truth * least + (1 - truth) * (1 - least) / 2,
                lambda truth, answer, least: answer,
                lambda truth, answer, least: softened(truth, answer, least).argmax(-1),
            ],
        )
        for right in (softened, softened_by_pixel)
    ),
    *(
        (
            exercises.check_cheat,
            (),
            right,
            [
                lambda maps: maps.max() == 1,
                lambda maps: (maps.sum(-1) == 1).all(),
                lambda maps: True,
                lambda maps: maps.argmax(-1).std() > 1,
                lambda maps: "true",
            ],
        )
        for right in (
            lambda maps: (maps.sum(-1) == 0).any(),
            lambda maps: bool(maps.sum() < maps.shape[0] * maps.shape[1]),
            lambda maps: maps.max(-1).min() == 0,
        )
    ),
    *(
        (
            exercises.check_paste,
            (),
            right,
            [
                pasted_all,
                lambda a, la, b, lb, classes: (a, la),
                lambda a, la, b, lb, classes: pasted(b, lb, a, la, classes),
                lambda a, la, b, lb, classes: (pasted(a, la, b, lb, classes)[0], lb),
                lambda a, la, b, lb, classes: pasted(a, la, b, lb, [*classes, VOID]),
                lambda a, la, b, lb, classes: pasted(a, np.where(la == 1, 1, la), b, lb, [1]),
            ],
        )
        for right in (pasted, pasted_in_place)
    ),
    *(
        (
            exercises.check_least_confident,
            (),
            right,
            [
                lambda scores, asked, n: np.argsort(scores.max(-1).ravel())[:n],  # twice
                lambda scores, asked, n: least_confident(1 - scores, asked, n),
                lambda scores, asked, n: least_confident(-scores, asked, n),
                lambda scores, asked, n: least_confident(scores, ~asked, n),
                lambda scores, asked, n: np.sort(scores.max(-1).ravel())[:n],
                lambda scores, asked, n: np.argsort(np.ptp(scores, -1)[~asked])[:n],
            ],
        )
        for right in (least_confident, least_confident_one_by_one, least_confident_partly)
    ),
    (
        exercises.check_loss_of_all,
        (),
        Several(
            [
                lambda parts: sum(x for x, _ in parts) / sum(n for _, n in parts),
                lambda parts: np.divide(*np.sum(parts, axis=0)),
                lambda parts: np.average(
                    [x / max(n, 1) for x, n in parts], weights=[n for _, n in parts]
                ),
            ]
        ),
        [
            lambda parts: np.mean([x / max(n, 1) for x, n in parts]),
            lambda parts: np.mean([x / n for x, n in parts if n]),
            lambda parts: sum(x for x, _ in parts),
            lambda parts: sum(x for x, _ in parts) / len(parts),
        ],
    ),
    (
        exercises.check_one_matrix,
        (),
        Several([one_matrix, one_matrix_by_class]),
        [
            lambda frames: np.mean([np.nanmean(i / np.where(u, u, np.nan)) for i, u in frames]),
            lambda frames: sum(i for i, _ in frames).sum() / sum(u for _, u in frames).sum(),
            lambda frames: (sum(i for i, _ in frames) / (sum(u for _, u in frames) + 1e-9)).mean(),
            lambda frames: one_matrix(frames[:1]) if len(frames) > 1 else one_matrix(frames),
            lambda frames: "0.5",
        ],
    ),
]


def identify(value):
    return getattr(getattr(value, "func", value), "__name__", None)


@pytest.mark.parametrize(("check", "context", "right", "wrong"), ANSWERS, ids=identify)
def test_values(check, context, right, wrong):
    rights = right if isinstance(right, Several) else [right]
    assert [check(answer, *context).status for answer in rights] == [RIGHT] * len(rights)
    assert [check(answer, *context).status for answer in wrong] == [WRONG] * len(wrong)
    assert check(..., *context).status == UNTOUCHED
    assert check(None, *context).status == UNTOUCHED


@pytest.mark.parametrize(("check", "context", "right", "wrong"), FUNCTIONS, ids=identify)
def test_functions(check, context, right, wrong):
    def stub(*arguments): ...

    rights = right if isinstance(right, Several) else [right]
    assert [check(function, *context).status for function in rights] == [RIGHT] * len(rights)
    assert [check(function, *context).status for function in wrong] == [WRONG] * len(wrong)
    assert check(stub, *context).status == UNTOUCHED


def test_a_function_that_raises_is_wrong_and_the_reason_is_shown():
    verdict = exercises.check_dice_from_iou(lambda iou: 1 / 0)
    assert verdict.status == WRONG
    assert "ZeroDivisionError: division by zero" in repr(verdict)


def test_a_function_that_spoils_its_arguments_does_not_spoil_the_check():
    def spoil(pairs):
        answer = leaking_frames(pairs)
        pairs["split"] = "train"
        return answer

    assert exercises.check_leaking_frames(spoil, PAIRS).status == RIGHT
    assert exercises.check_leaking_frames(spoil, PAIRS).status == RIGHT


def test_the_verdict_reads_as_one_line():
    shown = {repr(exercises.check_steps(x, 8, 8, 1))[:10] for x in (1, 2, ...)}
    assert shown == {"✓ right: s", "✗ not yet:", "… your tur"}


def test_rounding_to_three_decimals_is_right():
    assert exercises.check_void_share(0.167, MASK).status == RIGHT
    verdict = exercises.check_void_share(0.17, MASK)
    assert repr(verdict) == "✗ not yet: nearly: give three decimals"
    assert "nearly" not in repr(exercises.check_void_share(0.18, MASK))


def test_each_patient_of_the_clinic_has_curves_and_a_picture():
    curves = pd.read_csv(studies.RESULTS / "clinic.csv")
    patients = ["healthy", *exercises.CLINIC]
    assert curves["patient"].unique().tolist() == patients
    sheet = cv2.imread(str(studies.RESULTS / "clinic.png"), cv2.IMREAD_UNCHANGED)
    assert sheet.shape == (256 * len(patients), 2 * 512)
    learned_void = [(row == VOID).any() for row in np.vsplit(sheet, len(patients))]
    assert [patients[k] for k in np.flatnonzero(learned_void)] == ["E"]


@pytest.mark.parametrize("convention", exercises.CONVENTIONS[3:])
def test_a_convention_with_two_names_has_both_for_every_pixel_value(convention):
    image = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=-1)
    verdicts = {
        name: exercises.check_normalization(name, normalize(image, convention)).status
        for name in exercises.CONVENTIONS
    }
    same = {"standard", "efficientnetb0"}
    right = same if convention in same else {convention}
    assert {name for name, status in verdicts.items() if status == RIGHT} == right


def test_the_seventh_patient_looks_well_at_first():
    patient = exercises.seventh_patient(FRAMES)
    own = patient.merge(FRAMES, on=["image", "mask"])
    assert own["image"].tolist() == sorted(FRAMES["image"])[:8]
    assert sorted(patient["mask"]) == sorted(FRAMES["mask"])  # so it can be mended


def test_each_of_several_worst_classes_is_right():
    tie = ConfusionMatrix(3, names="abc").update(np.array([0, 1, 2]), np.array([0, 2, 1]))
    verdicts = [exercises.check_worst_class(name, tie).status for name in "abc"]
    assert verdicts == [WRONG, RIGHT, RIGHT]


# -- predictions -----------------------------------------------------------------------------------


def test_a_prediction_is_shown_beside_what_came_out():
    asked = exercises.predict("How much?", 0.05)
    assert repr(asked) == "How much? You say: 0.05."
    assert repr(exercises.compare(asked, 0.02)) == (
        "How much? You said: 0.05. It came out: 0.02; you were too high by 0.03."
    )
    assert "too low by 1 %" in repr(exercises.compare(exercises.predict("?", 3, unit="%"), 4))
    assert "you were right" in repr(exercises.compare(exercises.predict("?", 3), np.float64(3)))


@pytest.mark.parametrize("answer", [None, ...])
def test_without_a_prediction_the_lesson_goes_on(answer):
    asked = exercises.predict("How much?", answer)
    assert "or go on" in repr(asked)
    assert repr(exercises.compare(asked, 0.02)) == (
        "How much? You said: no answer. It came out: 0.02."
    )


def test_a_choice_is_one_of_those_given():
    choices = ("teacher", "labels")
    asked = exercises.predict("Which wins?", " Teacher", choices)
    assert repr(asked).startswith("Which wins? (teacher, labels) You say: teacher")
    assert "as you said" in repr(exercises.compare(asked, "teacher"))
    assert "otherwise" in repr(exercises.compare(asked, "labels"))
    neither = exercises.predict("Which wins?", "both", choices)
    assert "'both' is none of these" in repr(neither)
    assert "no answer" in repr(exercises.compare(neither, "labels"))


def test_words_of_ones_own_are_not_called_wrong():
    asked = exercises.predict("Which labels appear?", "19, 11")
    assert repr(exercises.compare(asked, "11 and 19")).endswith("It came out: 11 and 19.")
    asked = exercises.predict("Which class?", " Truck")
    assert repr(exercises.compare(asked, "truck")).endswith("It came out: truck, as you said.")
    assert repr(exercises.compare(exercises.predict("How many?", "3"), 3)).endswith("as you said.")


def test_the_fold_shows_what_was_typed_and_runs_nothing_of_it():
    html = exercises.compare(exercises.predict("<b>?", "<script>"), "a & b")._repr_html_()
    assert html == (
        "<details><summary>&lt;b&gt;? You said: &lt;script&gt;.</summary>"
        "<p>It came out: a &amp; b.</p></details>"
    )


def test_three_exports_are_as_faulty_as_they_are_called():
    class Echo:
        input_shape = (None, 4, 8, 3)

        def predict_on_batch(self, images):
            return images

    images = np.random.default_rng(0).random((2, 4, 8, 3), np.float32)
    wrong = exercises.faulty_exports(Echo())
    assert [wrong[letter].input_shape for letter in "ABC"] == [Echo.input_shape] * 3
    seen = {exercises.EXPORTS[x]: wrong[x].predict_on_batch(images) for x in "ABC"}
    np.testing.assert_array_equal(seen["blue first"], images[..., ::-1])
    np.testing.assert_array_equal(seen["divided twice"], images / 255)
    blurred = seen["half the size"]
    assert blurred.shape == images.shape
    assert blurred.std() < images.std()
