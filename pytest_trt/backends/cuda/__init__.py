"""CUDA streams, memory and graphs, through cuda-bindings."""
