"""Golden outputs: recorded once, each for one set of inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy, as_typed
from pytest_trt.files import LFS_PULL, is_lfs_pointer
from pytest_trt.onnx.file import HEAD_BYTES, OnnxModel, file_kind
from pytest_trt.tensors.array_files import read_arrays
from pytest_trt.tensors.containers import typed_description
from pytest_trt.tensors.foreign import named_arrays
from pytest_trt.tensors.polygraphy import SUFFIX
from pytest_trt.tensors.seeded import inputs_digest
from pytest_trt.tensors.spec import Tensors
from pytest_trt.wording import count

#: Prefixes of array names in a file that holds inputs and outputs.
_INPUTS, _OUTPUTS = "inputs/", "outputs/"

#: The accepted forms of a case, for messages.
_FORM = 'a mapping such as {"inputs": {name: array}, "outputs": {name: array}}, or a file of them'


@dataclass(frozen=True, slots=True)
class _Case:
    """Golden outputs with their inputs; None if these are not recorded."""

    name: str
    inputs: Tensors | None
    outputs: Mapping[str, object]
    digests: Mapping[str, str] | None = None


@dataclass(slots=True)
class GoldenOutputs:
    """The golden outputs of one test.

    Attributes:
        cases: Outputs with their inputs; or a single case without inputs.
        seen: Digests of the inputs of the first run by name, if no inputs are recorded.
    """

    cases: tuple[_Case, ...]
    seen: dict[str, str] = field(default_factory=dict)

    def of(self, inputs: Tensors) -> Mapping[str, object]:
        """Return the outputs for inputs.

        Raises:
            ConfigurationError: No case, or more than one, has these inputs.
        """
        digests = _digests(inputs)
        if self.cases[0].inputs is None:
            self.seen = self.seen or digests
            if self.seen != digests:
                raise self._two_sets(digests)
            return self.cases[0].outputs
        found = [case for case in self.cases if case.digests == digests]
        if len(found) == 1:
            return found[0].outputs
        if found:
            raise _unfit(
                f"{found[0].name} and {found[1].name} of trt_reference have the same inputs",
                "remove one of them.",
                cases=[case.name for case in found],
            )
        raise self._none_of(inputs, digests)

    def _two_sets(self, digests: Mapping[str, str]) -> ConfigurationError:
        names = [name for name in digests if self.seen.get(name) != digests[name]]
        return _unfit(
            f"{self.cases[0].name} of trt_reference belongs to one set of inputs, but the test ran "
            f"two ({', '.join(map(repr, names))} differs)",
            "record the inputs next to the outputs, one case for each run, and return them all:",
            '[{"inputs": {name: array}, "outputs": {name: array}}, ...]',
            inputs=names,
        )

    def _none_of(self, inputs: Tensors, digests: Mapping[str, str]) -> ConfigurationError:
        differing = [list(_differing(case, inputs, digests)) for case in self.cases]
        nearest = min(range(len(differing)), key=lambda place: len(differing[place]))
        closest = "" if len(self.cases) == 1 else f" ({self.cases[nearest].name}, the closest)"
        return _unfit(
            "trt_reference has no golden outputs for the inputs of this run: "
            f"{'; '.join(differing[nearest])}{closest}",
            "run the test on the recorded inputs, bit for bit, or record these.",
            cases=[case.name for case in self.cases],
        )


def golden_outputs(given: object, folder: Path, model: OnnxModel) -> GoldenOutputs:
    """Return golden outputs as a project's fixture gives them.

    Args:
        given: One case or a list of them: a mapping, the path of an .npz file or of outputs that
            Polygraphy saved, or a mapping of both of Polygraphy's paths, "inputs" and "outputs".
        folder: Where relative paths begin.
        model: The model under test; its names distinguish the forms.

    Raises:
        ConfigurationError: It is none of these, a file cannot be read, or one of several cases
            has no inputs.
    """
    several = isinstance(given, list | tuple)
    parts = list(given) if isinstance(given, list | tuple) else [given]
    if not parts:
        raise _unusable("the trt_reference fixture returned no cases", f"return {_FORM}.")
    cases = []
    for number, part in enumerate(parts):
        place = f"case {number}" if several else "the mapping"
        for name, one in _expanded(place, part, folder):
            if not isinstance(one, Mapping):
                raise _unusable(
                    f"{name} of trt_reference is {type(one).__name__}, not golden outputs",
                    f"return {_FORM}.",
                    type=type(one).__name__,
                )
            cases.append(_case(name, one, model))
    unknown = [case.name for case in cases if case.inputs is None]
    if unknown and len(cases) > 1:
        raise _unusable(
            f"{unknown[0]} of trt_reference has no inputs, so a run cannot be matched with one of "
            f"{count(len(cases), 'case')}",
            f"make each {_FORM} with arrays inputs/NAME and outputs/NAME; of Polygraphy name both "
            'files: {"inputs": path, "outputs": path}.',
        )
    return GoldenOutputs(tuple(cases))


def _expanded(name: str, given: object, folder: Path) -> Iterator[tuple[str, object]]:
    """Yield the cases of a part by name: those in a file, or in a file each of both sides."""
    if isinstance(given, str | Path):
        yield from _in_file(folder / given)
        return
    paths: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
    both = paths.keys() == {"inputs", "outputs"}
    if not both or not all(isinstance(path, str | Path) for path in paths.values()):
        yield name, given
        return
    sides = {side: _in_file(folder / path) for side, path in paths.items()}
    if len(sides["inputs"]) != len(sides["outputs"]):
        raise _unusable(
            f"{name} of trt_reference has {count(len(sides['inputs']), 'set')} of inputs and "
            f"{len(sides['outputs'])} of outputs",
            "save both in one run: polygraphy run --save-inputs and --save-outputs.",
        )
    for (_, inputs), (where, outputs) in zip(sides["inputs"], sides["outputs"], strict=True):
        yield where, {"inputs": inputs, "outputs": outputs}


def _case(name: str, given: Mapping[Any, Any], model: OnnxModel) -> _Case:
    known = {spec.name for spec in model.outputs}
    if not all(isinstance(key, str) for key in given) or not given:
        what = "is empty" if not given else "has keys that are not names"
        raise _unusable(f"{name} of trt_reference {what}", f"return {_FORM}.")
    parts = {"inputs", "outputs"}
    if given.keys() <= parts and not known & parts:
        inputs, outputs = given.get("inputs"), given.get("outputs")
    else:
        starts = (_INPUTS, _OUTPUTS)
        prefixed = [key for key in given if key.startswith(starts) and key not in known]
        if not prefixed:
            return _Case(name, None, given)
        if len(prefixed) < len(given):
            other = next(key for key in given if key not in prefixed)
            raise _unusable(
                f"{name} of trt_reference has {prefixed[0]!r} next to {other!r}",
                f"name all of its arrays {_INPUTS}NAME and {_OUTPUTS}NAME, or only by output.",
            )
        inputs, outputs = _below(_INPUTS, given) or None, _below(_OUTPUTS, given)
    if not outputs or not all(isinstance(one, Mapping) for one in (inputs or {}, outputs)):
        raise _unusable(f"{name} of trt_reference has no outputs by name", f"return {_FORM}.")
    if inputs is None:
        return _Case(name, None, outputs)
    try:
        recorded = named_arrays(inputs, model.inputs)
    except ValueError as error:
        raise _unusable(
            f"{name} of trt_reference: input {error}", "make it an array of the model's type."
        ) from error
    return _Case(name, recorded, outputs, _digests(recorded))


def _below(prefix: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {key[len(prefix) :]: one for key, one in given.items() if key.startswith(prefix)}


def _in_file(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the sets of arrays in a file, with their names in messages."""
    found, shown = _read(path), as_typed(path)
    if len(found) == 1:
        return [(shown, found[0])]
    return [(f"iteration {number} of {shown}", one) for number, one in enumerate(found)]


def _read(path: Path) -> Sequence[Mapping[str, Any]]:
    shown = as_typed(path)
    facts: dict[str, Fact] = {"path": str(path)}
    if not path.exists():
        raise ConfigurationError(
            f"{shown}, which the trt_reference fixture returned, is not a file",
            fix="correct the path; it is relative to the test file.",
            code="TRT174",
            facts=facts,
        )
    try:
        return read_arrays(path)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        form = "Polygraphy's JSON" if path.suffix == SUFFIX or path.is_dir() else ".npz"
        fix = Remedy(
            "write it with numpy.savez(path, **outputs), or with polygraphy run --save-outputs."
        )
        kind = None if isinstance(error, OSError) or form != ".npz" else _other_kind(path)
        if kind is not None:
            reason = f"it is {kind[0]}"
        if is_lfs_pointer(path):
            reason, fix = "it is a Git LFS pointer", LFS_PULL
        elif path.suffix == ".onnx":
            fix = Remedy(f'name an ONNX model on the marker: trt_model(reference="{path.name}").')
        raise ConfigurationError(
            f"{shown}, which the trt_reference fixture returned, cannot be read as {form}: "
            f"{reason}",
            fix=fix,
            code="TRT174",
            facts=facts,
        ) from error


def _other_kind(path: Path) -> tuple[str, Remedy] | None:
    """Return the kind of a file that is not a zip archive, if it is recognised."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return None if head.startswith(b"PK") else file_kind(head)


def _digests(inputs: Tensors) -> dict[str, str]:
    return {name: inputs_digest({name: value}) for name, value in inputs.items()}


def _differing(case: _Case, inputs: Tensors, digests: Mapping[str, str]) -> Iterator[str]:
    """Yield what differs between recorded inputs and those of a run."""
    golden, recorded = case.inputs or {}, case.digests or {}
    for name in dict.fromkeys((*golden, *inputs)):
        if name not in golden:
            yield f"{name!r} is missing"
        elif name not in inputs:
            yield f"{name!r} is not an input of the run"
        elif digests[name] != recorded[name]:
            mine, theirs = typed_description(golden[name]), typed_description(inputs[name])
            values = mine == theirs
            yield (
                f"{name!r} has different values" if values else f"{name!r} is {mine}, not {theirs}"
            )


def _unfit(message: str, fix: str, *commands: str, **facts: Fact) -> ConfigurationError:
    return ConfigurationError(message, fix=Remedy(fix, commands), code="TRT173", facts=facts)


def _unusable(message: str, fix: str, **facts: Fact) -> ConfigurationError:
    return ConfigurationError(message, fix=fix, code="TRT157", facts=facts)
