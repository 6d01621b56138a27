"""Batch norms folded into the convolutions before them: the same function in fewer operators, for inference only."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Which norm follows which convolution of the same parent, by the names of the released files.
_PAIRS = (
    ("conv1", "bn1"),
    ("conv2", "bn2"),
    ("conv3", "bn3"),
    ("conv1x1_v2", "bn1"),
    ("conv3x3", "bn2"),
    ("0", "1"),
)


Module = TypeVar("Module", bound=nn.Module)


def folded(module: Module) -> Module:
    """Returns a copy of `module` with every batch norm inside it folded."""
    module = deepcopy(module)
    for parent in module.modules():
        children = dict(parent.named_children())
        for conv_name, norm_name in _PAIRS:
            conv, norm = children.get(conv_name), children.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return module
