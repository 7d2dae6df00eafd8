"""A linear layer whose weights are sparse: only the non-zeros exist, in every pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import InputError
from espalier.nn.sparse import cuda, patterns
from espalier.nn.sparse.autograd import apply, dense_forward, dense_weight, flat_indices
from espalier.nn.sparse.pattern_cache import PatternCache, pattern_tensors
from espalier.nn.torch_tools import is_supported, may_compile, with_shape


class SparseLinear(nn.Module):
    """``x @ W.T + bias`` with a ``W`` of a fixed pattern, of which only the non-zeros exist.

    `values` is an ordinary dense one-dimensional parameter, so every optimiser, clipping,
    `state_dict` and data-parallel training work as ever; gradients and optimiser state have its
    size, and no pass makes anything of the size of ``W``.

    Our kernels take float32 on the CPU, in eager mode and under `torch.compile`, where autocast
    leaves the layer in float32; and on an NVIDIA GPU float32 and bfloat16 in eager mode, where
    autocast to bfloat16 is followed. For other types and devices, functorch, and gradients of
    gradients, ``W`` is made dense and PyTorch answers.

    The output ``[batch, out_features]`` has the samples side by side in memory (strides
    ``(1, batch)``), which the next layer and element-wise operations keep; ``.contiguous()``
    transposes it where an operation asks for that.

    Arguments:
        in_features, out_features: width of an input and of an output.
        bias: whether to add one; it starts at 0.
        density: non-zeros over ``in_features * out_features`` of a pattern drawn at random
            (`patterns.uniform`), by torch's generator.
        pattern: the pattern in place of that: a scipy sparse matrix, a mask
            ``[out_features, in_features]``, or the pair ``(row_offsets, column_indices)``.
        device, dtype: of values and bias.

    Attributes:
        values: parameter ``[nonzeros]``, in CSR order; drawn from a normal distribution of
            variance 2 over the non-zeros of the row (He et al., ICCV 2015).
        row_offsets: buffer, int64 ``[out_features + 1]``.
        column_indices: buffer, int32 ``[nonzeros]``, rising within each row.
        bias: parameter ``[out_features]``, or None.

    Raises:
        InputError: not just one of density and pattern, or one that does not fit.

    >>> layer = SparseLinear(8, 4, density=0.25)
    >>> layer(torch.ones(3, 8)).shape, layer.nonzeros, layer.values.shape
    (torch.Size([3, 4]), 8, torch.Size([8]))
    """

    row_offsets: Tensor
    column_indices: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        density: float | None = None,
        pattern: Any = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if (density is None) == (pattern is None):
            raise InputError("wanted a density or a pattern, and not both")
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if type(size) is not int or size < 0:
                raise InputError(f"{name} is {size!r}, wanted a whole number from 0 up")
        self.in_features, self.out_features = in_features, out_features
        if density is not None:
            seed = int(torch.randint(2**62, ()))
            pattern = patterns.uniform(out_features, in_features, density, seed)
        offsets, columns = pattern_tensors(pattern, out_features, in_features)
        self.register_buffer("row_offsets", offsets.to(device))
        self.register_buffer("column_indices", columns.to(device))
        options: Any = {"device": device, "dtype": dtype}
        self.values = nn.Parameter(torch.empty(len(columns), **options))
        self.bias = nn.Parameter(torch.empty(out_features, **options)) if bias else None
        self._cache = PatternCache()
        self.reset_parameters()

    @classmethod
    def from_dense(
        cls, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
    ) -> SparseLinear:
        """The layer that computes ``x @ weight.T + bias``.

        Arguments:
            weight: ``[out_features, in_features]``.
            mask: of the same shape: which weights exist. Default: those that are not 0.

        >>> SparseLinear.from_dense(torch.tensor([[0.0, 2.0]]))(torch.ones(1, 2)).tolist()
        [[2.0]]
        """
        if not isinstance(weight, Tensor):
            raise InputError(f"weight is a {type(weight).__name__}, wanted a tensor")
        if weight.dim() != 2 or (mask is not None and mask.shape != weight.shape):
            shapes = [list(each.shape) for each in (weight, mask) if each is not None]
            raise InputError(f"weight and mask are {shapes}, wanted two dimensions, the same")
        kept = (weight if mask is None else mask).detach() != 0
        layer = cls(
            weight.shape[1],
            weight.shape[0],
            bias is not None,
            pattern=kept,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            layer.values.copy_(weight[kept])
            if bias is not None and layer.bias is not None:
                layer.bias.copy_(bias)
        return layer

    def to_dense(self) -> Tensor:
        """``W`` ``[out_features, in_features]`` with its zeros, differentiable by `values`."""
        return dense_weight(self.values, self.row_offsets, self.column_indices, self.in_features)

    @property
    def nonzeros(self) -> int:
        """Connections of the pattern."""
        return self.column_indices.shape[0]

    @property
    def density(self) -> float:
        """Connections over ``in_features * out_features``."""
        return self.nonzeros / max(1, self.in_features * self.out_features)

    @property
    def pattern(self) -> patterns.Pattern:
        """A copy of the pattern, as a scipy CSR array of bools."""
        offsets, columns = (
            each.cpu().numpy().copy() for each in (self.row_offsets, self.column_indices)
        )
        return patterns.as_pattern(offsets, columns, self.in_features)

    def set_pattern(self, pattern: Any) -> None:
        """Change the pattern: connections that stay keep their values, new ones start at 0.

        `values` stays the same parameter. An optimiser that keeps state for each of them must
        follow: `updaters.change_pattern` does both.
        """
        tensors = pattern_tensors(pattern, self.out_features, self.in_features)
        old, new = self.places(), flat_indices(*tensors, self.in_features)
        source = torch.searchsorted(old, new)
        stays = torch.isin(new, old, assume_unique=True)
        self._replace(*tensors, torch.where(stays, source, -1))

    def replace_places(self, places: Tensor, source: Tensor) -> None:
        """Take other connections, the i-th with value ``source[i]`` of the old ones, 0 for -1.

        Arguments:
            places: as from `places`, rising.
        """
        counts = torch.bincount(places // self.in_features, minlength=self.out_features)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self._replace(offsets, (places % self.in_features).int(), source)

    def places(self) -> Tensor:
        """``row * in_features + column`` of every connection, rising; int64, on the CPU."""
        return flat_indices(self.row_offsets.cpu(), self.column_indices.cpu(), self.in_features)

    def _replace(self, row_offsets: Tensor, column_indices: Tensor, source: Tensor) -> None:
        self.row_offsets = row_offsets.to(self.row_offsets.device)
        self.column_indices = column_indices.to(self.column_indices.device)
        replace_entries(self.values, source)

    def reset_parameters(self) -> None:
        """Draw new values, and set the bias to 0."""
        counts = self.row_offsets.diff()
        scale = (2.0 / counts.clamp(min=1)).sqrt().to(self.values.dtype)
        with torch.no_grad():
            self.values.normal_()
            self.values.mul_(torch.repeat_interleave(scale, counts, output_size=self.nonzeros))
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        """``input @ W.T + bias``; input is ``[..., in_features]``."""
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            raise InputError(
                f"input is {list(input.shape)}, the layer expects [..., {self.in_features}]; "
                "is it transposed?"
            )
        if torch.is_autocast_enabled("cpu") and input.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return self.forward(input.to(self.values.dtype))
        cuda.check_one_device(input, self.values)
        rows = input if input.dim() == 2 else input.reshape(-1, self.in_features)
        y = self._multiply(rows)
        return y if input.dim() == 2 else with_shape(y, (*input.shape[:-1], self.out_features))

    def _multiply(self, x: Tensor) -> Tensor:
        tensors = self.row_offsets, self.column_indices
        if torch.compiler.is_compiling():
            if may_compile(x, self.values, self.bias):
                operator = torch.ops.espalier.sparse_linear
                compiled: Tensor = operator(x, self.values, self.bias, *tensors, self._cache.handle)
                return compiled
        elif is_supported(x, self.values, self.bias):
            pattern = self._cache.get(*tensors, self.in_features)
            y: Tensor = apply(x, self.values, self.bias, pattern, *tensors)
            return y
        elif (given := cuda.operands(x, self.values, self.bias)) is not None:
            device = cuda.device_of(x)
            on_device = self._cache.get_on(device, *tensors, self.in_features)
            result: Tensor = apply(*given, on_device, *tensors)
            return result
        return dense_forward(x, self.values, self.bias, *tensors)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"nonzeros={self.nonzeros}, density={self.density:.4g}, bias={self.bias is not None}"
        )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take the pattern of the state, of any number of non-zeros, once it is checked."""
        names = [prefix + name for name in ("row_offsets", "column_indices", "values")]
        if all(name in state_dict for name in names):
            offsets, columns, values = (state_dict[name] for name in names)
            try:
                tensors = pattern_tensors((offsets, columns), self.out_features, self.in_features)
                if values.shape != tensors[1].shape:
                    raise InputError(
                        f"values is {list(values.shape)}, wanted [{len(tensors[1])}], one for "
                        "each of column_indices"
                    )
            except InputError as error:
                error_msgs.append(f"{prefix or 'SparseLinear'}: {error}")
                return
            if len(tensors[1]) != self.nonzeros:
                self._replace(*tensors, torch.full((len(tensors[1]),), -1))
        elif any(name in state_dict for name in names[:2]):
            error_msgs.append(f"a pattern comes whole or not at all; wanted {', '.join(names)}")
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def replace_entries(tensor: Tensor, source: Tensor) -> None:
    """In place: entry i becomes entry ``source[i]``, or 0 where that is -1; the size may change."""
    source = source.to(tensor.device)
    with torch.no_grad():
        kept = source >= 0
        new = tensor.new_zeros(len(source))
        new[kept] = tensor[source[kept]]
        if new.shape == tensor.shape:
            tensor.copy_(new)
        else:
            tensor.data = new
            torch.autograd.graph.increment_version(tensor)
    tensor.grad = None
