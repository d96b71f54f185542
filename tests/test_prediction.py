import numpy as np
import pandas as pd
import pytest

from cityseg_utils import prediction, training
from cityseg_utils.errors import DataError, FrameworkError, ShapeError, TrainingError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import ClassScheme

tf = load_tensorflow()

RED_GREEN = ClassScheme("lights", ("red", "green"), ((255, 0, 0), (0, 255, 0)), (0, 1), (9,))


def color_model(size=(8, 16)):
    """A network that calls red pixels class 0 and green ones class 1."""
    inputs = tf.keras.Input((*size, 3))
    layer = tf.keras.layers.Conv2D(2, 1, activation="softmax", use_bias=False)
    model = tf.keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32([[[[9, 0], [0, 9], [0, 0]]]])])
    return model


def half_and_half(height, width):
    """Red on the left, green on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = image[:, width // 2 :, 1] = 255
    return image


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_predictions_have_the_size_of_each_image(tmp_path, write_picture, batch_size):
    sizes = [(16, 32), (8, 16), (24, 20)]
    images = [half_and_half(*size) for size in sizes]
    images[1] = write_picture(tmp_path / "a.png", images[1])
    results = list(prediction.predict(color_model(), images, batch_size=batch_size))
    assert [result.shape for result in results] == [(*size, 2) for size in sizes]
    for result, (_, width) in zip(results, sizes, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result.sum(-1), 1, rtol=1e-5)
        assert (result.argmax(-1)[:, : width // 2] == 0).all()
        assert (result.argmax(-1)[:, width // 2 :] == 1).all()


def test_predict_takes_any_iterable_and_yields_as_it_goes():
    def endless():
        while True:
            yield half_and_half(8, 16)

    assert next(prediction.predict(color_model(), endless())).shape == (8, 16, 2)


def halving_model():
    """As `color_model` for any size, but it puts a half that was doubled beside the whole."""
    inputs, layers = tf.keras.Input((None, None, 3)), tf.keras.layers
    half = layers.UpSampling2D()(layers.MaxPooling2D(padding="same")(inputs))
    layer = layers.Conv2D(2, 1, activation="softmax", use_bias=False)
    model = tf.keras.Model(inputs, layer(layers.Concatenate()([inputs, half])))
    layer.set_weights([np.float32([[[[9, 0], [0, 9]] + [[0, 0]] * 4]])])
    return model


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_network_of_any_size_sees_each_image_near_its_own(batch_size):
    sizes = [(16, 32), (16, 32), (15, 20), (16, 21), (9, 32), (16, 32)]
    images = [half_and_half(*size) for size in sizes]
    results = list(prediction.predict(halving_model(), images, batch_size=batch_size))
    assert [result.shape for result in results] == [(*size, 2) for size in sizes]
    for result, image in zip(results, images, strict=True):
        wrong = result.argmax(-1) != image.argmax(-1)
        assert wrong.mean() <= (0 if image.shape[0] % 2 == image.shape[1] % 2 == 0 else 0.06)


def test_a_size_that_the_network_cannot_take_is_refused_in_a_sentence():
    images = [half_and_half(16, 32)]
    for model, size, words in (
        (halving_model(), (15, 32), "multiples of 2, got 15 x 32"),
        (color_model(), (16, 16), r"takes images of \(8, 16\), got \(16, 16\)"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            next(prediction.predict(model, images, size))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["floats", "grey", "four channels", "16 bits", "a batch"])
def test_arrays_that_are_no_photographs_are_refused(change):
    """Floats in 0 .. 1 would be divided by 255 again, and nearly black."""
    image = half_and_half(8, 16)
    other = {
        "floats": image / 255,
        "grey": image[..., 0],
        "four channels": np.dstack([image, image[..., :1]]),
        "16 bits": image.astype(np.uint16),
        "a batch": image[None],
    }[change]
    with pytest.raises(ShapeError, match=r"must be \(H, W, 3\) uint8 RGB, is \(") as caught:
        list(prediction.predict(color_model(), [image, other]))
    assert f"{other.shape} {other.dtype}" in str(caught.value)


def lights(tmp_path, write_picture, masks):
    """Pairs of half-and-half images and the given masks."""
    rows = []
    for k, mask in enumerate(masks):
        mask = np.uint8(mask)
        image = write_picture(tmp_path / f"image{k}.png", half_and_half(*mask.shape))
        rows.append((image, write_picture(tmp_path / f"mask{k}.png", mask)))
    return pd.DataFrame(rows, columns=["image", "mask"])


def test_evaluate_scores_at_native_size(tmp_path, write_picture):
    """The first mask is right; in the second the upper right quarter is red, and a void row."""
    right = np.zeros((16, 32), int)
    right[:, 16:] = 1
    other = np.zeros((24, 16), int)
    other[12:, 8:] = 1
    other[-1] = 9
    pairs = lights(tmp_path, write_picture, [right, other])
    matrix = prediction.evaluate(color_model(), pairs, RED_GREEN)
    called_red, called_green = 16 * 16 + 23 * 8, 16 * 16 + 23 * 8
    missed = 12 * 8
    assert matrix.counts.tolist() == [[called_red, missed, 0], [0, called_green - missed, 0]]
    assert matrix.iou().to_dict() == {
        "red": called_red / (called_red + missed),
        "green": (called_green - missed) / called_green,
    }


@pytest.mark.parametrize("factor", [1, 2])
def test_score_resizes_predictions_to_the_mask(tmp_path, write_picture, factor):
    pairs = lights(tmp_path, write_picture, [np.kron([[0, 1], [1, 9]], np.ones((4, 4)))])
    small = np.kron([[0, 1], [0, 1]], np.ones((4 // factor, 4 // factor))).astype(np.uint8)
    matrix = prediction.score(pairs, RED_GREEN, [small])
    assert matrix.counts.tolist() == [[16, 0, 0], [16, 16, 0]]


def test_a_part_of_each_frame_is_scored_alone(tmp_path, write_picture):
    pairs = lights(tmp_path, write_picture, [[[0, 0, 1, 1]] * 2])
    guess = np.uint8([[0, 1, 0, 0]] * 2)

    def left(truth, prediction):
        assert prediction is guess
        return np.where([True, True, False, False], truth, 255)

    matrix = prediction.score(pairs, RED_GREEN, [guess], left)
    assert matrix.counts.tolist() == [[2, 2, 0], [0, 0, 0]]


def test_score_wants_a_prediction_for_every_pair(tmp_path, write_picture):
    """A score over half of the data must not pass for one over all."""
    pairs = lights(tmp_path, write_picture, [[[0, 1]], [[1, 0]]])
    with pytest.raises(ValueError):
        prediction.score(pairs, RED_GREEN, [np.uint8([[0, 1]])])


def test_a_frame_and_its_mask_of_two_sizes_are_not_scored(tmp_path, write_picture):
    """As when a program has turned one of the two."""
    pairs = lights(tmp_path, write_picture, [np.zeros((8, 16)), np.zeros((8, 16))])
    write_picture(pairs["mask"][1], np.zeros((16, 8)))
    small = np.zeros((4, 8), np.uint8)
    for score in (
        lambda: prediction.evaluate(color_model(), pairs, RED_GREEN),
        lambda: prediction.score(pairs, RED_GREEN, [small, small]),
    ):
        with pytest.raises(DataError) as caught:
            score()
        words = (str(pairs["image"][1]), str(pairs["mask"][1]), "(8, 16)", "(16, 8)")
        assert all(word in str(caught.value) for word in words)


def test_a_network_that_answers_no_numbers_is_refused():
    inputs = tf.keras.Input((None, None, 3))
    lost = tf.keras.Model(inputs, tf.keras.layers.Lambda(lambda x: x * np.nan)(inputs))
    with pytest.raises(TrainingError, match="answers with NaN"):
        next(prediction.predict(lost, [np.zeros((32, 32, 3), np.uint8)]))


def test_one_path_is_not_taken_for_a_list_of_letters(tmp_path):
    with pytest.raises(ValueError, match=r"images is a list, also of one: write \['x.png'\]"):
        next(prediction.predict(None, "x.png"))


def test_evaluate_takes_a_batch_size(tmp_path, write_picture):
    pairs = lights(tmp_path, write_picture, [np.zeros((8, 16), int)] * 3)
    one, eight = (
        prediction.evaluate(color_model(), pairs, RED_GREEN, batch_size=n) for n in (1, 8)
    )
    assert one == eight


def test_evaluate_without_masks_is_a_data_error(tmp_path, write_picture):
    pairs = lights(tmp_path, write_picture, [[[0, 1]]]).assign(mask=None)
    with pytest.raises(DataError, match="mask"):
        prediction.evaluate(color_model(), pairs, RED_GREEN)


def test_commonest_by_location_by_hand(tmp_path, write_picture):
    masks = [[[0, 1], [1, 9]], [[0, 1], [0, 9]], [[1, 1], [1, 9]], [[9, 0], [9, 9]]]
    pairs = lights(tmp_path, write_picture, masks)
    result = prediction.commonest_by_location(pairs, RED_GREEN, (2, 2))
    assert result.dtype == np.uint8
    assert result.tolist() == [[0, 1], [1, 0]]


def test_a_model_of_keras_3_is_refused():
    import keras

    inputs = keras.Input((8, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    with pytest.raises(FrameworkError, match="this model is of Keras 3"):
        next(prediction.predict(model, [half_and_half(8, 16)]))


def test_the_names_of_before_are_the_same_functions():
    for name in ("predict", "score", "evaluate", "commonest_by_location"):
        assert getattr(training, name) is getattr(prediction, name)
