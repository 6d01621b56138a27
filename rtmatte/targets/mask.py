"""The mask target: somebody else said who it is, once, for the first frame."""

from __future__ import annotations

from rtmatte.errors import MaskError
from rtmatte.frame import Frame, Mask

FAINT = 0.5  # a mask with nothing above this marks nobody; label images with values 0 and 1 are caught by it


def check_mask(mask: Mask) -> Mask:
    """Returns `mask`; MaskError for one that marks nobody."""
    brightest = float(mask.values.max())
    if not brightest >= FAINT:
        raise MaskError(
            f"expected a mask that is white (255) where the person is, found nothing above {brightest * 255:.0f}; "
            "give another mask, or none to let the person be found"
        )
    return mask


class MaskTarget:
    """Proposes `mask` for the first frame it is asked about, and nobody afterwards: later the person has moved.

    Raises MaskError for an empty mask.
    """

    name = "mask"

    def __init__(self, mask: Mask) -> None:
        self._mask: Mask | None = check_mask(mask)

    def propose(self, frame: Frame) -> Mask | None:
        mask, self._mask = self._mask, None
        return mask
