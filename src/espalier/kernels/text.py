"""Text into CSR arrays and back: the parser of ``index index [value]`` lines."""

from __future__ import annotations

from espalier import _native

EntryParser = _native.EntryParser
format_entries = _native.format_entries
format_indices = _native.format_indices
parse_indices = _native.parse_indices

__all__ = ["EntryParser", "format_entries", "format_indices", "parse_indices"]
