from io import BytesIO

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from cityseg_utils import preprocessing, storage
from cityseg_utils.errors import DataError, LabelError, ShapeError
from cityseg_utils.labels import CAMVID, CITYSCAPES, VOID
from cityseg_utils.preprocessing import (
    check_image,
    denormalize,
    from_one_hot,
    normalize,
    one_hot,
    read_image,
    read_mask,
    read_pair,
    remap,
    resize_image,
    resize_mask,
    resize_pair,
)

BACKBONES = ["resnet34", "vgg16", "mobilenetv2", "efficientnetb0"]
METHODS = ["unit", "standard", *BACKBONES]
EVERY_VALUE = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
COLORS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
sides = st.integers(1, 40)


def test_read_image_gives_rgb_at_the_wanted_size(tmp_path, write_picture):
    path = write_picture(tmp_path / "red.png", [[[200, 10, 20]] * 4] * 6)
    assert read_image(path)[0, 0].tolist() == [200, 10, 20]
    small = read_image(path, (3, 2))
    assert (small.shape, small.dtype) == ((3, 2, 3), np.uint8)


def test_read_mask_stays_raw_without_a_scheme(tmp_path, write_picture):
    path = write_picture(tmp_path / "mask.png", [[7, 8], [0, 26]])
    assert read_mask(path).tolist() == [[7, 8], [0, 26]]
    assert read_mask(path, CITYSCAPES).tolist() == [[0, 1], [VOID, 13]]
    assert read_mask(path, CITYSCAPES, (4, 2)).shape == (4, 2)


def test_read_mask_names_the_file_of_an_unknown_id(tmp_path, write_picture):
    path = write_picture(tmp_path / "strange.png", [[7, 77]])
    with pytest.raises(LabelError, match=r"strange\.png.*77"):
        read_mask(path, CITYSCAPES)


def test_read_mask_refuses_a_colour_rendering(tmp_path, write_picture):
    path = write_picture(tmp_path / "painted.png", CITYSCAPES.colorize(np.uint8([[0, 1]])))
    with pytest.raises(DataError, match="colour rendering"):
        read_mask(path)


def test_remap_is_the_scheme_s():
    assert remap(np.uint8([[7, 0]]), CITYSCAPES).tolist() == [[0, VOID]]


@given(
    mask=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)),
    height=sides,
    width=sides,
)
def test_resizing_a_mask_makes_no_new_ids(mask, height, width):
    resized = resize_mask(mask, (height, width))
    assert (resized.shape, resized.dtype) == ((height, width), np.uint8)
    assert set(np.unique(resized)) <= set(np.unique(mask))


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9)), st.integers(1, 4))
def test_enlarging_a_mask_by_a_whole_number_repeats_its_pixels(mask, factor):
    height, width = mask.shape
    enlarged = resize_mask(mask, (factor * height, factor * width))
    np.testing.assert_array_equal(enlarged, mask.repeat(factor, 0).repeat(factor, 1))


def test_shrinking_an_image_takes_area_means():
    image = np.uint8([[[0] * 3, [100] * 3], [[100] * 3, [200] * 3]])
    assert resize_image(image, (1, 1)).tolist() == [[[100, 100, 100]]]


@given(blocks=arrays(bool, (4, 6)), factor=st.sampled_from([2, 4]))
def test_a_mask_painted_into_the_image_stays_aligned(blocks, factor):
    mask = blocks.repeat(4, 0).repeat(4, 1).astype(np.uint8)
    image, small = resize_pair(
        mask[..., None].repeat(3, 2) * 255, mask, (16 // factor, 24 // factor)
    )
    np.testing.assert_array_equal(image[..., 0], small * 255)


# Widths that rarely put a pixel's centre on the border of two: versions of OpenCV round those
# ties to one side or the other.
@pytest.mark.parametrize("width", [23, 47, 101])
def test_an_edge_lies_at_the_same_place_in_image_and_mask(width):
    """Wherever the edge is, both see it within half a pixel, and no side is favoured."""
    gaps = []
    for edge in range(1, 64):
        mask = np.zeros((4, 64), np.uint8)
        mask[:, :edge] = 1
        image, resized = resize_pair(mask[..., None].repeat(3, 2) * 255, mask, (4, width))
        gaps.append(image[0, :, 0].sum() / 255 - resized[0].sum())
    assert np.abs(gaps).max() < 0.5 * max(1, width / 64) + 0.05
    assert abs(np.mean(gaps)) < 0.05


def test_a_side_that_shrinks_is_averaged_whatever_the_other_does():
    image = np.zeros((64, 256, 3), np.uint8)
    image[:, ::8] = 255
    for height in (48, 64, 80):
        found = preprocessing.resize_image(image, (height, 32))
        assert found.shape == (height, 32, 3)
        assert (found == 32).all()


def test_resize_pair_refuses_different_sizes():
    with pytest.raises(ShapeError, match=r"\(4, 6\).*\(4, 5\)"):
        resize_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 5), np.uint8), (2, 2))


def test_unit_and_standard_by_hand():
    image = np.uint8([[[0, 51, 255]]])
    np.testing.assert_allclose(normalize(image, "unit"), [[[0, 0.2, 1]]], rtol=1e-6)
    expected = [[[-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]]]
    np.testing.assert_allclose(normalize(image, "standard"), expected, rtol=1e-5)


def test_standard_takes_the_mean_and_deviation_of_ones_own_data():
    image = np.uint8([[[255, 0, 51]]])
    result = normalize(image, "standard", mean=[0.5] * 3, std=[0.5] * 3)
    np.testing.assert_allclose(result, [[[1, -1, -0.6]]], rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("image", [EVERY_VALUE, COLORS], ids=["every value", "colours"])
def test_denormalize_undoes_normalize(method, image):
    normalized = normalize(image, method)
    assert normalized.dtype == np.float32
    back = denormalize(normalized, method)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbone_normalization_is_segmentation_models_own(backbone):
    own = preprocessing.backbone_preprocessing(backbone)(COLORS.astype(np.float32))
    np.testing.assert_allclose(normalize(COLORS, backbone), own, rtol=1e-4, atol=1e-4)


def test_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="resnet99"):
        normalize(COLORS, "resnet99")


def test_one_hot_by_hand():
    encoded = one_hot(np.uint8([[0, 1], [2, VOID]]), 3)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 0]]]


@given(st.data(), st.integers(1, 40))
@settings(max_examples=50)
def test_from_one_hot_undoes_one_hot(data, classes):
    train_ids = st.sampled_from([*range(classes), VOID])
    mask = data.draw(arrays(np.uint8, array_shapes(max_dims=3), elements=train_ids))
    np.testing.assert_array_equal(from_one_hot(one_hot(mask, classes)), mask)


def test_one_hot_counts_no_negative_number_from_the_end():
    with pytest.raises(LabelError, match=r"holds \[-254, -1\]"):
        preprocessing.one_hot(np.array([-1, 2, -254]), 3)


def test_one_hot_names_what_is_no_train_id():
    with pytest.raises(LabelError, match=r"\[3, 7\].*2"):
        one_hot(np.uint8([[0, 3], [7, VOID]]), 3)


# -- a file holds what was labelled, or is refused -------------------------------------------------

FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "TGA"]
FORMS = {
    "grey": lambda ids: Image.fromarray(ids),
    "16 bits": lambda ids: Image.fromarray(ids.astype(np.uint16)),
    "32 bits": lambda ids: Image.fromarray(ids.astype(np.int32)),
    "black and white": lambda ids: Image.fromarray(ids.astype(bool)),
    "three channels": lambda ids: Image.fromarray(np.stack([ids] * 3, -1)),
    "transparent": lambda ids: Image.fromarray(np.stack([ids, ids], -1), "LA"),
    "colours": lambda ids: Image.fromarray(ids.astype(np.uint8)).convert("HSV").convert("RGB"),
    "palette": lambda ids: with_palette(ids),
}


def with_palette(ids):
    picture = Image.fromarray(ids)
    picture.putpalette(np.random.default_rng(int(ids.sum())).bytes(768))
    return picture


def pascal_voc():
    """Return the palette as its development kit makes it, entry by entry."""
    palette = []
    for k in range(256):
        color = [0, 0, 0]
        for place in range(7, -1, -1):
            color = [c | ((k >> channel) & 1) << place for channel, c in enumerate(color)]
            k >>= 3
        palette += color
    return palette


@pytest.mark.parametrize("palette", [pascal_voc(), [k for k in range(256) for _ in range(3)]])
def test_a_palette_that_says_nothing_of_classes_leaves_ids_alone(tmp_path, palette):
    """PASCAL's 1, 3 and 7 have the colours of CamVid's building, tree and sky."""
    ids = np.array([[1, 3, 7, 0]] * 4, np.uint8)
    picture = Image.fromarray(ids)
    picture.putpalette(palette)
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", CAMVID), ids)
    plain = np.full((4, 4), 3, np.uint8)  # one class alone
    picture = Image.fromarray(plain)
    picture.putpalette(palette)
    picture.save(tmp_path / "plain.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "plain.png", CAMVID), plain)


def as_it_is(content):
    return content


SPOILT = {
    "whole": as_it_is,
    "cut": lambda content: content[: len(content) * 2 // 3],
    "without its middle": lambda c: c[: len(c) // 3] + c[len(c) // 2 :],
    "with a tail": lambda content: content + b"more" * 50,
    "doubled": lambda content: content + content,
    "flipped": lambda c: c[: len(c) // 2] + bytes([c[len(c) // 2] ^ 4]) + c[len(c) // 2 + 1 :],
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated", "ignore:Truncated File Read")
@settings(max_examples=300)
@given(
    ids=arrays(np.uint8, st.tuples(sides, sides), elements=st.integers(0, 33)),
    kind=st.sampled_from(FORMATS),
    form=st.sampled_from(sorted(FORMS)),
    spoilt=st.sampled_from(sorted(SPOILT)),
    turn=st.sampled_from([None, 1, 3, 6, 8]),
)
def test_no_file_is_read_as_another_labelling(tmp_path_factory, ids, kind, form, spoilt, turn):
    """In whatever form an honest program has written it, and whatever became of it since."""
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    if form == "black and white":
        ids = ids % 2
    exif = Image.Exif()
    if turn:
        exif[0x0112] = turn
    content = BytesIO()
    try:
        FORMS[form](ids).save(content, kind, exif=exif, lossless=True)
    except (OSError, ValueError):
        assume(False)  # Pillow cannot write this form in that format
    path.write_bytes(SPOILT[spoilt](content.getvalue()))
    try:
        found = read_mask(path)
    except DataError as error:
        assert str(path) in str(error)
        readable = kind == "PNG" and form in ("grey", "palette", "black and white")
        assert not readable or spoilt not in ("whole", "with a tail") or (turn or 1) != 1
        return
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_a_turned_photograph_does_not_go_with_a_mask(tmp_path, write_picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLORS).save(tmp_path / "a.jpg", exif=exif)
    mask = write_picture(tmp_path / "a.png", np.zeros(COLORS.shape[:2]))
    with pytest.raises(DataError, match=rf"a\.jpg: .*orientation {orientation}.*upright copy"):
        read_pair(tmp_path / "a.jpg", mask, CITYSCAPES)
    storage.write_png(tmp_path / "upright.png", read_image(tmp_path / "a.jpg"))
    size = storage.read_header(tmp_path / "upright.png").size
    mask = write_picture(tmp_path / "b.png", np.zeros(size))
    image, labels = read_pair(tmp_path / "upright.png", mask, CITYSCAPES)
    assert image.shape[:2] == labels.shape == size


def test_a_pair_of_two_sizes_is_refused(tmp_path, write_picture):
    image = write_picture(tmp_path / "image.png", COLORS)
    mask = write_picture(tmp_path / "mask.png", np.zeros((30, 20)))
    with pytest.raises(DataError, match=r"mask\.png: is \(30, 20\) .*image\.png is \(20, 30\)"):
        read_pair(image, mask, CITYSCAPES)


@pytest.mark.parametrize(
    "wrong", [COLORS / 255, COLORS[..., 0], COLORS[..., [0, 1, 2, 0]], COLORS[:0], COLORS[None]]
)
def test_what_is_no_photograph_is_refused_with_its_shape(wrong):
    with pytest.raises(ShapeError, match=r"must be \(H, W, 3\) uint8 RGB, is \(") as caught:
        check_image(wrong)
    assert str(wrong.dtype) in str(caught.value)
    assert check_image(COLORS) is COLORS
