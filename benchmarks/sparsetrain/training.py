"""A network in training: the same steps from the same start, dense or accelerated."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks.sparsetrain.images import LARGE_CLASSES, Images
from benchmarks.sparsetrain.settings import SMALL_MODEL, Settings
from espalier.progress import Progress

if TYPE_CHECKING:
    import torch

# Noise gives the large networks nothing to learn; at a higher rate their losses run away.
SMALL_RATE, LARGE_RATE, MOMENTUM = 0.01, 0.001, 0.9
LARGE_IMAGES = 64


class Trainer:
    """A model with its images and optimiser; every call of `step` is a whole training step.

    Arguments:
        name: a model out of `MODELS`.
        batch: images of a step.
        accelerated: let espalier replace its layers.
        state: parameters to start from; None for the model's own initialisation.

    Attributes:
        losses: of the steps done.
    """

    def __init__(
        self,
        name: str,
        images: Images,
        batch: int,
        *,
        accelerated: bool = False,
        state: dict[str, Any] | None = None,
    ) -> None:
        import torch

        torch.manual_seed(0)
        model = _build(name).to(memory_format=torch.channels_last)
        if state is not None:
            model.load_state_dict(state)
        if accelerated:
            from espalier.nn import accelerate

            model = accelerate(model, images.pixels[:batch])
        self.model: torch.nn.Module = model
        rate = SMALL_RATE if name == SMALL_MODEL else LARGE_RATE
        self._optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=MOMENTUM)
        self._order = torch.Generator().manual_seed(0)
        self._images, self._batch = images, batch
        self.losses: list[float] = []

    def step(self) -> None:
        """Forward, loss, backward, update."""
        from torch.nn.functional import cross_entropy

        pixels, labels = self.next_batch()
        self._optimizer.zero_grad()
        loss = cross_entropy(self.model(pixels), labels)
        loss.backward()
        self._optimizer.step()
        self.losses.append(loss.item())

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Random images in channels-last memory, with their classes."""
        import torch

        count = len(self._images.labels)
        chosen = torch.randint(count, (self._batch,), generator=self._order)
        pixels = self._images.pixels[chosen]
        return pixels.contiguous(memory_format=torch.channels_last), self._images.labels[chosen]


@cache
def images_of(name: str, mnist: str | None) -> Images:
    """What this model is trained on."""
    return Images.digits(mnist) if name == SMALL_MODEL else Images.noise(LARGE_IMAGES)


def train_small(settings: Settings, progress: Progress) -> Trainer:
    """The small VGG after some dense steps on digits."""
    images = images_of(SMALL_MODEL, settings.mnist)
    trainer = Trainer(SMALL_MODEL, images, settings.batches[0])
    for step in range(settings.train_steps):
        trainer.step()
        progress(step + 1, settings.train_steps)
    return trainer


def _build(name: str) -> Any:
    from espalier.nn import networks

    build = getattr(networks, name)
    return build() if name == SMALL_MODEL else build(num_classes=LARGE_CLASSES)
