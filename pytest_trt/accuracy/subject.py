"""What was compared: the model and the engine under test, and the model that gave the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt.engine.known_faults import KnownFault
from pytest_trt.tensors.calibration import OutsideRange

#: What sets the ranges of an int8 engine: seeded inputs, those of the project's own trt_calibration
#: fixture, or the model, which is quantised already. Empty if unknown.
CalibratedBy: TypeAlias = Literal["", "seeded", "project", "model"]


@dataclass(frozen=True, slots=True)
class OtherModel:
    """The model that gave the reference, where it is not the model under test.

    Attributes:
        path: Its file, as it is typed.
        model: The file of the model under test, as it is typed.
        agrees: Whether the engine agrees with its own model in FP32, or differs from it at most
            half as much as from the reference; None where that could not be computed.
        engine_differs: By what it differs from its own model in the latter case.
        differs: What differs between the two models; empty where that is not known.
        converted: Whether the model under test was quantised or cast from the reference model.
        names_differ: Whether it has other inputs or outputs than the model under test, so that
            neither can take the other's place.
        is_fixture: Whether it is an object of the project, returned by the trt_reference fixture.
        changed: Since which stored answers, that it still agrees with, the file of the model under
            test has changed; empty where it has not, or none are stored.
    """

    path: str
    model: str
    agrees: bool | None = None
    engine_differs: str = ""
    differs: str = ""
    converted: bool = False
    is_fixture: bool = False
    names_differ: bool = False
    changed: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """Arguments of trt_model that a remedy may name, tried on the inputs of the first failed run.

    Attributes:
        options: The arguments as they are typed, in the order in which they were tried.
        passing: The one with which the comparison passes; empty if none does.
    """

    options: tuple[str, ...]
    passing: str = ""


@dataclass(frozen=True, slots=True)
class MovedRows:
    """Rows of the output that a failure is about, which only changed places.

    Attributes:
        axis: The axis of rows.
        moved: How many that differ are those of the reference at another place.
        differing: How many differ.
    """

    axis: int
    moved: int
    differing: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What was compared, as far as it is known. Empty in a script that compares arrays.

    Attributes:
        model: File name of the model.
        path: The model's file, as it is typed.
        precision: The engine's precision.
        arch: What the engine was built for.
        random: Operators of the model that draw random numbers.
        choosing: Operators of the model that choose by numbers that may nearly tie, and of whose
            choice others are computed.
        several: Whether the test runs in other precisions too.
        other: The model that gave the reference, where it is not the model under test.
        tried: What was tried before it is advised; None where nothing was.
        calibrated_by: What set the ranges of an int8 engine.
        plan: A finished plan, as it is typed; empty for an engine that was built here.
        outside: Inputs that runs feed beyond the ranges that the engine was calibrated on.
        fault: A known fault of what ran the engine.
        test: The test as pytest takes it; empty where there is none.
        moved: Rows that only changed places; None where they did not.
    """

    model: str = ""
    path: str = ""
    precision: str = ""
    arch: str = ""
    random: tuple[str, ...] = ()
    choosing: tuple[str, ...] = ()
    several: bool = False
    other: OtherModel | None = None
    tried: Tried | None = None
    calibrated_by: CalibratedBy = ""
    plan: str = ""
    outside: tuple[OutsideRange, ...] = ()
    fault: KnownFault | None = None
    test: str = ""
    moved: MovedRows | None = None

    def __str__(self) -> str:
        return ", ".join(part for part in (self.model, self.precision, self.arch) if part)
