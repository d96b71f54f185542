import math
import shutil

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from cityseg_utils import datasets, minicity, models, prediction
from cityseg_utils.errors import DataError, LabelError, ShapeError
from cityseg_utils.labels import CITYSCAPES, VOID
from cityseg_utils.metrics import ConfusionMatrix, evaluate_folder, export_predictions

CLASSES = 4
NAN = math.nan
masks = arrays(np.uint8, (3, 5, 6), elements=st.sampled_from([*range(CLASSES), VOID]))


def matrix(truth, prediction, classes=CLASSES):
    return ConfusionMatrix(classes).update(np.asarray(truth), np.asarray(prediction))


def by_sets(truth, prediction, k):
    """IoU and Dice of class k from two sets of pixels."""
    labelled = truth != VOID
    is_k = set(np.flatnonzero(labelled & (truth == k)))
    called_k = set(np.flatnonzero(labelled & (prediction == k)))
    if not is_k | called_k:
        return NAN, NAN
    both = len(is_k & called_k)
    return both / len(is_k | called_k), 2 * both / (len(is_k) + len(called_k))


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[0, 0, 0], [1, 1, 1], [2, 2, 2]], [1, 1, 1]),
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[1, 1, 1], [2, 2, 2], [0, 0, 0]], [0, 0, 0]),
        ([[0, 0, 0], [0, 0, 0], [1, 1, 1]], [[0, 0, 0], [0, 0, 0], [0, 0, 0]], [6 / 9, 0, NAN]),
        ([[0, 0, 1], [0, 0, 1], [0, 0, 1]], [[0, 1, 1], [0, 1, 1], [0, 1, 1]], [0.5, 0.5, NAN]),
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 2], [0, 0, 0], [0, 0, 0]], [8 / 9, NAN, 0]),
        (
            [[0, 0, 255], [1, 1, 255], [1, 1, 255]],
            [[0, 0, 2], [1, 1, 2], [1, 0, 2]],
            [2 / 3, 0.75, NAN],
        ),
        ([[0, 0, 0], [0, 0, 0], [1, 1, 1]], [[0, 0, 255], [0, 0, 255], [1, 1, 1]], [4 / 6, 1, NAN]),
        ([[255, 255, 255]] * 3, [[0, 1, 2]] * 3, [NAN, NAN, NAN]),
    ],
    ids=["right", "wrong", "one class", "half", "alarm", "void truth", "void said", "all void"],
)
def test_iou_by_hand(truth, prediction, expected):
    np.testing.assert_allclose(matrix(truth, prediction, 3).iou(), expected, rtol=1e-12)


def test_every_score_by_hand():
    result = matrix([[0, 0, 0, 1]], [[0, 0, 1, 1]], 3)
    assert result.counts.tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(result.iou(), [2 / 3, 1 / 2, NAN])
    np.testing.assert_allclose(result.dice(), [4 / 5, 2 / 3, NAN])
    np.testing.assert_allclose(result.class_accuracy(), [2 / 3, 1, NAN])
    assert result.mean_iou() == pytest.approx(7 / 12)
    assert result.mean_dice() == pytest.approx(11 / 15)
    assert result.pixel_accuracy() == 0.75
    np.testing.assert_allclose(result.table()["share"], [0.75, 0.25, 0])


@given(masks, masks)
def test_iou_and_dice_equal_their_definition_by_sets(truth, prediction):
    result = matrix(truth, prediction)
    expected = [by_sets(truth.ravel(), prediction.ravel(), k) for k in range(CLASSES)]
    np.testing.assert_allclose(np.column_stack([result.iou(), result.dice()]), expected, rtol=1e-12)


@given(masks, masks, st.permutations(range(3)))
def test_order_and_batching_do_not_matter(truth, prediction, order):
    singly = ConfusionMatrix(CLASSES)
    for k in order:
        singly.update(truth[k], prediction[k])
    assert singly == matrix(truth, prediction)


@given(masks, masks)
def test_adding_matrices_equals_counting_everything_in_one(truth, prediction):
    parts = [matrix(truth[k], prediction[k]) for k in range(3)]
    assert parts[0] + parts[1] + parts[2] == matrix(truth, prediction)


@given(masks, masks)
def test_iou_is_dice_over_two_minus_dice(truth, prediction):
    result = matrix(truth, prediction)
    np.testing.assert_allclose(result.iou(), result.dice() / (2 - result.dice()), rtol=1e-12)


@given(masks)
def test_perfect_prediction_scores_1(truth):
    scores = matrix(truth, truth).iou().dropna()
    assert len(scores) == len(set(truth.ravel()) - {VOID})
    assert (scores == 1).all()


@given(masks, masks)
def test_every_score_lies_between_0_and_1(truth, prediction):
    result = matrix(truth, prediction)
    per_class = result.table().drop(columns="share").to_numpy()
    overall = [result.mean_iou(), result.mean_dice(), result.pixel_accuracy()]
    scores = np.append(per_class, [*overall, result.frequency_weighted_iou()])
    assert (np.isnan(scores) | ((scores >= 0) & (scores <= 1))).all()
    found = result.iou().dropna().index
    assert (result.iou()[found] <= result.class_accuracy().fillna(1)[found]).all()


@given(masks, masks, st.permutations(range(CLASSES)))
def test_renumbering_classes_renumbers_rows(truth, prediction, order):
    renumber = np.array([*order, *[VOID] * (256 - CLASSES)], np.uint8)
    before, after = matrix(truth, prediction), matrix(renumber[truth], renumber[prediction])
    np.testing.assert_array_equal(after.iou().to_numpy()[order], before.iou())
    np.testing.assert_allclose(after.mean_iou(), before.mean_iou(), rtol=1e-12)


@given(masks, masks, masks)
def test_what_is_predicted_on_void_changes_nothing(truth, prediction, other):
    changed = np.where(truth == VOID, other, prediction)
    assert matrix(truth, changed) == matrix(truth, prediction)


@given(masks)
def test_probabilities_count_as_their_largest(truth):
    probabilities = np.random.default_rng(0).random((*truth.shape, CLASSES), np.float32)
    assert matrix(truth, probabilities) == matrix(truth, probabilities.argmax(-1))


@pytest.mark.parametrize("void_id", [255, 4, -1])
def test_void_may_be_another_number(void_id):
    result = ConfusionMatrix(2, void=void_id).update(
        np.int32([[0, 1, void_id]]), np.int32([[0, 0, 0]])
    )
    np.testing.assert_allclose(result.iou(), [0.5, 0])


FINE = np.zeros((2, 2), np.uint8)
SURE = np.ones((2, 2, CLASSES), np.float32)


@pytest.mark.parametrize(
    ("truth", "prediction", "error"),
    [
        (FINE, np.where(SURE > 0, np.nan, SURE), LabelError),
        (FINE, SURE * np.inf, LabelError),
        (FINE, SURE[..., :3], ShapeError),
        (FINE, FINE[:1], ShapeError),
        (FINE[:1], SURE, ShapeError),
        (FINE, FINE + 4, LabelError),
        (FINE + 4, FINE, LabelError),
        (FINE, FINE.astype(int) - 1, LabelError),
        (FINE, FINE + 0.5, LabelError),
    ],
    ids=["NaN", "infinity", "3 of 4", "short", "tall", "4 said", "4 true", "negative", "float"],
)
def test_a_refused_update_counts_nothing(truth, prediction, error):
    result = matrix(FINE, FINE)
    with pytest.raises(error):
        result.update(truth, prediction)
    assert result == matrix(FINE, FINE)


def test_nothing_counted_gives_nan():
    empty = ConfusionMatrix(3)
    assert math.isnan(empty.mean_iou())
    assert math.isnan(empty.pixel_accuracy())


def test_scores_carry_the_names_of_the_scheme():
    assert ConfusionMatrix.for_scheme(CITYSCAPES).iou().index.tolist() == list(CITYSCAPES.names)


def test_matrices_over_different_classes_cannot_be_added():
    with pytest.raises(LabelError):
        ConfusionMatrix(3) + ConfusionMatrix(4)


def test_one_name_per_class():
    with pytest.raises(LabelError):
        ConfusionMatrix(3, names=["a", "b"])


# -- label ids as files store them ----------------------------------------------------------------

IDS = np.array([*CITYSCAPES.ids, *CITYSCAPES.void_ids], np.uint8)
PAIRS_OF_MAPS = array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from(IDS.tolist()))] * 2)
)


@given(PAIRS_OF_MAPS)
def test_counting_ids_is_remapping_and_counting(maps):
    quick = ConfusionMatrix.for_scheme(CITYSCAPES).count_ids(*maps, CITYSCAPES)
    slow = ConfusionMatrix.for_scheme(CITYSCAPES).update(*map(CITYSCAPES.remap, maps))
    assert quick == slow


def test_unknown_ids_are_named_and_nothing_is_counted():
    matrix = ConfusionMatrix.for_scheme(CITYSCAPES)
    with pytest.raises(LabelError, match="200"):
        matrix.count_ids(np.full((2, 2), 7, np.uint8), np.full((2, 2), 200, np.uint8), CITYSCAPES)
    assert matrix.counts.sum() == 0
    with pytest.raises(ShapeError):
        matrix.count_ids(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), CITYSCAPES)


def test_more_pixels_than_a_float_can_count():
    many = np.full((5000, 4000), 7, np.uint8)  # 20 million, above 2 ** 24
    many[0, 0] = 8
    matrix = ConfusionMatrix.for_scheme(CITYSCAPES).count_ids(many, many, CITYSCAPES)
    assert matrix.true_pixels[:2].tolist() == [19_999_999, 1]


# -- categories -----------------------------------------------------------------------------------


def test_within_a_group_nothing_is_confused():
    matrix = ConfusionMatrix(3, names=["car", "bus", "road"])
    matrix.update(np.array([[0, 0, 1, 2]]), np.array([[0, 1, 0, 1]]))
    merged = matrix.merged(["vehicle", "vehicle", "flat"])
    assert merged.names == ["vehicle", "flat"]
    assert merged.iou().tolist() == [3 / 4, 0]
    with pytest.raises(LabelError, match="2 groups were given for 3 classes"):
        matrix.merged(["vehicle", "flat"])


@given(PAIRS_OF_MAPS)
def test_groups_of_one_change_nothing(maps):
    matrix = ConfusionMatrix.for_scheme(CITYSCAPES).count_ids(*maps, CITYSCAPES)
    assert matrix.merged(CITYSCAPES.names) == matrix


def test_frequency_weighted_iou_by_hand():
    """Three pixels of class 0, all found, and one of class 1, taken for 0."""
    matrix = ConfusionMatrix(3).update(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 0, 0]]))
    assert matrix.frequency_weighted_iou() == pytest.approx(3 / 4 * 3 / 4)
    assert math.isnan(ConfusionMatrix(3).frequency_weighted_iou())


# -- folders --------------------------------------------------------------------------------------


@pytest.fixture
def submission(tiny_city, tmp_path):
    """Noisy predictions for the four val frames, with names and folders of their own."""
    rng, folder = np.random.default_rng(0), tmp_path / "submission"
    for k, path in enumerate(sorted(tiny_city.glob("gtFine/val/*/*labelIds.png"))):
        raw = np.array(Image.open(path))
        noise = rng.choice([0, 3, 4, 7, 8, 11, 21, 26], raw.shape).astype(np.uint8)
        name = path.name.replace("gtFine_labelIds", ("pred", "my_net*2")[k % 2])
        (folder / str(k % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(rng.random(raw.shape) < 0.3, noise, raw)).save(
            folder / str(k % 3) / name
        )
    return folder


def as_train_ids(path, void):
    """Store predictions as argmax gives them."""
    ids = CITYSCAPES.remap(np.array(Image.open(path)))
    Image.fromarray(np.where(ids == 255, void, ids)).save(path)


@pytest.mark.parametrize("void", [0, 19, 255])
def test_predictions_in_train_ids_are_named(tiny_city, submission, void):
    """They would score next to nothing, or have an id that no class has."""
    for path in submission.rglob("*.png"):
        as_train_ids(path, void)
    with pytest.raises(DataError, match=r"look like train ids 0 \.\. 18.*export_predictions"):
        evaluate_folder(tiny_city / "gtFine" / "val", submission)


def test_a_network_that_says_one_thing_is_not_taken_for_train_ids(tiny_city, submission):
    """Raw 13 is fence; as a train id it would be car, of which there is more."""
    for path in submission.rglob("*.png"):
        Image.fromarray(np.full((64, 128), 13, np.uint8)).save(path)
    assert evaluate_folder(tiny_city / "gtFine" / "val", submission).pixel_accuracy() < 0.2


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4, 3)])
def test_raw_ids_are_counted_of_single_maps_of_eight_bits_alone(shape):
    matrix, ids = ConfusionMatrix.for_scheme(CITYSCAPES), np.full(shape, 7, np.uint8)
    with pytest.raises(ShapeError, match=r"must be \(H, W\) uint8 ids"):
        matrix.count_ids(ids, ids, CITYSCAPES)
    with pytest.raises(ShapeError, match="uint16"):
        matrix.count_ids(ids[0].astype(np.uint16), ids[0], CITYSCAPES)
    assert matrix.counts.sum() == 0


def test_two_images_of_one_name_have_no_place_for_two_predictions(tmp_path):
    maps = [np.zeros((2, 2), np.uint8)] * 2
    with pytest.raises(DataError, match="a_pred.png"):
        export_predictions(maps, ["x/a.png", "y/a.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_poor_model_is_not_taken_for_train_ids(tiny_city, submission):
    """All of its ids are train ids, too, but as ids more of them are right."""
    for path in submission.rglob("*.png"):
        Image.fromarray(np.full((64, 128), 7, np.uint8)).save(path)
    assert evaluate_folder(tiny_city / "gtFine" / "val", submission).pixel_accuracy() > 0.2


def test_unknown_ids_of_predictions_are_counted(tiny_city, submission):
    path = next(submission.rglob("*.png"))
    ids = np.array(Image.open(path))
    ids[:10] = 99
    Image.fromarray(ids).save(path)
    with pytest.raises(DataError, match=r"99 \(1280 pixels\)"):
        evaluate_folder(tiny_city / "gtFine" / "val", submission)


def test_linked_folders_and_files_that_macos_leaves(tiny_city, submission, tmp_path):
    expected = evaluate_folder(tiny_city / "gtFine" / "val", submission)
    for path in [*submission.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    one = next(path for path in submission.rglob("*.png") if path.name[0] != ".")
    one.rename(one.with_suffix(".PNG"))
    (tmp_path / "links").mkdir()
    for folder in submission.iterdir():
        (tmp_path / "links" / folder.name).symlink_to(folder)
    assert evaluate_folder(tiny_city / "gtFine" / "val", tmp_path / "links", jobs=-1) == expected


def official_result(truths, files, monkeypatch):
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # the scorer is older than NumPy 2.4
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    for option, value in {"quiet": True, "evalInstLevelScore": False, "JSONOutput": False}.items():
        monkeypatch.setattr(official.args, option, value)
    return official.evaluateImgLists(list(map(str, files)), list(map(str, truths)), official.args)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_folder_is_scored_as_the_official_scorer_does(tiny_city, submission, monkeypatch, jobs):
    """Classes and categories; with void, and with classes that never occur."""
    truths = sorted(tiny_city.glob("gtFine/val/*/*labelIds.png"))
    files = [next(submission.rglob(f"{p.name.split('_gtFine')[0]}_*")) for p in truths]
    official = official_result(truths, files, monkeypatch)
    ours = evaluate_folder(tiny_city / "gtFine" / "val", submission, jobs=jobs)
    expected = [official["classScores"][name] for name in CITYSCAPES.names]
    assert any(map(math.isnan, expected))
    np.testing.assert_allclose(ours.iou(), expected, atol=1e-9)
    assert ours.mean_iou() == pytest.approx(official["averageScoreClasses"], abs=1e-9)
    categories = ours.merged(CITYSCAPES.categories)
    expected = [official["categoryScores"][name] for name in categories.names]
    np.testing.assert_allclose(categories.iou(), expected, atol=1e-9)
    assert categories.mean_iou() == pytest.approx(official["averageScoreCategories"], abs=1e-9)


@pytest.mark.slow
def test_predictions_of_a_real_model_are_scored_as_the_official_scorer_does(tmp_path, monkeypatch):
    root = minicity.generate(tmp_path / "city", train=0, val=3, test=0)
    pairs = datasets.find_pairs(root)
    predictions = prediction.predict(models.load_reference(), pairs["image"], models.REFERENCE_SIZE)
    files = export_predictions(predictions, pairs["image"], tmp_path / "mine")
    official = official_result(pairs["mask"], files, monkeypatch)
    ours = evaluate_folder(root / "gtFine", tmp_path / "mine")
    expected = [official["classScores"][name] for name in CITYSCAPES.names]
    np.testing.assert_allclose(ours.iou(), expected, atol=1e-9)
    categories = ours.merged(CITYSCAPES.categories)
    expected = [official["categoryScores"][name] for name in categories.names]
    np.testing.assert_allclose(categories.iou(), expected, atol=1e-9)


def drop(folder):
    next(folder.rglob("*.png")).unlink()


def double(folder):
    path = next(folder.rglob("*.png"))
    path.with_name(path.name.replace(".png", "_again.png")).write_bytes(path.read_bytes())


def foreign(folder):
    Image.new("L", (128, 64)).save(folder / "nowhere_000000_000019_pred.png")


def shrink(folder):
    path = sorted(folder.rglob("*.png"))[0]
    Image.open(path).resize((64, 32)).save(path)


def paint(folder):
    path = sorted(folder.rglob("*.png"))[0]
    Image.open(path).convert("RGB").save(path)


def corrupt(folder):
    path = sorted(folder.rglob("*.png"))[0]
    path.write_bytes(path.read_bytes()[:-30])


def strange(folder):
    path = sorted(folder.rglob("*.png"))[0]
    Image.new("L", (128, 64), 99).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, "has no prediction"),
        (double, "is of the same frame as"),
        (foreign, "nowhere_000000_000019_pred.png: has no truth"),
        (shrink, r"truth has shape \(64, 128\), the prediction \(32, 64\)"),
        (paint, "has one channel of 8 bits"),
        (corrupt, "is truncated"),
        (strange, r"ids that no class of 'Cityscapes' has: 99"),
        (shutil.rmtree, "cannot be read: No such file"),
    ],
)
def test_a_bad_submission_is_refused_by_name(tiny_city, submission, spoil, message):
    spoil(submission)
    with pytest.raises(DataError, match=message) as caught:
        evaluate_folder(tiny_city / "gtFine" / "val", submission)
    assert str(submission) in str(caught.value)


def test_all_faults_are_reported_at_once(tiny_city, submission):
    first, second, *_ = sorted(submission.rglob("*.png"))
    Image.new("L", (3, 3)).save(first)
    second.write_bytes(b"nothing")
    with pytest.raises(DataError) as caught:
        evaluate_folder(tiny_city / "gtFine" / "val", submission)
    assert len(caught.value.faults) == 2
    assert first.name in str(caught.value)
    assert second.name in str(caught.value)


def test_class_iou_equals_the_official_scorer(tiny_city, tmp_path, monkeypatch):
    """Noisy predictions with void in them, and with classes that never occur."""
    truths = sorted(tiny_city.glob("gtFine/val/*/*labelIds.png"))
    assert len(truths) == 4
    rng, ours, files = np.random.default_rng(0), ConfusionMatrix.for_scheme(CITYSCAPES), []
    for k, path in enumerate(truths):
        raw = np.array(Image.open(path))
        noise = rng.choice([0, 3, 4, 7, 8, 11, 21, 26], raw.shape).astype(np.uint8)
        predicted = np.where(rng.random(raw.shape) < 0.3, noise, raw)
        files.append(str(tmp_path / f"{k}.png"))
        Image.fromarray(predicted).save(files[-1])
        ours.update(CITYSCAPES.remap(raw), CITYSCAPES.remap(predicted))
    result = official_result(truths, files, monkeypatch)
    expected = [result["classScores"][id2label[i].name] for i in CITYSCAPES.ids]
    assert any(map(math.isnan, expected))
    np.testing.assert_allclose(ours.iou(), expected, atol=1e-9)
    assert ours.mean_iou() == pytest.approx(result["averageScoreClasses"], abs=1e-9)


def test_exported_predictions_are_what_the_scorer_reads(tiny_city, tmp_path):
    """From probabilities to files and back: the same matrix as from the arrays."""
    images = sorted(tiny_city.glob("leftImg8bit/val/*/*.png"))
    truths = sorted(tiny_city.glob("gtFine/val/*/*labelIds.png"))
    rng, direct = np.random.default_rng(1), ConfusionMatrix.for_scheme(CITYSCAPES)
    predictions = [rng.random((64, 128, 19)) for _ in images]
    for path, scores in zip(truths, predictions, strict=True):
        direct.update(CITYSCAPES.remap(np.array(Image.open(path))), scores)
    files = export_predictions(iter(predictions), images, tmp_path / "out")
    assert files[0].name == "elmsund_000000_000019_pred.png"
    assert evaluate_folder(tiny_city / "gtFine" / "val", tmp_path / "out") == direct
    with pytest.raises(LabelError, match="19"):
        export_predictions([np.full((2, 2), 19, np.uint8)], images[:1], tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
