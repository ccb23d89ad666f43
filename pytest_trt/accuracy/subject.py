"""What was compared: the model and the engine under test, and the model that gave the reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OtherModel:
    """The model that gave the reference, where it is not the model under test.

    Attributes:
        path: Its file, as it is typed.
        model: The file of the model under test, as it is typed.
        agrees: Whether the engine agrees with its own model in FP32; None where that could not be
            computed.
        differs: What differs between the two models; empty where that is not known.
        converted: Whether the model under test was quantised or cast from the reference model.
    """

    path: str
    model: str
    agrees: bool | None = None
    differs: str = ""
    converted: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What was compared, as far as it is known. Empty in a script that compares arrays.

    Attributes:
        model: File name of the model.
        path: The model's file, as it is typed.
        precision: The engine's precision.
        arch: What the engine was built for.
        random: Operators of the model that draw random numbers.
        several: Whether the test runs in other precisions too.
        other: The model that gave the reference, where it is not the model under test.
    """

    model: str = ""
    path: str = ""
    precision: str = ""
    arch: str = ""
    random: tuple[str, ...] = ()
    several: bool = False
    other: OtherModel | None = None

    def __str__(self) -> str:
        return ", ".join(part for part in (self.model, self.precision, self.arch) if part)
