"""Make those layers of a model that can gain skip zeros, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from espalier.errors import InputError
from espalier.nn.torch_tools import DOES_NOT_FIT
from espalier.nn.zeroskip.autotune import LayerTuner, could_gain
from espalier.nn.zeroskip.latency import VARIANTS
from espalier.nn.zeroskip.layers import ZeroSkipConv2d, ZeroSkipLayer, ZeroSkipLinear
from espalier.nn.zeroskip.measure import LATENCIES
from espalier.nn.zeroskip.problem import ProblemShape
from espalier.nn.zeroskip.profile import LayerCall, profile, run_example
from espalier.nn.zeroskip.relu import ZeroSkipReLU
from espalier.progress import Progress

# What torch says when .view meets a memory format that allows none.
_NO_VIEW = "view size is not compatible"

ModelT = TypeVar("ModelT", bound=nn.Module)

_LAYERS: dict[type[nn.Module], type[ZeroSkipLayer]] = {
    nn.Conv2d: ZeroSkipConv2d,
    nn.Linear: ZeroSkipLinear,
}


def accelerate(
    model: ModelT,
    example_input: Tensor | tuple[Any, ...] | Mapping[str, Any],
    *,
    progress: Progress | None = None,
) -> ModelT:
    """Let the convolutions and linear layers of a ReLU network skip zeros, with the same numbers.

    Runs the model forward and backward on the example, finds the layers whose input or output
    gradient has zeros, measures what skipping them would gain on this machine, and makes those that
    can gain `ZeroSkipConv2d` and `ZeroSkipLinear`, and the ReLUs beside them `ZeroSkipReLU`. Every
    other module stays as it is: subclasses, quantised, pruned, parametrised or weight-normed ones
    too. Decisions are made at run time, from the densities of training.

    The model is changed in place: modules and parameters stay the same objects with their hooks,
    gradients and optimisers; batch-norm statistics and random numbers are as before. Hooks run in
    the two runs of the example. Weights of these convolutions become ``channels_last`` in memory,
    and so do their outputs: a model that calls ``.view`` on those must call ``.reshape`` or
    ``.flatten`` instead. Weights in shared memory stay there, in a new place: accelerate a model
    before other processes get it.

    The model can then be compiled or exported (`torch.compile`, `torch.export`), not scripted
    (`torch.jit.script`). Layers with frozen weights skip zeros, but leave out no entries of their
    input's gradient. A pre-hook on a node of the autograd graph may see zeros where a ReLU's output
    is 0 (see `espalier.nn.zeroskip.layers.ZeroSkipLayer`); all other hooks see whole gradients.

    Latencies are measured once and kept in ``$XDG_CACHE_HOME/espalier`` (``~/.cache/espalier``), in
    files ``layers-*``; delete them to measure anew.

    Arguments:
        model: on the CPU.
        example_input: what the model is called with: a tensor, a tuple of positional or a dict of
            keyword arguments, of the shapes of training.
        progress: called with (done, total) while latencies are measured.

    Returns:
        The model.

    Raises:
        InputError: called in inference mode; the model is no module, not on the CPU or has lazy
            modules that have not run;
            the example is not a tensor, tuple or dict, or the model does not run on it, or not with
            outputs in ``channels_last``; it is then as it was.

    >>> model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    >>> accelerate(model, torch.rand(32, 64)) is model
    True
    """
    arguments = _check(model, example_input)
    modules = [module for module in model.modules() if _is_bare(module)]
    layers = [module for module in modules if type(module) in _LAYERS]
    others = [each for each in modules if each not in layers]
    try:
        found = profile(model, arguments, layers, others)
    except DOES_NOT_FIT as error:
        raise InputError(
            f"the model does not run forward and backward on example_input: {error}"
        ) from error
    gaining = _layers_that_gain(found.layers, progress)
    new_classes: list[tuple[nn.Module, type[nn.Module]]] = [
        *((module, _LAYERS[type(module)]) for module in gaining),
        *((relu, ZeroSkipReLU) for relu in found.relus_beside(gaining)),
    ]
    undo: list[Callable[[], None]] = []
    try:
        for module, kind in new_classes:
            undo.append(_undo_of(module))
            _change_class(module, kind)
        run_example(model, arguments)
    except BaseException as error:
        for restore in undo:
            restore()
        if _NO_VIEW not in str(error):
            raise
        raise InputError(
            f"the model does not run with convolutions whose outputs are channels_last: {error}; "
            "after them, call .reshape or .flatten instead of .view"
        ) from error
    for layer in gaining:
        # The densities of the example are not those of the first training steps.
        if isinstance(layer, ZeroSkipLayer):
            layer.tuner = LayerTuner(layer.passes)
    return model


def _check(model: Any, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example as positional and keyword arguments."""
    if torch.is_inference_mode_enabled():
        raise InputError("accelerate runs the model backward, wanted a call outside inference mode")
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"model is a {type(model).__name__}, wanted a torch.nn.Module in Python")
    if type(model).__name__ == "OptimizedModule":  # its class takes a second to import
        raise InputError("model is compiled already: accelerate it first, then torch.compile it")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise InputError(f"{name} has no shape yet, wanted a model that ran: run it once first")
        if tensor.device.type != "cpu":
            raise InputError(f"{name} is on {tensor.device}, wanted the model on the CPU")
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, tuple):
        return example, {}
    if isinstance(example, Mapping) and all(isinstance(name, str) for name in example):
        return (), dict(example)
    raise InputError(
        f"example_input is a {type(example).__name__}, wanted a tensor, a tuple of arguments or a "
        "dict of keyword arguments"
    )


def _is_bare(module: nn.Module) -> bool:
    """Whether a module is torch's own in float32, with its own weight and forward."""
    if "forward" in vars(module):
        return False
    if type(module) is nn.ReLU:
        return True
    weight = module._parameters.get("weight")
    own = isinstance(weight, nn.Parameter) and weight.dtype is torch.float32
    return type(module) in _LAYERS and own


def _layers_that_gain(calls: list[LayerCall], progress: Progress | None) -> dict[nn.Module, None]:
    """The layers that some plausible density makes faster, in order; measures what is unknown."""
    gaining: dict[nn.Module, None] = {}
    for done, call in enumerate(calls):
        if progress is not None:
            progress(done, len(calls))
        if call.module not in gaining and _call_gains(call):
            gaining[call.module] = None
    if progress is not None and calls:
        progress(len(calls), len(calls))
    return gaining


def _call_gains(call: LayerCall) -> bool:
    op = _LAYERS[type(call.module)].op_of(call.module)
    if op is None or not call.sparse:
        return False
    problem = ProblemShape.of(op, call.input, call.weight, torch.get_num_threads())
    runs = dict(zip(VARIANTS, (True, *call.requires_grad), strict=True))
    return any(
        runs[pass_name] and could_gain(LATENCIES.curve(problem, pass_name), call.sparse)
        for pass_name in VARIANTS
        if call.sparse & set(VARIANTS[pass_name])
    )


def _change_class(module: nn.Module, kind: type[nn.Module]) -> None:
    """Make a module one of ours: the same object with its hooks."""
    module.__class__ = kind
    if isinstance(module, ZeroSkipLayer):
        weight: Any = module.weight
        shared = weight.is_shared()
        module.reset_tuner()
        if shared:
            weight.data.share_memory_()


def _undo_of(module: nn.Module) -> Callable[[], None]:
    """What makes a module again what it is now."""
    before = type(module)
    weight = module._parameters.get("weight")
    memory = None if weight is None else weight.data

    def undo() -> None:
        module.__class__ = before
        vars(module).pop("tuner", None)
        if weight is not None and memory is not None:
            weight.data = memory

    return undo
