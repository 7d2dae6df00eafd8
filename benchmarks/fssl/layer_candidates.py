"""One training step of a sparse layer, forward and backward, by all candidates that can do it.

Each candidate is given its operands as it likes them best, made beforehand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from espalier.errors import EspalierError

if TYPE_CHECKING:
    from torch import Tensor, nn

DENSE, HAND, SPARSELAB = "nn.Linear", "torch CSR by hand", "sparselab"
ROWS, TRAVELLING = "espalier", "espalier, in a chain"
# Rounding in float32, as a part of the largest number of a result.
TOLERANCE = 1e-3

Results = tuple["Tensor", "Tensor", "Tensor"]  # output, gradients by x and by the non-zeros


class Problem(NamedTuple):
    """A layer with a batch and the gradient of its output."""

    weight: Tensor  # [outputs, inputs], with its zeros
    bias: Tensor
    x: Tensor  # [batch, inputs]
    dy: Tensor

    @classmethod
    def draw(cls, size: int, density: float, batch: int) -> Problem:
        """A square layer with a random pattern."""
        import torch

        from espalier.nn import SparseLinear

        torch.manual_seed(0)
        layer = SparseLinear(size, size, density=density)
        x, dy = torch.randn(batch, size), torch.randn(batch, size)
        return cls(layer.to_dense().detach(), torch.randn(size), x, dy)

    def check(self, name: str, candidate: Candidate) -> None:
        """Raise where it computes something else, beyond rounding.

        Raises:
            EspalierError: naming what differs.
        """
        if candidate.results is None:
            return
        wanted = (
            self.x @ self.weight.t() + self.bias,
            self.dy @ self.weight,
            (self.dy.t() @ self.x)[self.weight != 0],
        )
        what = "output", "gradient by x", "gradient by the non-zeros"
        for part, mine, theirs in zip(what, candidate.results(), wanted, strict=True):
            error = float((mine - theirs).abs().max())
            if not error <= TOLERANCE * float(theirs.abs().max()):
                raise EspalierError(f"{name}: {part} is off by {error:.3g}; it is not timed")


class Candidate(NamedTuple):
    """A training step, and its results; None where the problem is not just this one."""

    step: Callable[[], object]
    results: Callable[[], Results] | None


def dense(problem: Problem) -> Candidate:
    """PyTorch's layer, zeros and all."""
    from torch import nn

    layer = nn.Linear(*problem.weight.t().shape)
    layer.weight.data, layer.bias.data = problem.weight.clone(), problem.bias.clone()
    return _module(layer, problem.x, problem.dy, layer.weight, problem.weight != 0)


def espalier(problem: Problem, travelling: bool) -> Candidate:
    """`SparseLinear`: with input and gradient in rows, or in the layout its neighbours leave."""
    from espalier.nn import SparseLinear

    layer = SparseLinear.from_dense(problem.weight, problem.bias)
    x, dy = problem.x, problem.dy
    if travelling:
        x, dy = (each.t().contiguous().t() for each in (x, dy))
    return _module(layer, x, dy, layer.values)


def torch_csr(problem: Problem) -> Candidate:
    """PyTorch's sparse products: CSR, a transposed CSR stored beside it, `sampled_addmm`.

    It pays for no transpose: inputs come and results go as columns, and the values of the stored
    transpose, which a step would have to renew, stay what they are. There is no bias.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "beta state"
        weight, transpose = _csr(problem.weight), _csr(problem.weight.t().contiguous())
        nothing = torch.sparse_csr_tensor(
            weight.crow_indices(), weight.col_indices(), torch.zeros_like(weight.values())
        )
    x = problem.x.clone()
    columns, dy = problem.x.t().contiguous(), problem.dy.t().contiguous()

    def step() -> Results:
        by_weight = torch.sparse.sampled_addmm(nothing, dy, x, beta=0.0)
        return (weight @ columns).t(), (transpose @ dy).t(), by_weight.values()

    def results() -> Results:
        y, dx, gradient = step()
        return y + problem.bias, dx, gradient

    return Candidate(step, results)


def sparselab(problem: Problem) -> Candidate:
    """SparseLab's layer, with a pattern of its own drawn at the same density.

    Raises:
        ImportError: it is not installed.
    """
    import sparselab as peer

    outputs, inputs = problem.weight.shape
    density = float((problem.weight != 0).float().mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "beta state"
        layer = peer.SparseLinear(inputs, outputs, sparsity=1.0 - density)
    return Candidate(_step(layer, problem.x, problem.dy), None)


def _module(
    layer: nn.Module, x: Tensor, dy: Tensor, weight: Tensor, kept: Tensor | None = None
) -> Candidate:
    """A layer; of the gradient by `weight` it is the entries `kept` that count."""
    x = x.detach().requires_grad_()

    def results() -> Results:
        y = layer(x)
        y.backward(dy)
        gradients = x.grad, weight.grad
        _forget(layer, x)
        assert gradients[0] is not None and gradients[1] is not None
        return y.detach(), gradients[0], gradients[1] if kept is None else gradients[1][kept]

    return Candidate(_step(layer, x, dy), results)


def _step(layer: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], object]:
    x = x.detach().requires_grad_()

    def step() -> None:
        layer(x).backward(dy)
        _forget(layer, x)

    return step


def _forget(layer: nn.Module, x: Tensor) -> None:
    for each in (x, *layer.parameters()):
        each.grad = None


def _csr(weight: Tensor) -> Tensor:
    """With indices of 32 bits, which MKL wants."""
    import torch

    csr = weight.to_sparse_csr()
    return torch.sparse_csr_tensor(
        csr.crow_indices().int(), csr.col_indices().int(), csr.values(), weight.shape
    )
