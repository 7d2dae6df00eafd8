"""One run of a model in which facts about the channels of its tensors are followed.

A fact belongs to a tensor. Functions that work elementwise, pool, add or flatten hand it on; what
a layer makes has a fact of its own. `coupling` follows which units a tensor counts, and
`compaction.value_numbering` which channels depend on the sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espalier.fssl.groups.modules import evaluating
from espalier.fssl.groups.torch_functions import name_of
from espalier.nn.torch_tools import tensors_in

FactT = TypeVar("FactT")


class ChannelTracer(TorchFunctionMode, Generic[FactT]):
    """Follows facts through a run; subclasses say what is known behind a module or a function.

    Arguments:
        leaves: modules whose calls are followed as a whole, and not what they compute inside.
    """

    def __init__(self, leaves: Iterable[nn.Module]) -> None:
        super().__init__()
        self._leaves = list(leaves)
        self._facts: dict[int, FactT] = {}
        self._kept: list[Tensor] = []  # so that no identity is given twice
        self._depth = 0

    def trace(self, model: nn.Module, arguments: tuple[Any, ...]) -> Any:
        """Run a model in evaluation mode and follow all that it computes; returns its output."""
        hooks = [
            hook
            for module in self._leaves
            for hook in (
                module.register_forward_pre_hook(self._enter),
                # Before the module's own hooks, so that what they do is followed too.
                module.register_forward_hook(self._leave, always_call=True, prepend=True),
            )
        ]
        try:
            with evaluating(model), self:
                return model(*arguments)
        finally:
            for hook in hooks:
                hook.remove()

    def after_module(self, module: nn.Module, x: Tensor, output: Tensor) -> None:
        """Say what is known of the output of a leaf that read `x`."""
        raise NotImplementedError

    def after_function(self, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        """Say what is known of the results of a function."""
        raise NotImplementedError

    def keep(self, tensor: Tensor, fact: FactT | None = None) -> None:
        """Remember a tensor, and what is known of its channels."""
        if fact is not None:
            self._facts[id(tensor)] = fact
        self._kept.append(tensor)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if not self._depth:
            self.after_function(name_of(function), args, kwargs, list(tensors_in(result)))
        return result

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._depth += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):  # None if the call failed
            self.after_module(module, args[0], output)
        self._depth -= 1  # after `after_module`, whose own calls are not the model's
