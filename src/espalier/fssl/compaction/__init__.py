"""The smaller module that computes the same.

`reduce_units` proves what may go by `value_numbering`, `resize` cuts it out, `verify` compares.
"""
