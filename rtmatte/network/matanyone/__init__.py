"""MatAnyone (1 and 2: one network, other weights): `weights.load` gives the network, `step.Step` one frame of it.

Written from a description of the published architecture alone; parameter names are those of the released files.
Nothing is imported here, so that `protocol` can be used without PyTorch.
"""
