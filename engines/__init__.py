"""Named recipes for TensorRT plans, reports on them, and a check against ONNX Runtime. Run as `python -m engines`."""
