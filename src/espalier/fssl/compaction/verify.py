"""Compare a compact model with the original on samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import InputError, NetworkError
from espalier.nn.torch_tools import DOES_NOT_FIT, tensors_in

PROBE_SAMPLES = 64
PROBE_SEED = 0


def draw_probe(example: tuple[Any, ...]) -> tuple[Any, ...]:
    """The example, and normal noise of its mean and spread; the same samples every time.

    >>> draw_probe((torch.rand(2, 3),))[0].shape
    torch.Size([66, 3])
    """
    if not _is_batch(example):
        return example
    generator = torch.Generator().manual_seed(PROBE_SEED)
    return tuple(_with_noise(each, generator) for each in example)


def check_equal(model: nn.Module, small: nn.Module, probe: tuple[Any, ...], rtol: float) -> float:
    """The largest difference between two models on a probe, both in evaluation mode.

    Raises:
        NetworkError: it exceeds ``rtol`` times the largest output, or another class wins where
            the best two are further apart than that.
        InputError: the model does not run on the probe, or gives numbers that are not finite.
    """
    try:
        wanted = _run(model, probe)
    except DOES_NOT_FIT as error:
        raise InputError(
            f"the model does not run on the probe, pass samples for it with probe=...: {error}"
        ) from error
    if not any(each.numel() for each in wanted):
        raise InputError("the model gives no number on the probe, wanted at least one sample")
    if not all(torch.isfinite(each).all() for each in wanted):
        raise InputError("the model gives NaN or infinity on the probe: nothing compares")
    try:
        came = _run(small, probe)
    except DOES_NOT_FIT as error:
        raise NetworkError(
            f"the compact model does not run, so it is not given out: {error}"
        ) from error
    gaps = [0.0]
    for before, after in zip(wanted, came, strict=True):
        if before.shape != after.shape:
            raise NetworkError(
                f"the compact model gives {list(after.shape)} where the model gives "
                f"{list(before.shape)}; it is not given out"
            )
        allowed = rtol * float(before.abs().max()) if before.numel() else 0.0
        gap = float((before - after).abs().max()) if before.numel() else 0.0
        if not gap <= allowed:
            raise NetworkError(
                f"the compact model differs by {gap:.3g} on {len(before)} samples, allowed "
                f"{allowed:.3g} (rtol={rtol:g} of the largest output); it is not given out"
            )
        _check_classes(before, after, allowed)
        gaps.append(gap)
    return max(gaps)


def _check_classes(before: Tensor, after: Tensor, allowed: float) -> None:
    if before.dim() < 2 or before.shape[-1] < 2 or not before.numel():
        return
    best = before.topk(2, dim=-1).values
    clear = best[..., 0] - best[..., 1] > allowed
    other = int((clear & (before.argmax(-1) != after.argmax(-1))).sum())
    if other:
        raise NetworkError(
            f"the compact model names another class for {other} of {clear.numel()} samples"
        )


def _run(model: nn.Module, probe: tuple[Any, ...]) -> list[Tensor]:
    # Layers that work in place must not reach the samples.
    copies = (each.clone() if isinstance(each, Tensor) else each for each in probe)
    return [each.double() for each in tensors_in(model(*copies))]


def _is_batch(example: tuple[Any, ...]) -> bool:
    """Whether the arguments are real numbers, one row of each for every sample."""
    real = all(isinstance(x, Tensor) and x.is_floating_point() and x.dim() for x in example)
    return real and len({len(x) for x in example}) == 1


def _with_noise(example: Tensor, generator: torch.Generator) -> Tensor:
    spread, mean = torch.std_mean(example.double().flatten(), correction=0)
    noise = torch.randn(PROBE_SAMPLES, *example.shape[1:], generator=generator)
    drawn = noise * (float(spread) or 1.0) + float(mean)
    return torch.cat([example.detach(), drawn.to(example.dtype)])
