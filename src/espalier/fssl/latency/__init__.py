"""What the layers of a model cost on this machine, in seconds, at every width.

`measure` times `probes` and the `overhead` between layers, `regression` fits `curves` to that, and
`prediction` adds them up to the time of a network; `model` is the face of it all.
"""
