"""An ONNX file turned into facts: digest, tensor specs, profiles, seeded inputs."""

from pytest_trt.model.digest import MODEL_SCHEMA, LabelledHash
from pytest_trt.model.digest_memory import DigestMemory, FileStamp, Remembered, Stamps
from pytest_trt.model.feeds import check_calibration, check_inputs
from pytest_trt.model.inputs import check_ranges, inputs_digest, seeded_inputs
from pytest_trt.model.onnx_file import OnnxModel, load_model, read_interface, read_node_names
from pytest_trt.model.points import Point
from pytest_trt.model.profile_choice import distinct_points, select_profile, shapes_at, values_at
from pytest_trt.model.profiles import Profile, Shape, ShapeRange, needs_profile, parse_profiles
from pytest_trt.model.tensors import Tensors, TensorSpec
from pytest_trt.model.value_ranges import ValueRange, Values

__all__ = [
    "MODEL_SCHEMA",
    "DigestMemory",
    "FileStamp",
    "LabelledHash",
    "OnnxModel",
    "Point",
    "Profile",
    "Remembered",
    "Shape",
    "ShapeRange",
    "Stamps",
    "TensorSpec",
    "Tensors",
    "ValueRange",
    "Values",
    "check_calibration",
    "check_inputs",
    "check_ranges",
    "distinct_points",
    "inputs_digest",
    "load_model",
    "needs_profile",
    "parse_profiles",
    "read_interface",
    "read_node_names",
    "seeded_inputs",
    "select_profile",
    "shapes_at",
    "values_at",
]
