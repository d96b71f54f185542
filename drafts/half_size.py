import sys
from cityseg_utils import experiments, studies
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
def recipe(height):
    size = (height, 2 * height)
    changes = Compose(ScaleAndCrop(size, (0.5, 1.0)), Flip(), Colors(0.3))
    return studies.PRETRAINED.but(size=size, read_size=(height * 3 // 2, height * 3), augment=changes, steps=600)
if __name__ == "__main__":
    recipes = {"128 x 256": recipe(128), "64 x 128": recipe(64)}
    train, val, scheme = studies.unseen_cities()
    experiments.run(recipes, [0, 1, 2], train, val, scheme, "/tmp/main/half_size.csv", jobs=1)
