"""Nested state as flat tensors and JSON: any torch optimiser's state_dict, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from espalier.errors import InputError

TENSOR, TUPLE, PAIRS = "$tensor", "$tuple", "$pairs"


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split a state into JSON and tensors; `unpack` puts it together again, types and all.

    Arguments:
        state: dicts, lists and tuples of tensors, numbers, texts, booleans and None.

    Returns:
        The JSON value, and the tensors it names: copies that share no memory.

    Raises:
        InputError: something else is in it.

    >>> tree, tensors = pack({0: torch.ones(2), "betas": (0.9, 0.999)})
    >>> unpack(tree, tensors)
    {0: tensor([1., 1.]), 'betas': (0.9, 0.999)}
    """
    tensors: dict[str, Tensor] = {}
    return _pack(state, "", tensors), tensors


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that `pack` was given.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if TENSOR in tree:
        return tensors[tree[TENSOR]]
    if TUPLE in tree:
        return tuple(unpack(item, tensors) for item in tree[TUPLE])
    if PAIRS in tree:
        return {key: unpack(value, tensors) for key, value in tree[PAIRS]}
    return {key: unpack(value, tensors) for key, value in tree.items()}


def _pack(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(state, Tensor):
        tensors[name] = state.detach().clone(memory_format=torch.contiguous_format)
        return {TENSOR: name}
    if isinstance(state, Mapping):
        packed = [(key, _pack(value, f"{name}/{key}", tensors)) for key, value in state.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in packed):
            return dict(packed)
        return {PAIRS: [[key, value] for key, value in packed]}
    if isinstance(state, list | tuple):
        items = [_pack(item, f"{name}/{index}", tensors) for index, item in enumerate(state)]
        return {TUPLE: items} if isinstance(state, tuple) else items
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise InputError(
        f"state{name} is a {type(state).__name__}, wanted tensors, numbers, texts and None alone"
    )
