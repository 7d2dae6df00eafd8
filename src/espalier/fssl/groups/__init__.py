"""Which parameters of a model can only go together.

`find` asks `coupling`, which traces one run of the model, and makes `groups` of `slices`.
"""
