"""Plans compute what the reference computes, whatever they choose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import espalier as esp
from espalier.inference import FILTERS, execute
from espalier.inference.cost import TILES, CostModel
from espalier.kernels import reference
from tests.support.costs import FORCED, forced_cost
from tests.support.networks import Case, cases


class Choice(NamedTuple):
    """What a plan may choose or be told, and must not show in the result's bits."""

    cheap: str = "rows"
    tile: int = 32
    panels: int = 1
    threads: int = 1
    filter: Any = "none"
    output: Any = "dense"
    group: bool = False
    fixed_point: bool = False
    memory: int | None = None


class Reduction(NamedTuple):
    """What changes the sums a plan computes: other bits, the same function."""

    merge: bool = False
    fold: bool = False


choices = st.builds(
    Choice,
    cheap=st.sampled_from(FORCED),
    tile=st.sampled_from(TILES),
    panels=st.sampled_from((1, 2, 8)),
    threads=st.sampled_from((1, 2)),
    filter=st.sampled_from(FILTERS),
    output=st.sampled_from(("dense", "csr")),
    group=st.booleans(),
    fixed_point=st.booleans(),
    memory=st.sampled_from((None, None, 1, 4096)),
)
reductions = st.builds(Reduction, merge=st.booleans(), fold=st.booleans())


def compile_plan(network: esp.Network, choice: Choice, reduction: Reduction) -> esp.Plan:
    with patch.object(CostModel, "load", lambda: forced_cost(choice.cheap, choice.tile)):
        plan = esp.compile(
            network,
            group=choice.group,
            fixed_point=choice.fixed_point,
            memory=choice.memory,
            **reduction._asdict(),
        )
    packer = replace(plan.program.packer, tile=choice.tile)
    plan.program = replace(plan.program, packer=packer)
    return plan


def run(case: Case, choice: Choice, reduction: Reduction) -> tuple[Any, Any]:
    """Dense activations, and categories."""
    plan = compile_plan(case.network, choice, reduction)
    with patch.object(execute, "panels_in", lambda size, width, tile: choice.panels):
        result = plan.run(case.x, choice.filter, output=choice.output, threads=choice.threads)
    activations = result.activations
    assert activations.dtype == np.float32
    assert sp.issparse(activations) == (choice.output == "csr")
    dense = activations.toarray() if sp.issparse(activations) else activations
    return dense, result.categories


@settings(max_examples=120)
@given(case=cases(), choice=choices, reduction=reductions)
def test_exact_cases_agree_with_the_reference_bit_for_bit(
    case: Case, choice: Choice, reduction: Reduction
) -> None:
    activations, categories = run(case, choice, reduction)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_array_equal(activations, expected)
    np.testing.assert_array_equal(categories, np.flatnonzero(expected.any(axis=1)))


@settings(max_examples=80)
@given(case=cases(exact=False, max_layers=12), choice=choices, reduction=reductions)
def test_rough_cases_are_close_and_have_the_same_bits_under_every_choice(
    case: Case, choice: Choice, reduction: Reduction
) -> None:
    activations, categories = run(case, Choice(), reduction)
    bound = reference.tolerance(case.network, case.rows)
    expected = reference.infer(case.network, case.rows)
    np.testing.assert_allclose(activations, expected, rtol=0.0, atol=bound)
    np.testing.assert_array_equal(categories, np.flatnonzero(activations.any(axis=1)))
    case_in_order = Case(case.network, case.rows, sp.csr_array(case.rows))
    again, same = run(case_in_order if sp.issparse(case.x) else case, choice, reduction)
    if not sp.issparse(case.x) or case.x.nnz == np.count_nonzero(case.rows):
        np.testing.assert_array_equal(again, activations)
        np.testing.assert_array_equal(same, categories)


BIG = esp.random_network([40, 33, 50, 33, 40, 20], connections=6)


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("as_csr", [False, True])
def test_a_tiny_memory_budget_streams_and_splits_but_keeps_the_bits(
    filter: Any, as_csr: bool
) -> None:
    rng = np.random.default_rng(0)
    x: Any = rng.random((3000, 40), np.float32) * (rng.random((3000, 40)) < 0.3)
    x[::7] = 0.0
    x[1::5] = x[2]
    x = sp.csr_array(x) if as_csr else x
    free, tight = esp.compile(BIG), esp.compile(BIG, memory=1)
    assert free.resident and not tight.resident
    expected, result = free.run(x, filter), tight.run(x, filter)
    assert len(result.outputs.batches) == 3 > len(expected.outputs.batches)
    np.testing.assert_array_equal(result.activations, expected.activations)
    np.testing.assert_array_equal(result.categories, expected.categories)
    sparse = tight.run(x, filter, output="csr").activations
    np.testing.assert_array_equal(sparse.toarray(), expected.activations)


class Counted(esp.LayerSource):
    """Layers made on demand, and how often each was."""

    def __init__(self, layers: list[esp.Layer]) -> None:
        self.layers, self.made = layers, [0] * len(layers)

    def __len__(self) -> int:
        return len(self.layers)

    def shape(self, index: int) -> tuple[int, int]:
        return self.layers[index].weights.shape

    def layer(self, index: int) -> esp.Layer:
        self.made[index] += 1
        return self.layers[index]


@settings(max_examples=25)
@given(case=cases(max_layers=6))
def test_lazy_networks_give_the_same_and_are_read_once_per_pass(case: Case) -> None:
    source = Counted(list(case.network))
    lazy = esp.Network(source)
    plan = esp.compile(lazy)
    assert source.made == [1] * len(lazy)
    activations = plan.run(case.x).activations
    assert source.made == [1] * len(lazy)
    np.testing.assert_array_equal(activations, esp.compile(case.network).run(case.x).activations)
    tight = esp.compile(lazy, memory=1)
    np.testing.assert_array_equal(tight.run(case.x).activations, activations)
    assert max(source.made) <= 3


def test_lazy_layers_that_do_not_fit_are_refused_when_they_pass() -> None:
    source = Counted([esp.Layer(np.eye(3), 0.0), esp.Layer(np.eye(2), 0.0)])
    with pytest.raises(esp.NetworkError, match="layer 1 reads 2 inputs"):
        esp.compile(esp.Network(source))


def test_infer_is_compile_and_run() -> None:
    x = np.random.default_rng(1).random((50, 40), np.float32)
    whole = esp.infer(BIG, x, filter="zero", output="csr", threads=1, memory=10**9)
    parts = esp.compile(BIG, threads=1, memory=10**9).run(x, "zero", output="csr")
    np.testing.assert_array_equal(whole.activations.toarray(), parts.activations.toarray())
    assert whole.report().threads == 1


def test_a_plan_runs_again_and_keeps_its_inputs_as_they_were() -> None:
    x = np.random.default_rng(1).random((50, 40), np.float32)
    before, plan = x.copy(), esp.compile(BIG)
    first = plan.run(x).activations
    np.testing.assert_array_equal(plan.run(x[::-1]).activations, first[::-1])
    np.testing.assert_array_equal(plan.run(x).activations, first)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("cheap", FORCED)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("memory", [None, 1])
def test_the_cost_model_decides_tile_and_kernels(cheap: str, tile: int, memory: int | None) -> None:
    net = esp.radixnet(96, 3, radices=[2, 3], kronecker=16, bias=-0.1)
    with patch.object(CostModel, "load", lambda: forced_cost(cheap, tile)):
        plan = esp.compile(net, merge=False, fold=False, memory=memory)
    assert plan.tile == tile
    blocks = plan.program.blocks
    assert blocks == sum(packed.blocks for packed in plan.program.weights())
    assert (blocks > 0) == (cheap == "blocks")
    result = plan.run(sp.csr_array(np.eye(96, dtype=np.float32)))
    used = {shortcut.name for shortcut in result.report().shortcuts if shortcut.used}
    assert ("sparse input" in used) == (cheap == "scatter")
    assert ("group" in used) == (cheap == "blocks")


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("samples", [0, 1, 5000])
def test_progress_rises_to_the_total(memory: int | None, samples: int) -> None:
    compiling: list[tuple[int, int]] = []
    running: list[tuple[int, int]] = []
    plan = esp.compile(BIG, memory=memory, progress=lambda *call: compiling.append(call))
    assert compiling == [(done, len(BIG)) for done in range(1, len(BIG) + 1)]
    x = np.ones((samples, 40), np.float32)
    plan.run(x, "none", progress=lambda *call: running.append(call))
    assert running == sorted(running)
    assert len({total for _, total in running}) == 1
    assert running[-1][0] == running[-1][1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_progress_raises_comes_through(error: type[BaseException]) -> None:
    def refuse(done: int, total: int) -> None:
        raise error("enough")

    with pytest.raises(error, match="enough"):
        esp.compile(BIG, progress=refuse)
    plan = esp.compile(BIG)
    x = np.ones((100, 40), np.float32)
    with pytest.raises(error, match="enough"):
        plan.run(x, progress=refuse)
    assert plan.run(x).activations.shape == (100, 20)


def test_progress_is_called_during_a_long_run_and_may_stop_it() -> None:
    net = esp.random_network(512, 8)
    plan = esp.compile(net, threads=1)
    x = np.ones((60_000, 512), np.float32)
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        plan.run(x, "none", progress=stop)
    assert len(calls) == 1 and 0 < calls[0][0] < calls[0][1]


def test_describe_says_what_was_found() -> None:
    rows = [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 1.0]]
    readers = [[1.0, 1.0, 1.0, 0.0]] * 2
    net = esp.Network([esp.Layer(rows, -1.0), esp.Layer(readers, -1.0)])
    plan = esp.compile(net)
    text = plan.describe()
    assert "1 constant" in text and "1 unread" in text
    assert "in memory" in text and "proven: zero stays zero in 2 layers" in text
    assert f"tile {plan.tile} samples" in text
    assert "streamed" in esp.compile(net, memory=1).describe()
    assert repr(plan) == f"Plan({net!r}, tile={plan.tile}, resident=True)"
