"""The 8 x 8 handwritten digits shipped inside scikit-learn (UCI, CC BY 4.0): 1,797 images, no download."""

import numpy as np

IMAGE_SHAPE = (8, 8)
TEST_FRACTION = 0.2
SPLIT_SEED = 0
"""The data come without an official split; ours is stratified by class and fixed by this seed."""


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (images, labels) of one split: 1,437 for "train", 360 for "test".

    Returns:
        images (sample, 64) float32 in [0, 1], the published 0..16 over 16 and so exact; labels (sample,) int64.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    labels = labels.astype(np.int64)
    parts = train_test_split(images, labels, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=labels)
    x_train, x_test, y_train, y_test = parts
    return (x_train, y_train) if split == "train" else (x_test, y_test)
