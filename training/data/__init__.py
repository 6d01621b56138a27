"""Training data: clips with known alpha, composed on the fly from cut-out people and backgrounds."""
