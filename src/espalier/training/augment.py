"""What training does to images so that a network does not lean on single pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def hide_pixels(images: Tensor, part: float) -> Tensor:
    """Set this part of the pixels to 0, at random, and scale the others so that the mean stays.

    Source: Srivastava et al., "Dropout", JMLR 2014, there for inputs and hidden units.
    """
    return torch.nn.functional.dropout(images, part) if part else images


def shift(images: Tensor, most: int) -> Tensor:
    """Move each image by up to `most` pixels along each axis, at random; zeros move in.

    Arguments:
        images: ``[images, channels, height, width]``.

    >>> image = torch.ones(1, 1, 4, 4)
    >>> shift(image, 0) is image, float(shift(image, 1).sum()) <= 16.0
    (True, True)
    """
    if not most:
        return images
    count, channels, height, width = images.shape
    padded = pad(images, (most, most, most, most))
    wide = width + 2 * most
    by = torch.randint(0, 2 * most + 1, (2, count, 1))
    rows = (by[0] + torch.arange(height))[:, :, None] * wide
    places = (rows + (by[1] + torch.arange(width))[:, None, :]).view(count, 1, -1)
    moved = padded.flatten(2).gather(2, places.expand(-1, channels, -1))
    return moved.view(images.shape)
