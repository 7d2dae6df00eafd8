"""Shape a network while it trains, in an ordinary PyTorch loop, and cut out what is left.

    python examples/train_fssl.py                        # scikit-learn's digits
    python examples/train_fssl.py --data DIR --epochs 40 # MNIST

`FSSLOptimizer` wraps any optimiser. While it steps, it removes neurons and pixels by what they
cost in error and in measured time, until the network takes the part of its time that was asked for.
`compact` then makes an ordinary, smaller module that answers the same.
"""

import argparse

import torch
from torch.nn.functional import cross_entropy

from espalier import fssl
from espalier.nn.networks import MLP
from espalier.training import load_data


def train(model, optimizer, split, epochs):
    """The usual loop."""
    model.train()
    for epoch in epochs:
        for images, labels in split.batches(128, seed=0, epoch=epoch):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()


@torch.no_grad()
def error(model, split):
    """The part of images that the model gets wrong."""
    return (model.eval()(split.images).argmax(1) != split.labels).float().mean().item()


def sgd(model, lr):
    """Stochastic gradient descent with Nesterov momentum."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True)


def main(arguments=None):
    """Train, shape, compact, fine-tune, and say after each what was gained."""
    parser = argparse.ArgumentParser(description="Shape a network while it trains.")
    parser.add_argument("--data", default="digits", help="digits, or a folder of MNIST's files")
    parser.add_argument("--target-time", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    data = load_data(options.data)
    model = MLP([data.side**2, 512, 256, 10])
    third = options.epochs // 3
    train(model, sgd(model, 0.05), data.train, range(third))
    print(f"    dense: {error(model, data.test):.2%} wrong")

    groups = fssl.find_groups(model, data.train.images[:1])
    time = fssl.TimeModel.measure(groups, batch=256)
    steps = third * (len(data.train) // 128)
    target = {"steps": steps, "target_time": options.target_time}
    optimizer = fssl.FSSLOptimizer(sgd(model, 0.05), groups, time, **target)
    train(model, optimizer, data.train, range(third, 2 * third))
    print(f"   shaped: {error(model, data.test):.2%} wrong, {groups.widths()} units left")

    small = fssl.compact(model, groups, time=time)
    train(small, sgd(small, 0.005), data.train, range(2 * third, options.epochs))
    part = time.seconds(groups.widths(), groups.nonzeros()) / time.seconds(groups.full_widths)
    print(f"  compact: {error(small, data.test):.2%} wrong, {part:.0%} of the time\n")
    print(fssl.compact_report(small))


if __name__ == "__main__":
    main()
