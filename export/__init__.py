"""Checkpoint to ONNX with its contract, and the check that the two agree. Run as `python -m export`."""
