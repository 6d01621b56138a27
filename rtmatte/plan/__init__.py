"""TensorRT plans: from an ONNX file with its contract to a plan with its sidecar, and safely back to something to run.

api      one adapter over `tensorrt` 10 and 11 and `tensorrt_rtx` 1
sidecar  what a plan says about itself, and the checks before one byte of it reaches TensorRT
kernels  what TensorRT for RTX compiles of a plan for the GPU at hand
build    the builder
cache    the user's folder of plans
"""
