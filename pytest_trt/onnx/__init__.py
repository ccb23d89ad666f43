"""An ONNX file as facts, without loading its weights: wire format, graph, external data, digest."""
