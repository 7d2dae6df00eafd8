"""Images to train on: MNIST, scikit-learn's digits, or noise for networks of large images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espalier.errors import FileError, MissingExtraError
from espalier.files import load_images, load_labels

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
            FileError: the folder lacks the files.
            MissingExtraError: scikit-learn is wanted and not installed.
        """
        import torch
        from torch.nn.functional import interpolate

        if mnist is None:
            grey, classes = _bundled_digits()
            pixels = interpolate(grey, size=SMALL_SHAPE[1:], mode="bilinear")
        else:
            folder = Path(mnist)
            found = load_images(_find(folder, "train-images-idx3-ubyte"))
            pixels = torch.from_numpy(found.copy())[:, None].float()
            classes = torch.from_numpy(load_labels(_find(folder, "train-labels-idx1-ubyte")))
        return cls((pixels - pixels.mean()) / pixels.std(), classes)

    @classmethod
    def noise(cls, count: int, *, small: bool = False) -> Images:
        """Images with nothing to learn in them, as small as digits or as large as ImageNet's."""
        import torch

        shape, classes = (SMALL_SHAPE, SMALL_CLASSES) if small else (LARGE_SHAPE, LARGE_CLASSES)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(count, *shape, generator=generator)
        return cls(pixels, torch.randint(classes, (count,), generator=generator))


def _bundled_digits() -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("scikit-learn", "bench", "training on digits") from None
    digits = load_digits()
    return torch.tensor(digits.images).float()[:, None], torch.tensor(digits.target).long()


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise FileError(f"{folder} holds neither {name} nor {name}.gz; it is no folder of MNIST")
