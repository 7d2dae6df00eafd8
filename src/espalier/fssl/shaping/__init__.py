"""Which units or weights go while a model trains.

`optimizer` follows a budget, which tightens along a `schedule` towards one of the `targets`;
`importance` ranks units, and the `proximal` step takes the least important to exact zeros.
"""
