"""Tensors inside a model: made outputs of it, and compared with what FP32 computes."""
