"""Options and arguments that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from espalier.distributed.comm.transport import TransportName

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use; all of them by default.")]

# Networks and inputs, by a path or by a word.
NetworkSource = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A file or folder, radixnet:NEURONSxLAYERS[:SEED], or random:NEURONSxLAYERS[:SEED].",
    ),
]
InputsSource = Annotated[
    str,
    typer.Argument(metavar="INPUTS", help="A file, digits[:COUNT], or mnist:FOLDER[:COUNT]."),
]
NetworkTarget = Annotated[
    str, typer.Argument(help=".safetensors, .tar.gz of TSV, .mtx, or a folder of TSV.")
]

# What the text files of a network do not say.
Bias = Annotated[
    float | None,
    typer.Option(help="Bias of every neuron, which text files lack; by default the challenge's."),
]
Clip = Annotated[
    float | None,
    typer.Option(help="Upper bound of every output; by default the challenge's, with its bias."),
]
Neurons = Annotated[
    int | None, typer.Option(help="Width of a text network whose name does not say it.")
]
Layers = Annotated[
    int | None, typer.Option(min=1, help="First layers to take of a network on file.")
]

# Runs on several processes.
Ranks = Annotated[
    int | None,
    typer.Option(min=1, help="Processes to run on, started by mpiexec; one by default."),
]
Parts = Annotated[
    int | None,
    typer.Option(
        min=1, help="Parts of the network; replicas of it share the samples. Chosen by default."
    ),
]
PartitionFile = Annotated[
    Path | None,
    typer.Option("--partition", help="What `espalier partition` wrote; made anew by default."),
]
Transport = Annotated[
    TransportName | None,
    typer.Option(
        help="How parts exchange: by MPI's messages, or by shared memory on one machine (auto: "
        "where it can be)."
    ),
]
Patience = Annotated[
    float | None,
    typer.Option(help="Seconds to wait for another rank without progress; 60 by default."),
]
