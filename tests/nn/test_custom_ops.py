"""Handles: numbers by which operators find what belongs to a layer."""

from __future__ import annotations

from espalier.nn.custom_ops import HasHandle
from espalier.nn.sparse.pattern_cache import PatternCache
from espalier.nn.zeroskip.autotune import LayerTuner


def test_a_handle_finds_its_object_while_it_lives():
    first, second = PatternCache(), PatternCache()
    handle = first.handle
    assert PatternCache.of(handle) is first and PatternCache.of(second.handle) is second
    del first
    assert PatternCache.of(handle) is None


def test_handles_of_other_classes_are_unknown():
    tuner = LayerTuner()
    assert PatternCache.of(tuner.handle) is None
    assert HasHandle.of(tuner.handle) is LayerTuner.of(tuner.handle) is tuner
