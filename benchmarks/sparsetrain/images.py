"""Images to train on: MNIST, scikit-learn's digits, or noise for networks of large images."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

SMALL_SHAPE, SMALL_CLASSES = (1, 28, 28), 10
LARGE_SHAPE, LARGE_CLASSES = (3, 224, 224), 1000


class Images(NamedTuple):
    """Images with their classes.

    Arguments:
        pixels: ``[images, channels, height, width]``, standardised.
        labels: int64 ``[images]``.
    """

    pixels: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def digits(cls, mnist: str | None) -> Images:
        """MNIST's training set from a folder of IDX files, or scikit-learn's digits enlarged.

        Raises:
            FileError: the folder lacks a file, or one is damaged.
            MissingExtraError: scikit-learn is wanted and not installed.
        """
        import torch

        from espalier.training import load_data

        data = load_data("digits" if mnist is None else mnist).resized(SMALL_SHAPE[1])
        halves = (data.train, data.test) if mnist is None else (data.train,)
        pixels = torch.cat([half.images for half in halves])
        labels = torch.cat([half.labels for half in halves])
        return cls((pixels - pixels.mean()) / pixels.std(), labels)

    @classmethod
    def noise(cls, count: int, *, small: bool = False) -> Images:
        """Images with nothing to learn in them, as small as digits or as large as ImageNet's."""
        import torch

        shape, classes = (SMALL_SHAPE, SMALL_CLASSES) if small else (LARGE_SHAPE, LARGE_CLASSES)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(count, *shape, generator=generator)
        return cls(pixels, torch.randint(classes, (count,), generator=generator))
