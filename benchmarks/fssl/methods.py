"""The methods that are compared, by name, and how small each shall make a network."""

from __future__ import annotations

from typing import Literal, NamedTuple

Measure = Literal["time", "weights", "zeros", "strength"]


class Target(NamedTuple):
    """How small a network shall become.

    Attributes:
        measure: ``"time"``, the part of the predicted time to keep; ``"weights"``, the part of the
            weights to keep, by whole units; ``"zeros"``, the part of the weights to zero one by
            one; or ``"strength"``, that of a penalty, wherever it leads.
        value: the number.
    """

    measure: Measure
    value: float

    @property
    def label(self) -> str:
        """The target in a table.

        >>> Target("time", 0.13).label, Target("zeros", 0.98).label
        ('time 0.13', 'zeros 0.98')
        """
        return f"{self.measure} {self.value:.4g}"


class Method(NamedTuple):
    """One way to a small network.

    Attributes:
        label: in tables.
        measure: of its targets; None for one without any.
        description: one sentence for the notes.
    """

    label: str
    measure: Measure | None
    description: str


DENSE, WIDTH, SCRATCH, RANDOM, NORM = "dense", "width", "scratch", "random", "norm"
MAGNITUDE, SSL, RIGL = "magnitude", "ssl", "rigl"
FSSL, FSSL_TIME, FSSL_WEIGHTS = "fssl", "fssl-time", "fssl-weights"

METHODS: dict[str, Method] = {
    DENSE: Method("dense", None, "the whole network"),
    WIDTH: Method(
        "width-scaled dense",
        "time",
        "hidden layers narrowed alike until the predicted time fits, trained from the start",
    ),
    SCRATCH: Method(
        "compact from scratch",
        "time",
        "the shape and the inputs that FSSL found, with fresh weights, trained from the start",
    ),
    RANDOM: Method("random units", "time", "units removed at random, a few at a time"),
    NORM: Method(
        "unit magnitude",
        "time",
        "in each layer alike, units of the smallest norm over their coupled group, a few at a time",
    ),
    SSL: Method(
        "SSL, sub-gradient",
        "strength",
        "group lasso on rows and columns by its sub-gradient; weights below 1e-4 become 0",
    ),
    MAGNITUDE: Method(
        "magnitude, CSR", "zeros", "the smallest weights of the whole network, run as SparseLinear"
    ),
    RIGL: Method("RigL, CSR", "zeros", "sparse from the first step, run as SparseLinear"),
    FSSL_WEIGHTS: Method("FSSL, mix 0", "time", "families priced by their weights alone"),
    FSSL: Method("FSSL, mix 0.5", "time", "families priced half by weights, half by time"),
    FSSL_TIME: Method("FSSL, mix 1", "time", "families priced by their time alone"),
}
MIX = {FSSL_WEIGHTS: 0.0, FSSL: 0.5, FSSL_TIME: 1.0}
UNSTRUCTURED = (MAGNITUDE, RIGL)
# Without a dense phase of their own; they learn from the one that others begin with.
TAUGHT = (WIDTH, SCRATCH, RIGL)
