"""The embedded backend and the FP32 reference: ONNX Runtime on the CPU."""
