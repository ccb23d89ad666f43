"""An ONNX file turned into facts: digest, tensor specs, profiles, seeded inputs."""

from pytest_trt.model.onnx_file import OnnxModel
from pytest_trt.model.profiles import Profile, Shape, ShapeRange
from pytest_trt.model.tensors import Tensors, TensorSpec

__all__ = ["OnnxModel", "Profile", "Shape", "ShapeRange", "TensorSpec", "Tensors"]
