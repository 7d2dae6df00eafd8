"""Train a small VGG twice, dense and accelerated, and compare.

    python examples/train_vgg.py                        # scikit-learn's digits
    python examples/train_vgg.py --mnist DIR --steps 600

Half and more of what ReLU gives is zero. `espalier.nn.accelerate` replaces the layers of a model
by layers that skip those zeros in all three passes of training where that is faster; parameters,
results and the training loop stay what they were.
"""

import argparse
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, interpolate

import espalier as esp
from espalier.nn import accelerate, model_report
from espalier.nn.networks import vgg_small


def load_digits():
    """1,797 digits of 8 x 8 pixels, enlarged to 28 x 28."""
    from sklearn.datasets import load_digits as bundled

    digits = bundled()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None]
    return interpolate(images, size=28, mode="bilinear"), torch.tensor(digits.target)


def load_mnist(folder):
    """60,000 digits of 28 x 28 pixels from MNIST's own files, plain or gzip."""
    files = {path.name.removesuffix(".gz"): path for path in sorted(folder.iterdir())}
    images = esp.load_images(files["train-images-idx3-ubyte"])
    labels = esp.load_labels(files["train-labels-idx1-ubyte"])
    return torch.tensor(images, dtype=torch.float32)[:, None], torch.tensor(labels)


def train(model, images, labels, options):
    """The usual loop; returns the losses and the seconds of a step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    generator = torch.Generator().manual_seed(options.seed)
    losses, seconds = [], []
    for _ in range(options.steps):
        batch = torch.randint(len(images), (options.batch,), generator=generator)
        x = images[batch].contiguous(memory_format=torch.channels_last)
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = cross_entropy(model(x), labels[batch])
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    return losses, sorted(seconds)[len(seconds) // 2]


@torch.no_grad()
def accuracy(model, images, labels):
    """The part of images that the model gets right."""
    model.eval()
    right = [
        (model(x).argmax(1) == y).float()
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    ]
    return torch.cat(right).mean().item()


def main(arguments=None):
    """Train both, print times, losses, accuracy, and what the layers chose."""
    parser = argparse.ArgumentParser(description="Train a small VGG, dense and accelerated.")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)

    images, labels = load_digits() if options.mnist is None else load_mnist(options.mnist)
    images = (images - images.mean()) / images.std()
    held_out = len(images) // 10
    train_set = images[held_out:], labels[held_out:]
    test_set = images[:held_out], labels[:held_out]

    medians, first_losses = {}, {}
    for name in ("dense", "accelerated"):
        torch.manual_seed(options.seed)
        model = vgg_small().to(memory_format=torch.channels_last)
        if name == "accelerated":
            model = accelerate(model, images[: options.batch])
        losses, medians[name] = train(model, *train_set, options)
        first_losses[name] = torch.tensor(losses[:5])
        print(
            f"{name:>11}: {1e3 * medians[name]:.1f} ms a step, loss {losses[0]:.4f} to "
            f"{losses[-1]:.4f}, {accuracy(model, *test_set):.1%} of the test digits right"
        )
    # Both round differently, and training amplifies that: later losses part, as they would had the
    # weights begun a millionth away.
    difference = (first_losses["dense"] - first_losses["accelerated"]).abs().max()
    print(f"their first losses differ by {difference:.0e} at most")
    print(f"accelerated steps are {medians['dense'] / medians['accelerated']:.2f} times as fast\n")
    print(model_report(model))


if __name__ == "__main__":
    main()
