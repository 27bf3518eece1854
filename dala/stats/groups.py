"""Patient groups: the unit that is drawn, weighed and left out, and not the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def grouped(groups: ArrayLike, images: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The names of the groups (G,), sorted, and each image's index among them (N,); ValueError if not one an image."""
    names, order = np.unique(np.asarray(groups), return_inverse=True)
    if order.shape != (images,):
        raise ValueError(f"There are {images} labels, but groups of shape {np.shape(groups)}.")
    return names, order


def group_weights(labels: ArrayLike, groups: ArrayLike) -> NDArray[np.float64]:
    """A weight per image, mean 1: classes weigh the same, and within a class its groups, and in a group its images.

    With C classes, G_c groups that hold class c and n_cg images of class c in group g, an image weighs
    N / (C G_c n_cg). A patient with eighty images then counts no more than one with five.
    labels: (N,) class indices; groups: (N,) patient groups. Returns (N,) float64; ValueError if they do not match.
    """
    y = np.asarray(labels)
    names, group_of = grouped(groups, y.size)
    classes, class_of = np.unique(y, return_inverse=True)
    images = np.zeros((classes.size, names.size))
    np.add.at(images, (class_of, group_of), 1)
    groups_of_class = (images > 0).sum(axis=1)
    weights: NDArray[np.float64] = y.size / (classes.size * groups_of_class[class_of] * images[class_of, group_of])
    return weights
