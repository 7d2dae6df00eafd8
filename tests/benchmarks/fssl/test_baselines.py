"""The baselines that are no methods of the library: what they remove, and by which rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.fssl import baselines_shape, baselines_ssl, baselines_units
from benchmarks.fssl.baselines_ssl import THRESHOLD, SSLTrainer, group_lasso
from benchmarks.fssl.baselines_units import UnitPruningTrainer, norm_ranks, random_scores
from benchmarks.fssl.methods import NORM, Target
from benchmarks.fssl.trial import Trial
from benchmarks.fssl.trial_trainer import TrialTrainer
from espalier import fssl
from espalier.progress import silent
from espalier.training.context import TrainingContext


@pytest.fixture
def context(ask: Callable[..., Trial]) -> TrainingContext:
    return TrialTrainer().context(ask(NORM, Target("time", 0.4)), silent)


def train_a_little(trainer, steps: int) -> None:
    context = trainer.context
    for images, labels in context.data.train.batches(32, seed=0, epoch=0):
        trainer.optimizer.zero_grad()
        trainer.loss(trainer.model(images), images, labels).backward()
        trainer.update()
        steps -= 1
        if not steps:
            return


@pytest.mark.parametrize("criterion", [norm_ranks, partial(random_scores, seed=3)])
def test_units_go_until_the_time_fits_and_stay_away(context: TrainingContext, criterion) -> None:
    trainer = UnitPruningTrainer(context, context.build(), 20, criterion)
    train_a_little(trainer, 10)
    early = trainer.groups.alive()
    train_a_little(trainer, 10)
    late = trainer.groups.alive()
    assert trainer.footprint().seconds <= 0.4 * context.seconds
    full = trainer.groups.full_widths
    assert sum(map(sum, map(torch.Tensor.tolist, early))) < sum(full)
    for before, after in zip(early, late, strict=True):
        assert not (after & ~before).any(), "a removed unit came back"
    assert min(trainer.groups.widths()) >= baselines_units.MIN_WIDTH


def test_ranks_are_of_coupled_norms_in_each_family() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    model[0].weight.data[0] = 1.0
    model[2].weight.data[:, 1] = 5.0  # the incoming row of this unit is 0
    model[0].bias.data[2] = 0.1
    groups = fssl.find_groups(model, torch.zeros(1, 2), inputs=False)
    (ranks,) = norm_ranks(groups)
    assert ranks.argsort().tolist() == [2, 0, 1]
    assert ranks.tolist() == pytest.approx([2 / 3, 1.0, 1 / 3])


def test_random_scores_are_the_same_for_a_seed() -> None:
    groups = fssl.find_groups(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.zeros(1, 4))
    first, again, other = (random_scores(groups, seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, other))
    assert min(float(score.min()) for score in first) > 0.0


def test_group_lasso_has_its_square_root() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    groups = fssl.find_groups(model, torch.zeros(1, 2))
    model[0].weight.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    model[2].weight.data = torch.tensor([[2.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    # Rows and columns of the first layer, columns of the last: its rows are the outputs.
    value = group_lasso(groups)
    assert value.item() == pytest.approx((5.0 + 0.0) + (3.0 + 4.0) + (3.0 + 0.0))
    value.backward()
    assert all(torch.isfinite(p.grad).all() for p in (model[0].weight, model[2].weight))


def test_group_lasso_counts_filters_and_channels_of_convolutions() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 3))
    groups = fssl.find_groups(model, torch.zeros(1, 1, 3, 3), inputs=False)
    nn.init.ones_(model[0].weight)
    nn.init.ones_(model[2].weight)
    # Two filters of 4 weights; behind the flatten a channel feeds 4 x 3 weights.
    assert group_lasso(groups).item() == pytest.approx(2 * 2.0 + 2 * 12.0**0.5)


def test_ssl_zeroes_what_is_next_to_nothing(context: TrainingContext) -> None:
    model = context.build()
    model[1].weight.data[:, 0] = 3.0 * THRESHOLD  # of a pixel that is blank in every image
    trainer = SSLTrainer(context, model, 40, 0.004)
    assert trainer.penalty == 0.004
    train_a_little(trainer, 40)
    weights = [trainer.groups.weight(layer) for layer in trainer.groups.layers]
    assert all((w == 0.0).logical_or(w.abs() >= THRESHOLD).all() for w in weights)
    assert (model[1].weight[:, 0] == 0.0).all() and (model[1].weight[:, 20] != 0.0).any()


def test_a_fresh_network_has_the_shape_but_new_weights(context: TrainingContext) -> None:
    inputs = list(range(0, 64, 4))
    small = baselines_shape.fresh(context, [inputs, range(8), [1, 5, 7]])
    again = baselines_shape.fresh(context, [inputs, range(8), [1, 5, 7]])
    assert baselines_shape.kept_units(small, context.start)[0] == inputs
    shapes = [tuple(p.shape) for p in fssl.compact(small, context.groups(small)).parameters()]
    assert (8, 16) in shapes and (3, 8) in shapes and (10, 3) in shapes
    assert all(map(torch.equal, small.parameters(), again.parameters()))
    spread = float(next(p for p in small.parameters() if p.numel() == 128).detach().std())
    assert spread == pytest.approx((2.0 / 16) ** 0.5, rel=0.25)


def test_narrowed_is_the_widest_that_fits(context: TrainingContext) -> None:
    groups, full = context.start, context.seconds
    kept = baselines_shape.narrowed(groups, context.time, 0.4)
    widths = [len(each) for each in kept if each is not None]
    assert widths[0] == 64 and context.time.seconds(widths) <= 0.4 * full
    assert context.time.seconds([64, widths[1] + 1, widths[2] + 1]) > 0.4 * full


def test_phases_share_the_epochs_of_fssl(context: TrainingContext) -> None:
    wanted = [0.3, 0.4, 0.3]
    for phases in (
        baselines_units.norm_phases(context.settings),
        baselines_units.random_phases(context.settings),
        baselines_ssl.phases(context.settings, 0.1),
    ):
        assert [phase.part for phase in phases] == pytest.approx(wanted)
        assert [phase.name for phase in phases][::2] == ["dense", "finetune"]
