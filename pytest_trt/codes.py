"""The registry of diagnostic codes: what each means and what to do about it.

`pytest-trt explain CODE` prints an entry, and the documentation lists them all. A code never
changes its meaning and is never reused.

1xx configuration, 2xx model and inputs, 3xx build and run, 4xx accuracy, 5xx speed, 6xx baseline,
7xx device and host, 8xx cache, 9xx reports.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """One kind of diagnostic.

    Attributes:
        title: What it is, in a few words.
        meaning: When it occurs, and what it does and does not say; one or two sentences.
        action: What to do about it; one or two sentences.
        group_by: Facts by which diagnostics of this code are grouped in a summary: those that
            agree in all of them have one reason and one remedy. Without any, those with the same
            message are grouped.
        rank_by: The fact, a number, that decides which diagnostic of a group is the worst: the one
            with the largest magnitude. Empty where they do not differ in degree.
    """

    title: str
    meaning: str
    action: str
    group_by: tuple[str, ...] = ()
    rank_by: str = ""


CODES: dict[str, Code] = {
    # 1xx configuration
    "TRT100": Code(
        "invalid configuration",
        "An option, ini value, marker or profile asks for something that cannot be done.",
        "Change the value that the message names.",
    ),
    "TRT101": Code(
        "unknown diagnostic code",
        "This code does not exist.",
        "Run `pytest-trt explain` without a code to list them all.",
    ),
    "TRT110": Code(
        "invalid architecture",
        "A value such as that of --trt-arch is not the name of a GPU architecture.",
        "Write sm86, 8.6 or 86, or several as sm86,sm89; cpu means ONNX Runtime on the CPU.",
        ("arch",),
    ),
    "TRT111": Code(
        "unknown precision",
        "An engine was requested in a precision that does not exist.",
        "Use one of the precisions that the message lists.",
        ("precision",),
    ),
    "TRT112": Code(
        "invalid value of a builder option",
        "A builder option is neither text, a number nor a boolean, so the engine's key cannot hold "
        "it.",
        "Write several names as one comma-separated text.",
        ("option",),
    ),
    "TRT140": Code(
        "invalid tolerance",
        "A field of a tolerance is unknown, out of range, or given without its counterpart, or an "
        "output or precision is unknown.",
        "Correct the value that the message names.",
        ("field",),
    ),
    "TRT141": Code(
        "invalid metric",
        "A metric of trt_consistency(metrics=...) is unknown, has a function that cannot be called "
        "with outputs and reference, or a limit that is none, that every value passes or that no "
        "value can pass; or an output with elementwise=False has no metric.",
        "Write metrics={name: limit} or metrics={name: (function, limit)} as the message shows.",
        ("metric",),
    ),
    "TRT142": Code(
        "invalid task metric",
        "trt_metrics.record got a value, a number of trials, samples or a limit that it cannot "
        "use.",
        "Correct the argument that the message names.",
    ),
    # 15x: markers
    "TRT149": Code(
        "settings for a model that was removed or left out",
        "per_model of a marker has an entry for a model that no longer exists, or that the list or "
        "pattern of the marker leaves out. All other models are tested; the entry fails as an item "
        "of its own, so that it is not forgotten.",
        "Remove the entry, or write the model's new name; the message has it where a model with "
        "the same bytes is tested.",
        ("model", "renamed_to"),
    ),
    "TRT150": Code(
        "invalid marker",
        "A trt_ marker is unknown, has an unknown keyword, or a value that it cannot have.",
        "Write the marker as the message shows; `pytest --markers` lists the keywords of each.",
    ),
    "TRT151": Code(
        "no model",
        "A test checks or uses an engine, and no trt_model marker names its model.",
        'Mark the test, its class or its module: @pytest.mark.trt_model("models/model.onnx").',
    ),
    "TRT152": Code(
        "reference has other inputs",
        "The model that trt_model(reference=...) names takes other inputs than the model under "
        "test, so the two cannot be compared.",
        "Name a reference that has the model's inputs; or give reference_names= where only names "
        "differ, and reference_only= for what only the reference has.",
        ("model", "reference"),
    ),
    "TRT153": Code(
        "benchmark fixture and marker do not match",
        "The trt_benchmark marker and the fixtures of the test do not fit together.",
        "Use one benchmark fixture with one trt_benchmark marker, in a mode that it can time.",
    ),
    "TRT154": Code(
        "test cannot be parametrised",
        "The markers ask for several architectures, models, precisions or shapes, but the test "
        "runs for one of them only. Where pytest cannot parametrise a test, the plugin refuses it.",
        "Name one value, or put the marker on the function, its class, its module or a "
        "pytest.param.",
    ),
    "TRT155": Code(
        "marker added too late",
        "A trt_ marker was added while the test ran, too late to take effect.",
        "Add the marker in the file, or in pytest_collection_modifyitems.",
    ),
    "TRT156": Code(
        "model file not found",
        "The path on the trt_model marker is not a file, or its pattern matches none. Paths are "
        "relative to the test file.",
        "Correct the path.",
        ("model",),
    ),
    "TRT157": Code(
        "unusable reference",
        "The project overrides the trt_reference fixture. The fixture returns an unsupported "
        "object, its outputs cannot be compared, or it runs the engine that is compared with it.",
        "Return a function of the inputs by name, an object with run(inputs), golden outputs by "
        "name, a list of cases, or the path of a file; see docs/how-to/references.md.",
    ),
    "TRT158": Code(
        "not a test function",
        "A check or a fixture of the plugin is used by something that is not a Python test "
        "function, such as a doctest or an item of another plugin: no engine would be checked.",
        "Write a test function or method.",
    ),
    "TRT159": Code(
        "fixture of a wider scope",
        "A fixture of class, module or session scope requests a fixture of the plugin that has "
        "function scope.",
        "Request trt_engines, which has session scope, or give the fixture function scope.",
    ),
    # 16x and 17x: what the plugin finds out about a test
    "TRT160": Code(
        "check compared or measured nothing",
        "The test has a trt_consistency or trt_benchmark marker, or records trt_metrics, but ran "
        "no engine through the fixture, or no engine of a precision that its markers name, or none "
        "before it recorded a metric. Such a check could never fail, so the test fails instead.",
        "Call trt_session.run(inputs) or trt_benchmark(inputs) in the test, or remove the marker.",
        ("check", "precisions"),
    ),
    "TRT161": Code(
        "run after the test",
        "The engine ran where no check could judge it: in a fixture's teardown, in a thread that "
        "outlived the test, or in a process that the test started.",
        "Run it in the test or in a fixture's setup, and join threads before the test ends.",
        ("call",),
    ),
    "TRT162": Code(
        "self-test failed",
        "With --trt-selftest, a check passed on an error that it should detect, or failed on one "
        "that it allows.",
        "Tighten the tolerance or limit, or remove the check.",
    ),
    "TRT170": Code(
        "calibrated on random inputs",
        "An engine was calibrated on generated random inputs, which are not representative: "
        "its accuracy on real data is unknown.",
        "Override the trt_calibration fixture with real inputs.",
        ("model",),
    ),
    "TRT171": Code(
        "dynamic inputs without profiles",
        "The model has dynamic inputs and the test gives no profiles. ONNX Runtime needs none, "
        "TensorRT refuses to build such a model.",
        "Give trt_model profiles= for the dynamic inputs.",
        ("model",),
    ),
    "TRT172": Code(
        "earlier attempts failed",
        "A plugin ran the test several times, and an earlier attempt failed.",
        "Look at the earlier attempts: a test that passes only when it is repeated may hide a "
        "regression.",
    ),
    "TRT173": Code(
        "golden outputs for different inputs",
        "The golden outputs that trt_reference returned were recorded for inputs other than those "
        "of the run: the recorded inputs differ, or the test ran several sets of inputs and none "
        "is recorded. Inputs are compared bit for bit.",
        "Run the test on the recorded inputs, or record inputs and outputs of each run.",
    ),
    "TRT174": Code(
        "unreadable golden outputs",
        "The file that trt_reference returned is missing, damaged, neither .npz nor JSON of "
        "Polygraphy, too large for this machine's memory, or holds Python objects, which are "
        "never unpickled.",
        "Correct the path, or write the file again with `numpy.savez`.",
        ("path",),
    ),
    "TRT175": Code(
        "reference not repeatable",
        "A run failed, and trt_reference was called again on the same inputs. Its outputs differ "
        "by more than the test allows from its first ones, or from those stored under its "
        "version. Or its PyTorch network is in training mode: batch normalisation then repeats its "
        "outputs, and they are not those of the exported model.",
        "Run the reference in inference mode with fixed seeds, and change its version whenever "
        "its weights or code change.",
        ("model",),
    ),
    "TRT176": Code(
        "model fixture cannot be used",
        "The fixture that trt_model(fixture=...) names does not exist, does not return a path, or "
        "requests the model itself.",
        "Name a fixture of any scope that returns the path of an ONNX file.",
        ("fixture",),
    ),
    "TRT178": Code(
        "invariant cannot be checked",
        "batch_invariant=True needs a model whose inputs and outputs share a dynamic axis 0 and "
        "profiles that allow several batches; rebuilds= needs an engine that is built here; "
        'sweep="profile" needs profiles with several shapes and a test that runs at each of them.',
        "Change the model, its profiles or the test as the message shows, or remove the keyword.",
        ("invariant",),
    ),
    "TRT179": Code(
        "invariant only partly checked",
        "The profiles, the model or the inputs do not allow every run that an invariant of "
        "trt_consistency(...) needs.",
        "Widen profiles= to include batches of one sample, if the engine has to serve them. Run "
        "several samples that differ.",
        ("invariant", "model"),
    ),
    "TRT177": Code(
        "operator library not found",
        "A path that custom_ops= or plugin_libraries= of trt_model names is not a file, or a "
        "package that custom_ops= names is missing or has no library. Paths are relative to the "
        "test file.",
        "Correct the path, or install the package.",
        ("library",),
    ),
    "TRT163": Code(
        "benchmark called twice",
        "trt_benchmark was called twice in one test, and a test has one baseline.",
        "Split the test into one test per call, or parametrise it.",
    ),
    "TRT164": Code(
        "checks never evaluated",
        "Another plugin ran the test without the hook pytest_runtest_call, which evaluates the "
        "checks, so the test fails.",
        "Disable that plugin: `pytest -p no:NAME`.",
    ),
    "TRT165": Code(
        "invalid limit",
        "A limit on speed or on the engine has an unknown name or an invalid value.",
        "Write it like the example in the message.",
        ("limit",),
    ),
    "TRT166": Code(
        "limit too tight or too loose",
        "A limit is below what can be measured, so its test would always be inconclusive, or so "
        "wide that its test could never fail.",
        "Choose a limit in the range that the message names.",
        ("limit",),
    ),
    "TRT167": Code(
        "no limit left",
        "All limits of a trt_benchmark marker are switched off, or faster_than compares the engine "
        "with itself alone, so the test could not fail.",
        "Leave one on, name another opponent, or remove the marker.",
    ),
    "TRT168": Code(
        "run not compared",
        "The test caught an error that the engine or the reference raised during a run, so that "
        "run was never compared. Refused inputs (InputError) do not count as a run: they "
        "leave a note.",
        "Do not catch the error, or remove trt_consistency from a test that expects one.",
        ("check",),
    ),
    "TRT169": Code(
        "marker that pytest ignores",
        "A conftest.py or the __init__.py of a package sets a trt_ marker in pytestmark, a "
        "decorator returns a function without the markers of the one that it wraps, or pytest does "
        "not collect the marked function or class, maybe as a later one of its name replaces it. "
        "pytest ignores a marker there.",
        "Set pytestmark in each test file, or call item.add_marker in pytest_itemcollected of "
        "conftest.py. Use functools.wraps in decorators, and names that pytest collects.",
        ("marker", "file"),
    ),
    "TRT181": Code(
        "shape of a profile not run",
        "The test ran once for each of the profile's points, such as max, but no run under "
        "trt_consistency had the shapes of this one.",
        "Run the inputs of trt_inputs, or let its override return inputs of the shapes that the "
        "profile has at trt_shape.",
        ("model", "shape"),
    ),
    "TRT182": Code(
        "one branch of the model run",
        "An input of one integer or boolean decides which branch of an If, or how often a Loop of "
        "the model runs. trt_inputs generated it, 0 or 1, and each run of the test had that value, "
        "such as a sampling rate of 0. What runs at other values was not compared.",
        "Give the values that the model is used with: input_ranges= of trt_model, such as "
        'input_ranges={"sr": (16000, 16000)}, one marker for each value; or an override of '
        "trt_inputs.",
        ("model", "tensor", "value"),
    ),
    "TRT183": Code(
        "few rows of a table looked up",
        "The model looks up rows of a table by indices that it computes from an input, such as by "
        "an offset or a remainder, so their range is unknown, and trt_inputs generated 0 to 1 for "
        "it. Or columns of the input select rows of tables of different sizes, and trt_inputs "
        "generated what the smallest has. No run had larger values. An engine that is wrong for "
        "other rows passes.",
        "Give values that select all rows: an override of trt_inputs; or, if all columns have the "
        'same range, input_ranges= of trt_model, such as input_ranges={"ids": (0, 99)}.',
        ("model", "tensor"),
    ),
    "TRT184": Code(
        "engine never run",
        "A test requested trt_session by name, or a session of trt_build or trt_engines that a "
        "check would use, and did not use it. A generator, map() or zip() that would run it may "
        "not have been consumed, or the outputs that the test looked at were cached from another "
        "test or precision.",
        "Run the engine in the test, consume what runs it, such as by list(...), or do not request "
        "the session. A test that only builds needs trt_engine alone.",
        ("model", "precision"),
    ),
    "TRT186": Code(
        "errors add up over runs",
        "Runs of a test continue from outputs of the run before, such as the states of a recurrent "
        "network. Each agrees with a reference that begins at the state that the engine left. A "
        "reference that continues from its own states differs by more than the tolerance. Up to "
        "10 seconds of further runs of the reference are made.",
        "Give the states a smaller tolerance, or compare the results of the whole sequence.",
        ("model", "precision", "output", "runs", "used"),
    ),
    "TRT187": Code(
        "parameter names an engine that was not tested",
        "A parameter of a test, which is part of its name, is a precision or the file of a model, "
        "and none of its engines is of that precision or model: the test does not use it.",
        "Name precisions and models in the trt_model marker, or pass the parameter to trt_build or "
        "trt_engines.",
        ("argument", "value", "tested"),
    ),
    "TRT188": Code(
        "reference equals the engine",
        "The outputs of trt_reference are bit for bit those of an engine of reduced precision, in "
        "every run. The reference may run that engine or its plan, or its outputs were recorded "
        "from it: then a wrong engine passes.",
        "Compute or record the reference in FP32, by something else than the engine under test.",
        ("model", "precision"),
    ),
    "TRT189": Code(
        "only small lengths or positions run",
        "The model uses an input as a length, a position, a time step or an index: it compares "
        "integers with many numbers, or computes a sine of them, or of one float for each sample. "
        "trt_inputs generated 0 to 1 for it, and no run had larger values. Lengths of 0 and 1 mask "
        "nearly all of a sequence, and an engine that is wrong for larger numbers passes.",
        "Give the numbers that the model is used with: input_ranges= of trt_model, such as "
        'input_ranges={"lengths": (20, 50)}, or an override of trt_inputs.',
        ("model", "tensor"),
    ),
    "TRT180": Code(
        "override without effect",
        "A function that lacks @pytest.fixture, or a fixture with a misspelt name, does not "
        "override trt_reference or trt_inputs. Or the markers name reference=, and an override of "
        "trt_reference does not use it. Or parametrize(..., indirect=True) gives a fixture of the "
        "plugin a parameter, which only an override could use.",
        "Decorate or rename the function or fixture; remove either reference= or the override; or "
        "remove indirect=True, so that the value replaces the fixture.",
        ("fixture",),
    ),
    "TRT190": Code(
        "tests with the same node id",
        "Tests of two files have the same node ids, as where two folders outside of the root "
        "folder have files of one name, or pytest collected a file twice. Baselines and reports "
        "would have one of them alone.",
        "Name a root folder that holds the files with --rootdir, or rename one of the files. Do "
        "not give --keep-duplicates.",
        ("files",),
    ),
    "TRT191": Code(
        "failure of the checks was caught",
        "The checks of a test failed it, and a hook of a conftest.py or of another plugin caught "
        "that failure, or changed the report of the test, so pytest took the test for passed. The "
        "test or the run fails all the same.",
        "Let the hook raise the failure again. Mark a test that is expected to fail as xfail.",
    ),
    # 2xx model and inputs
    "TRT200": Code(
        "unreadable model",
        "The model file is missing, damaged, or not an ONNX model.",
        "Restore the file, or name another one on the trt_model marker.",
        ("model",),
    ),
    "TRT201": Code(
        "not an ONNX model",
        "The file is of another kind, such as a Git LFS pointer or an engine plan, or its "
        "bytes are truncated or damaged.",
        "Name an ONNX model, or download, copy or export it again.",
        ("model",),
    ),
    "TRT202": Code(
        "unusable external data",
        "A tensor of the model refers to a data file that is missing, too short, unreadable "
        "or badly described.",
        "Put the data files next to the model, or copy or export the model again.",
        ("model",),
    ),
    "TRT203": Code(
        "external data outside the model's folder",
        "A tensor refers to a file outside the folder of the model, which pytest-trt never reads.",
        "Move the data file next to the model and save the model with that name.",
        ("model",),
    ),
    "TRT204": Code(
        "model too large for protobuf",
        "The file is larger than 2 GiB, the limit of protobuf and of every ONNX reader.",
        "Store the weights as external data.",
        ("model",),
    ),
    "TRT205": Code(
        "model without outputs",
        "The graph declares no outputs, so there is nothing to compare.",
        "Export the model with its outputs.",
        ("model",),
    ),
    "TRT206": Code(
        "no FP32 reference",
        "ONNX Runtime, which computes the FP32 reference, cannot load the model.",
        "Follow the message, or override the trt_reference fixture with another source of "
        "FP32 outputs.",
        ("model",),
    ),
    "TRT207": Code(
        "model changed while it was read",
        "The model, its external data or the calibration inputs changed while they were hashed, "
        "built from, or used for the FP32 reference. Nothing of it is stored.",
        "Run again once the process that writes the file has finished.",
        ("model",),
    ),
    "TRT208": Code(
        "invalid graph",
        "The graph contains a cycle or two values of one name, or the `onnx` package cannot load "
        "it for a conversion.",
        "Export the model again, with its external data next to it. If its exporter has a value of "
        "its own by the name of an output, such as embedding, choose another one in output_names=.",
        ("model",),
    ),
    "TRT209": Code(
        "type that cannot be compared",
        "An input or output has a type that cannot be used from Python, or cannot be compared.",
        "Cast it in the model, or remove it from the model's inputs and outputs.",
        ("tensor", "dtype"),
    ),
    "TRT210": Code(
        "invalid profile",
        "An entry of profiles= names an unknown input, or its rank, sizes, values or order do "
        "not fit the model.",
        "Correct profiles= on the trt_model marker.",
    ),
    "TRT211": Code(
        "dynamic input without a range of shapes",
        "An input has a dynamic shape, and no profile gives its range.",
        "Add (min, opt, max) for the input to profiles= on the trt_model marker.",
    ),
    "TRT212": Code(
        "shape input without a range of values",
        "The model uses the values of an input as a shape, and no profile gives their range.",
        'Add {"values": (min, opt, max)} for the input to profiles= on the trt_model marker.',
        ("model",),
    ),
    "TRT213": Code(
        "profile refused by the builder",
        "The profile is valid for the model, but the builder refused or changed it.",
        "Read the message; it shows what was requested and what the builder stored.",
        ("model",),
    ),
    "TRT214": Code(
        "model larger than the memory",
        "The model's functions call each other: with every call replaced by its body, as runtimes "
        "do, the model does not fit into this machine's memory.",
        "Export the model again; do not use it unless you trust its origin.",
        ("model", "nodes"),
    ),
    "TRT220": Code(
        "inputs do not fit the model",
        "An input is missing or unknown, or has a dtype, shape or value that the model or all of "
        "its profiles exclude.",
        "Correct the input, or widen profiles= on the trt_model marker.",
    ),
    "TRT221": Code(
        "wrong set of inputs",
        "An input is missing or unknown, or is not a NumPy array.",
        "Pass a dict with one array for every input of the model.",
        ("problem", "tensor", "missing"),
    ),
    "TRT222": Code(
        "wrong dtype of an input",
        "An input has another element type than the model, or holds values without one.",
        "Convert the array with astype, if the values allow it.",
        ("tensor",),
    ),
    "TRT223": Code(
        "wrong shape of an input",
        "An input has another rank, or another size where the model fixes it.",
        "Reshape the input, or export the model with that dimension dynamic.",
        ("tensor",),
    ),
    "TRT224": Code(
        "inputs outside every profile",
        "No profile of the engine covers the shapes or values of the inputs.",
        "Feed inputs inside one profile, or widen profiles= on the trt_model marker.",
    ),
    "TRT225": Code(
        "unusable calibration data",
        "The trt_calibration fixture returned no samples, or samples that are not finite tensors; "
        "its files cannot be read or are Git LFS pointers, or its generator raised an error.",
        "Return finite, representative inputs from the trt_calibration fixture: a list of dicts, "
        "a folder of .npz files, or a generator. docs/how-to/calibration.md has each form.",
    ),
    "TRT226": Code(
        "inputs cannot be generated",
        "Random data makes no sense for an element type of the model, or a shape is unknown.",
        "Override the trt_inputs fixture to return real data.",
    ),
    "TRT227": Code(
        "invalid input range",
        "input_ranges= names an unknown input, or its bounds do not fit the type of the input.",
        "Correct input_ranges= on the trt_model marker.",
    ),
    "TRT228": Code(
        "value outside the engine's integer type",
        "TensorRT 8.6 computes INT64 in INT32, and an input has a value beyond that.",
        "Feed smaller values, or use TensorRT 10 or newer.",
    ),
    "TRT229": Code(
        "value that the model cannot use",
        "An operator rejected the values or shapes of the inputs while the model was running, "
        "such as an index outside a table.",
        "Feed real data, or give valid ranges with input_ranges= or profiles=.",
        ("model",),
    ),
    "TRT230": Code(
        "model draws random numbers",
        "The FP32 outputs of the model differ from run to run on the same inputs, so a comparison "
        "with them would pass or fail by chance.",
        "Export the model in inference mode, or with the random numbers as an input.",
        ("model",),
    ),
    "TRT231": Code(
        "operator library cannot be loaded",
        "A library that custom_ops= or plugin_libraries= names is not a library, was compiled for "
        "another platform or version, depends on a missing library, or registers no operators.",
        "Read the loader's message, and name a library that was compiled for this product.",
        ("library",),
    ),
    "TRT232": Code(
        "operator library changed",
        "A library that custom_ops= or plugin_libraries= names changed after it was hashed for "
        "the engine's key, or this process has already loaded an earlier version of it, which "
        "stays loaded until the process ends.",
        "Run again once the process that writes the file has finished.",
        ("library",),
    ),
    "TRT234": Code(
        "inputs cannot be read",
        "A file that load_inputs() names is missing, damaged, neither .npz nor JSON of Polygraphy, "
        "or holds Python objects, which are never unpickled.",
        "Name an .npz file, or what `polygraphy run --save-inputs` wrote.",
    ),
    "TRT240": Code(
        "constant calibration input",
        "A floating-point input of the model has one value in all calibration data, so its INT8 "
        "range covers no other value.",
        "Calibrate on values that the input has in use, such as states of later steps of a "
        "recurrent model.",
        ("engine", "tensor"),
    ),
    "TRT241": Code(
        "too few calibration inputs",
        "Fewer than 20 different inputs set the INT8 ranges. A new input exceeds the range of n "
        "similar ones with a chance of 1 in n + 1, in every tensor.",
        "Calibrate on more different inputs: 20 are the least, and NVIDIA recommends about 500 "
        "for classifiers of images.",
        ("engine",),
    ),
    "TRT242": Code(
        "calibrated range too narrow",
        "The range of an input in the calibration data is less than half of the range that a test "
        "feeds. The calibration data is one-sided, or was preprocessed in another way.",
        "Preprocess calibration data as inputs are, and add inputs like those of the test.",
        ("engine", "tensor"),
    ),
    "TRT243": Code(
        "repeated calibration inputs",
        "More than a tenth of the calibration inputs are equal to others. They add nothing to "
        "ranges, and shift the histograms of entropy and percentile calibration.",
        "Calibrate on different inputs.",
        ("engine",),
    ),
    "TRT244": Code(
        "test inputs outside the calibrated range",
        "Runs of a test feed values that are beyond the range of the calibration data by more than "
        "an INT8 step, more than one in 10,000 in a run. What is computed from them may be "
        "clipped.",
        "Add inputs like those of the test to the calibration data; if they never occur, change "
        "the test.",
        ("engine", "tensor"),
        "outside",
    ),
    "TRT245": Code(
        "calibration shapes outside the profiles",
        "Calibration samples have shapes that no profile of the engine allows, so it is calibrated "
        "on what it never runs. Axis 0 is not compared: no range depends on the batch.",
        "Calibrate on inputs of the sizes that are served, or widen profiles=.",
        ("engine", "tensor"),
    ),
    # 3xx build and run
    "TRT300": Code(
        "engine build failed",
        "The backend could not build an engine from the model.",
        "Fix what the detail lines report: they hold the end of the builder's log.",
        ("model", "precision"),
    ),
    "TRT301": Code(
        "engine build took too long",
        "pytest-trt stopped the builder after --trt-build-timeout seconds.",
        "Raise --trt-build-timeout, lower builder_optimization_level, or use fewer profiles or an "
        "idle GPU.",
        ("model",),
    ),
    "TRT302": Code(
        "engine builder was killed",
        "The kernel or another process sent SIGKILL to the builder, most often because memory ran "
        "out.",
        "Free memory, or run fewer builds at once (a lower `pytest -n`).",
        ("product",),
    ),
    "TRT303": Code(
        "engine builder crashed",
        "The vendor's builder died from a signal, such as SIGSEGV. It ran in its own process, so "
        "pytest continued.",
        "Run again; if it repeats, try another precision, fewer builder options or another version "
        "of the product.",
        ("product", "signal"),
    ),
    "TRT304": Code(
        "engine builder ended without a plan",
        "The build process exited without reporting a plan or an error.",
        "Read the last lines of the builder's log, below the message.",
        ("product",),
    ),
    "TRT305": Code(
        "engine does not have the requested precision",
        "An engine that was requested in a reduced precision has no layer or weight of it.",
        "Use a converted model, or request fp32.",
        ("model", "precision"),
    ),
    "TRT306": Code(
        "precision of the engine is uncertain",
        "The engine reports the precision of too few of its weights, and its plan is as large as "
        "one with FP32 weights.",
        "Inspect the engine, or assert facts of it that your test needs.",
        ("model", "precision"),
    ),
    "TRT307": Code(
        "lower level of optimisation",
        "A level of ONNX Runtime's graph optimiser breaks a valid model: the optimised model does "
        "not load or run, or has other inputs or outputs. The engine uses the next lower level.",
        "No action needed. Another version of ONNX Runtime may allow the higher level; the "
        "engine's log names the cause.",
        ("model", "precision"),
    ),
    "TRT308": Code(
        "the model brings its own Q/DQ nodes",
        "The model is quantised already: its own Q/DQ nodes decide what computes in the requested "
        "precision, it was not converted, and the calibration data were not used.",
        "No action needed. To have pytest-trt quantise the model, test the float32 model.",
        ("model", "precision"),
    ),
    "TRT320": Code(
        "engine cannot be loaded",
        "A plan exists, but this machine or this version of the backend cannot load it.",
        "Rebuild the engine on this machine, or install the version that built it.",
    ),
    "TRT321": Code(
        "plan of another product or version",
        "A plan of TensorRT runs only on the product and version that built it. ONNX Runtime also "
        "runs plans of its other versions, with this warning.",
        "Rebuild the engine with the installed version, or install the version that built it.",
    ),
    "TRT322": Code(
        "damaged plan",
        "The file is not a plan, or is shorter or longer than its header states.",
        "Rebuild the engine: pytest-trt cache clear.",
    ),
    "TRT323": Code(
        "plan for another GPU",
        "No GPU of this machine runs the plan.",
        "Run it on a machine with the GPU that it was built for.",
    ),
    "TRT324": Code(
        "not enough memory for the plan",
        "Device memory ran out while the plan was loaded, or no execution context could be "
        "created, usually for the same reason.",
        "Free device memory, or lower the max of the profiles.",
    ),
    "TRT325": Code(
        "plan not found",
        "The finished plan that trt_model(plan=...) names for this combination is missing or "
        "cannot be read. Paths are relative to the test file.",
        "Build and export the plan, or correct the path.",
        ("plan",),
    ),
    "TRT326": Code(
        "plan does not fit the test",
        "The inputs or outputs of a finished plan differ from the model's or have a format that is "
        "not linear, none of its profiles covers the test's, or it has another precision.",
        "Name the plan of this model and precision, or rebuild it.",
        ("plan",),
    ),
    "TRT327": Code(
        "plan built from a different model",
        "The manifest of a finished plan names a different model or operator library: it has "
        "changed since, or the plan belongs to another one.",
        "Build and export the plan again, or restore the model or library.",
        ("plan",),
    ),
    "TRT328": Code(
        "manifest does not match the plan",
        "The manifest next to a finished plan is invalid, or the plan is not the one that passed "
        "its tests: its name, size or digest differs.",
        "Run the tests, then export the plan again: pytest-trt export.",
        ("plan",),
    ),
    "TRT329": Code(
        "plan changed during the test",
        "Another process wrote to a finished plan after it was hashed, so the test has no result.",
        "Run again once the process that writes the file has finished.",
        ("plan",),
    ),
    "TRT330": Code(
        "fact not reported by this engine",
        "A test asked for a fact that this backend does not report, such as device memory on the "
        "CPU.",
        'Check `facts.get("<name>") is not None` first.',
    ),
    "TRT340": Code(
        "engine run failed",
        "A loaded engine failed while it was running.",
        "Fix what the detail lines report; run the test alone to rule out other tests.",
        ("model", "precision"),
    ),
    "TRT341": Code(
        "CUDA call failed",
        "A function of the CUDA runtime reported an error; the process can still use the GPU.",
        "Look up the status that the message names; run the test alone, under compute-sanitizer "
        "if it repeats.",
        ("status",),
    ),
    "TRT342": Code(
        "out of device memory",
        "CUDA could not allocate device or page-locked memory, or ONNX Runtime memory of the host.",
        "Feed smaller shapes, or free memory.",
    ),
    "TRT343": Code(
        "no CUDA graph",
        "The work of the engine cannot be captured as a CUDA graph, so it cannot be timed "
        "that way.",
        'Time it with mode="enqueue".',
        ("model",),
    ),
    "TRT344": Code(
        "engine and TensorRT disagree",
        "TensorRT refused memory or a profile, or did not report an output shape, for an "
        "engine that it loaded.",
        "Rebuild the engine, or use another version of TensorRT.",
        ("model",),
    ),
    "TRT345": Code(
        "engine run took too long",
        "A run of ONNX Runtime was ended at --trt-run-timeout; the next tests go on.",
        "Raise --trt-run-timeout, or feed smaller inputs. If the model loops, check its loop's "
        "condition.",
        ("subject", "timeout_s"),
    ),
    "TRT346": Code(
        "engine run crashed ONNX Runtime",
        "ONNX Runtime crashed in the child process that makes the first run of an engine or a "
        "reference on each kind of inputs. The remaining tests continue.",
        "Check the values of the inputs. If they are valid, try another version of ONNX Runtime, "
        "and report the crash with the model and the inputs.",
        ("subject", "signal"),
    ),
    "TRT350": Code(
        "operator unknown",
        "No version of the named product has this operator, built in or as a plugin that is "
        "loaded.",
        "Export the model with operators of the ONNX standard, or load the plugin that "
        "provides it.",
        ("model", "operator"),
    ),
    "TRT351": Code(
        "no kernel for this type or opset",
        "The named product supports the operator, but not for this element type or this version "
        "of the operator.",
        "Export with another opset or element type, or use a newer version of the product.",
        ("model", "operator"),
    ),
    "TRT352": Code(
        "model refused by the parser",
        "The parser of the named product and version does not support a node or a tensor of "
        "the model.",
        "Export the model without what the message names, or use another version of the product.",
        ("model", "operator"),
    ),
    "TRT353": Code(
        "empty network",
        "The parser accepted the model, but the resulting network has no outputs.",
        "Export the model with at least one graph output.",
        ("model",),
    ),
    "TRT354": Code(
        "precision conversion failed",
        "The model could not be converted to the requested precision.",
        "Exclude the operator or node that the message names from the conversion, or use a "
        "model converted with another tool.",
        ("model", "precision"),
    ),
    "TRT355": Code(
        "precision has no effect",
        "The requested precision would change nothing in the model, or the model cannot use it.",
        'Test the model as it is with precision="fp32", or name what to convert.',
        ("model", "precision"),
    ),
    "TRT356": Code(
        "unknown builder option",
        "No backend has an option of this name, or it has no effect on this model.",
        "Use one of the options that the message lists; `pytest-trt options` prints all of them.",
        ("option",),
    ),
    "TRT357": Code(
        "builder option refused",
        "The option has a value that the builder does not accept.",
        "Correct the value, or leave the option out.",
        ("option",),
    ),
    "TRT358": Code(
        "option names nothing in the model",
        "keep_fp32 or a builder option names an operator or a node that the model does not have.",
        "Correct the name; the message lists the closest ones.",
        ("model", "option", "unknown"),
    ),
    "TRT359": Code(
        "builder out of memory",
        "The builder ran out of device or host memory.",
        "Free memory, lower the max of the profiles, or change workspace_bytes.",
        ("model", "precision"),
    ),
    "TRT360": Code(
        "not available on this backend",
        "The backend under test, or its version, lacks the precision or the builder option. If "
        "the marker names other precisions that this backend has, the test is skipped.",
        "Give options where they exist: by_backend= or by_precision= of trt_model. "
        "`pytest-trt options` shows which backend, version and precision has which option.",
        ("backend", "precision", "option"),
    ),
    "TRT361": Code(
        "keep_fp32 has no effect",
        "Something is to stay in FP32 in an engine that is FP32 anyway, of a model that is not "
        "converted, or where no layer computes with floating-point numbers.",
        "Give keep_fp32 for reduced precisions alone, `by_precision=`, or name other nodes.",
        ("precision", "model"),
    ),
    # 4xx accuracy
    "TRT400": Code(
        "nothing compared",
        "No element of the outputs could be compared: they are empty, or none is finite on both "
        "sides.",
        "Use inputs for which the model returns finite elements.",
    ),
    "TRT401": Code(
        "outputs exceed their tolerance",
        "Elements differ from the reference by more than atol + rtol * |reference|.",
        "Restore the lost precision as the message suggests, or allow the difference if the model "
        "is accurate enough on real data.",
        ("path", "precision", "reference"),
        "used",
    ),
    "TRT402": Code(
        "NaN or infinity in an output",
        "The engine returns NaN or infinity that the NaN policy (nan=) of the output forbids; in "
        "FP16 usually an overflow above 65504.",
        "If the reference is finite there, keep the layers that overflow in FP32; otherwise check "
        "inputs and model.",
        ("path", "precision", "reference"),
    ),
    "TRT403": Code(
        "NaN or infinity in the reference",
        "The FP32 reference itself is not finite, so nothing can be compared there.",
        'Check inputs and model; if it is intended, set nan="match" for the output.',
        ("path", "reference"),
    ),
    "TRT404": Code(
        "output has the wrong shape",
        "The engine's output and the reference have different shapes.",
        "Check the layout and the dynamic axes of the exported model.",
        ("path", "reference"),
    ),
    "TRT405": Code(
        "output has the wrong dtype",
        "The engine's output and the reference have different element types. Their values are "
        "compared too.",
        "Cast the output to the dtype of the reference.",
        ("path", "reference"),
    ),
    "TRT406": Code(
        "outputs missing, unexpected or renamed",
        "The engine and the reference do not have the same set of outputs.",
        "Export the model with its previous outputs, or update the reference.",
        ("path", "reference"),
    ),
    "TRT407": Code(
        "outputs swapped",
        "Two outputs hold each other's values.",
        "Return the outputs under the model's names: some step probably binds them by position.",
        ("path", "reference"),
    ),
    "TRT410": Code(
        "ranking below its limit",
        "The largest elements of the output agree with those of the reference less often than "
        "top1= or topk= requires. No rtol or atol would make this pass.",
        "Restore the lost precision; judge rankings on real inputs, as random ones give near ties.",
        ("path", "precision", "reference"),
    ),
    "TRT411": Code(
        "cosine similarity below its limit",
        "A row of the output points in another direction than the reference's, by more than "
        "cosine= allows.",
        "Restore the lost precision as the message suggests.",
        ("path", "precision", "reference"),
    ),
    "TRT412": Code(
        "measure cannot be checked",
        "top1=, topk= or cosine= does not apply to this output: it has no axis, too few classes, "
        "or elements without an order.",
        "Remove the measure from this output, or set it on one whose last axis is classes.",
        ("path", "output"),
    ),
    "TRT413": Code(
        "exact outputs differ",
        "Integers, booleans or strings differ; they are compared exactly.",
        "Compare the scores that these values are computed from: a near tie can flip them.",
        ("path", "precision", "reference"),
        "mismatched",
    ),
    "TRT414": Code(
        "metric outside its limit",
        "A metric of trt_consistency(metrics=...) has a value that its limit does not allow, at "
        "the worst run of the test. No rtol or atol would make this pass.",
        "Restore the lost precision as the message suggests.",
        ("path", "precision", "reference", "metrics"),
    ),
    "TRT415": Code(
        "model differs from its reference model",
        "The engine agrees with its own model in FP32, or differs from it at most half as much, so "
        "the model differs from the one that reference= names, or from what the trt_reference "
        "fixture returns or has stored.",
        "Check that both have the same weights, layout and preprocessing; restore or export the "
        "model again, or, if the change is intended, make it the new reference.",
        ("path", "reference"),
        "used",
    ),
    "TRT416": Code(
        "the model's own answers changed",
        "The FP32 outputs of the model, or of its reference, differ from the stored answers by "
        "more than the tolerance: it was retrained, exported again or edited, or its file is "
        "damaged.",
        "Restore the model; or, if the change is intended, accept its answers with --trt-update "
        "and a reason.",
        ("path", "output"),
        "used",
    ),
    "TRT418": Code(
        "model replaced since its answers were stored",
        "The model file differs from the one that the stored answers are of, and its answers are "
        "within their tolerances, so nothing fails. It was trained again, or it is a different "
        "model.",
        "If the change is meant, store the answers of the new file with --trt-update and a reason.",
        ("model_file",),
    ),
    "TRT417": Code(
        "the error grew",
        "An output is within its tolerance, but its largest absolute error is well above the one "
        "that was stored with the answers (2x, or drift=).",
        "Find what changed in the engine, or store the new error with --trt-update and a reason.",
        ("model_file", "output", "engine"),
        "now",
    ),
    "TRT421": Code(
        "arrays do not fit a metric",
        "A function of pytest_trt.metrics got arrays that it cannot judge: other shapes than the "
        "reference's, no elements, or values of another kind.",
        "Give it what its documentation lists.",
        ("metric",),
    ),
    "TRT419": Code(
        "metric without a value",
        "A metric of trt_consistency(metrics=...) raised an exception, or returned something "
        "other than one real number, such as NaN or None.",
        "Correct the metric, or use inputs and outputs for which it is defined.",
        ("metrics",),
    ),
    "TRT422": Code(
        "little was compared",
        "An output passed that had no elements, that had the same value in every element, or whose "
        "tolerance or metrics pass an engine that always returns one value, the first sample's "
        "values for all, or zeros where the output is small beside other parts; or nan='ignore' "
        "skipped elements that are NaN or infinite on one side alone. Or max_mismatch_pct, snr_db "
        "or psnr_db passed whole samples with wrong values, or max_mismatch_pct a class of which "
        "all elements differ. Or an input had one value in all elements of all runs.",
        "Use inputs for which the output varies, a smaller atol, or top1, cosine or a metric.",
    ),
    "TRT420": Code(
        "outputs and tolerances do not match",
        "compare_outputs got a tolerance for an unknown output, none for an output, or an array "
        "where the other side has outputs by name.",
        "Give both sides the same names, and one tolerance for each or for all.",
    ),
    "TRT430": Code(
        "task metric worse than its baseline",
        "A metric that the test recorded is worse than the stored value by more than its limit, "
        "with 99% confidence where it is a share of trials or a mean of samples.",
        "Restore what changed since the baseline. If the change is intended, accept it with "
        "--trt-update and a reason.",
        ("metric", "file"),
        "decline",
    ),
    "TRT431": Code(
        "task metric inconclusive",
        "A metric that the test recorded is worse than the stored value by more than its limit, "
        "but the difference may be due to chance.",
        "Evaluate more samples, or record the value of each; --trt-inconclusive=fail makes this "
        "an error.",
        ("metric", "file"),
    ),
    "TRT432": Code(
        "baseline of a task metric is outdated",
        "A metric that the test recorded is better than the stored value by more than its limit, "
        "so it could become worse by more than the limit and pass. Either it improved, or "
        "lower_is_better is wrong, or it changed its unit, such as from a share to per cent.",
        "Store the value that it has now with --trt-update, or correct what is recorded.",
        ("metric", "file"),
    ),
    "TRT433": Code(
        "limit of a task metric below what its samples can show",
        "The metric was recorded over so few samples that only a loss of more than five times its "
        "limit is certain enough to fail. Smaller ones are inconclusive: a warning.",
        "Evaluate more samples, or record the value of each. --trt-inconclusive=fail makes every "
        "loss beyond the limit a failure.",
        ("metric", "file"),
    ),
    "TRT435": Code(
        "outputs depend on the batch",
        "The outputs of a sample change by more than the tolerance when it runs alone, repeated "
        "to fill a batch, or at another position in the batch. The message shows whether the FP32 "
        "reference changes too.",
        "Remove the operator that mixes samples: one along axis 0, or one in training mode. If "
        "only the engine mixes them, try another version or other builder options.",
        ("path", "precision"),
        "used",
    ),
    "TRT436": Code(
        "outputs differ from run to run",
        "The same inputs gave outputs that are not bit-identical, although deterministic= "
        "requires it.",
        "Export the model without random numbers. If the difference is rounding and acceptable, "
        "remove deterministic=.",
        ("path", "precision"),
    ),
    "TRT437": Code(
        "rebuilt engine exceeds its tolerance",
        "At least one engine that rebuilds= built again, without engine cache and timing cache, "
        "exceeds the tolerance, although the first engine does not.",
        "Keep sensitive layers in FP32, or deploy the plan that was tested: pytest-trt export.",
        ("path", "precision"),
        "used",
    ),
    "TRT440": Code(
        "first bad layer",
        "The layer whose own error changes the outputs most. The own error of a layer is measured "
        "in FP32 on the inputs that the layer has in the engine.",
        "Do what the message names: keep the layer in FP32, or correct the constant or attribute "
        "that differs.",
        ("layer", "path"),
        "own_error",
    ),
    "TRT441": Code(
        "no layer alone is to blame",
        "Every layer was compared, and none alone makes half of the error of the outputs: it grows "
        "from layer to layer.",
        "Use a precision that loses less, or keep the layers in the table in FP32.",
        ("path", "precision"),
    ),
    "TRT442": Code(
        "the bad layer was not searched for",
        "The search for the layer that loses precision could not be done, or ended without an "
        "answer; the message gives the reason.",
        "Raise --trt-localize-timeout, or run `pytest-trt localize` on the test by itself.",
        ("reason",),
    ),
    "TRT450": Code(
        "no test ran an engine under trt_consistency",
        "`tune` and `suggest tolerance` measure the engines that a test runs, and none was run.",
        "Name a test that passes, or fails in its accuracy check alone.",
        ("reason",),
    ),
    "TRT455": Code(
        "a failing run was written as a bundle",
        "--trt-repro wrote a folder with the engine, its model, inputs and expected outputs, and a "
        "script that needs only NumPy and ONNX Runtime or TensorRT.",
        "Run its repro.py: exit status 1 while the run still fails, 0 once it does not.",
        ("folder",),
    ),
    "TRT456": Code(
        "no bundle was written",
        "--trt-repro could not write a folder for a failing run; the message gives the reason.",
        "Choose a folder that can be written, or feed tensors of types that NumPy has.",
        ("reason",),
    ),
    "TRT460": Code(
        "no model for a first test",
        "`pytest-trt init` found no ONNX model in the folder, or none that can be tested here. It "
        "searches neither hidden folders, caches, environments, `build` and `dist`, nor folders "
        "that are nested deeply.",
        "Export a model to ONNX, name the folder that has it, or fix what the message names.",
        ("folder",),
    ),
    "TRT461": Code(
        "precision left out of a first test",
        "`pytest-trt init` found no tolerance with which the engine passes and wrong values would "
        "fail.",
        "Give real inputs as .npz files next to the model, or keep layers in FP32 with keep_fp32=.",
        ("precision", "reason"),
    ),
    "TRT462": Code(
        "the test module exists",
        "`pytest-trt init` overwrites no file.",
        "Name another file with --output, or print the module with --dry-run.",
        ("file",),
    ),
    # 5xx speed
    "TRT501": Code(
        "slower than the baseline",
        "A metric is worse than the stored baseline by more than its limit: even the lower "
        "bound of the change exceeds it.",
        "Restore what changed since the baseline. If the slower speed is intended, accept it "
        "with --trt-update and a reason.",
        ("model",),
        rank_by="beyond_limit",
    ),
    "TRT502": Code(
        "absolute speed limit exceeded",
        "A latency exceeds the limit, or a throughput is below it; no baseline is involved.",
        "Make the engine faster, or relax the limit.",
        ("model", "precision", "name"),
    ),
    "TRT503": Code(
        "engine grew beyond its limit",
        "Plan size, device memory or the number of layers grew by more than the test allows "
        "over the baseline's engine.",
        "Restore what changed since the baseline, or accept the engine with --trt-update and "
        "a reason.",
        ("model", "name"),
    ),
    "TRT504": Code(
        "limit of the engine exceeded",
        "Plan size, device memory, layers, build time or cold start exceed the figure that "
        "the test allows.",
        "Make the engine smaller or faster, or relax the limit.",
        ("model", "precision", "name"),
    ),
    "TRT505": Code(
        "speed is inconclusive",
        "The data neither show a regression nor rule one out, or the rounds are too short for "
        "the metric.",
        "Measure on an idle host or for longer, or relax the limit.",
        ("model", "metric", "reason"),
    ),
    "TRT506": Code(
        "absolute speed limit is inconclusive",
        "The measured calls are too close to the limit to decide, or the host was overloaded.",
        "Measure on an idle host or for longer, or relax the limit.",
        ("model", "name", "reason"),
    ),
    "TRT507": Code(
        "limit of the engine is inconclusive",
        "The engine does not report the figure, or an overloaded host may have slowed its start.",
        "Run again on an idle host, or switch the limit off for this engine.",
        ("model", "name", "reason"),
    ),
    "TRT508": Code(
        "limit cannot be tested",
        "A limit on a marker or in the ini file could not have failed: the test measured too few "
        "calls for it.",
        "Allow more time, or limit another metric.",
        ("name",),
    ),
    "TRT509": Code(
        "default limit not tested",
        "Within the test's time limit, rounds are too short for some of the default limits.",
        "Write the limit on the marker: the test then measures for longer.",
        ("metrics", "reason"),
    ),
    "TRT510": Code(
        "passed beyond its limit",
        "A metric changed by more than its limit, but passed for the reason in the message.",
        "No action needed.",
    ),
    "TRT511": Code(
        "speed not measured",
        "Timing is switched off, pytest-benchmark does not time under xdist, or its timer does not "
        "resolve a call.",
        "Run without the option that the message names, or with another timer.",
        ("reason",),
    ),
    "TRT512": Code(
        "too few calls to judge",
        "pytest-benchmark made too few calls for rounds that can be judged or compared with "
        "the baseline.",
        "Allow pytest-benchmark more time or rounds.",
    ),
    "TRT513": Code(
        "not calibrated",
        "With --trt-calibrate, a fresh process failed to measure.",
        "Fix what the message names, and calibrate again.",
    ),
    "TRT514": Code(
        "measuring mode not available",
        "The marker asks for a mode that needs a GPU, so the test was measured in another mode.",
        "Run on a GPU, or change mode= of the marker.",
        ("wanted",),
    ),
    "TRT515": Code(
        "compared across toolchains",
        "The baseline was recorded with another version of the toolchain. If the test reports a "
        "regression, the update may be its cause.",
        "No action needed if the test passes.",
        ("then", "now"),
    ),
    "TRT516": Code(
        "recorded from one run",
        "pytest-benchmark times a function once, so --trt-baseline-runs and --trt-calibrate "
        "do not apply.",
        "Use trt_benchmark(inputs) for several runs or calibration.",
    ),
    "TRT517": Code(
        "not as fast as required",
        "The engine is not as much faster than an engine of faster_than as required: even the "
        "upper bound of the ratio of their median latencies is below the factor. Both ran "
        "interleaved, so neither a baseline nor load on the host explains it.",
        "Look for layers that stayed in FP32 (`pytest-trt inspect --layers`), or lower the factor.",
        ("model", "precision", "opponent"),
    ),
    "TRT518": Code(
        "faster_than is inconclusive",
        "The ratio of the median latencies is too close to its factor to decide.",
        "Measure on an idle host, or lower the factor.",
        ("model", "precision", "opponent"),
    ),
    "TRT519": Code(
        "faster_than names the engine under test",
        "An engine of faster_than is the one that the test measures, such as fp32 in the fp32 "
        "test, so there is nothing to compare.",
        "No action needed.",
        ("opponents",),
    ),
    "TRT520": Code(
        "baseline is outdated",
        "The test is faster than its baseline by more than a limit, so it could become slower by a "
        "multiple of that limit and pass. Either the engine became faster, or the baseline was "
        "recorded on a slower machine, or edited.",
        "Record the speed that it has now with --trt-update.",
        ("metric",),
    ),
    "TRT521": Code(
        "compared with a rebuilt engine",
        "The engine of the baseline was built again since: it has the same key and another plan, "
        "which may be faster or slower than the recorded one. The interleaved A/B run compared "
        "with it, not with the recorded speed.",
        "Restore the engine cache that has the recorded plan, or record the baseline again.",
        ("model", "precision"),
    ),
    # 6xx baseline
    "TRT600": Code(
        "unusable baseline",
        "A baseline cannot be read, written or compared.",
        "Fix the problem of the file or folder that the message and its detail lines name.",
        ("file",),
    ),
    "TRT601": Code(
        "baseline file cannot be read",
        "The operating system refuses to read a baseline file.",
        "Make the file readable for this user.",
        ("file",),
    ),
    "TRT602": Code(
        "invalid baseline file",
        "A baseline file is not JSON, is a Git LFS pointer, contains merge conflict markers, or "
        "has a field that is missing or invalid.",
        "Restore the file from git, or move it away and record it again with --trt-update-new. In "
        "an unfinished merge, take one side, and record again what that lacks. Download pointers "
        "with `git lfs pull`.",
        ("file",),
    ),
    "TRT603": Code(
        "baseline file of another format",
        "A baseline file was written by another version of pytest-trt.",
        "Use the version that wrote it, or record the baselines again with --trt-update-new.",
        ("file",),
    ),
    "TRT604": Code(
        "baseline file cannot be written",
        "The operating system refuses to write or remove a baseline file.",
        "Free space, make the folder writable, or name another one with --trt-baseline-dir.",
        ("file",),
    ),
    "TRT605": Code(
        "baseline file of another target",
        "The figures in a baseline file are of another device than its file name states: the file "
        "was renamed or edited.",
        "Restore the file from git, or move it away and record it again with --trt-update-new.",
        ("file",),
    ),
    "TRT606": Code(
        "baseline changed by another run",
        "Another run changed the test's baseline after this run had compared with it, so this run "
        "did not replace it.",
        "Run the test again.",
        ("file",),
    ),
    "TRT610": Code(
        "second folder of baselines",
        "A run created a baseline folder below an existing one. The tests no longer use the "
        "baselines in the existing folder.",
        "Remove the new folder and set trt_baseline_dir in the ini file, unless both are intended.",
        ("folder",),
    ),
    "TRT620": Code(
        "git cannot be used",
        "git is not installed, does not answer, or the path is not in a git repository.",
        "Compare two files instead: `pytest-trt baseline diff OLD NEW`.",
    ),
    "TRT621": Code(
        "unknown git revision",
        "The repository has no such commit, branch or tag.",
        "Name one that exists; `git log --oneline` lists commits.",
        ("revision",),
    ),
    "TRT622": Code(
        "repository of another user",
        "The git repository belongs to another user, such as that of a host that is mounted into a "
        "container, and git reads nothing of it. Reports name no commit; tests are not affected.",
        "If you trust it, add its folder to git's safe.directory.",
        ("repository",),
    ),
    "TRT630": Code(
        "no such baseline",
        "No baseline, or more than one, has the given name.",
        "`pytest-trt baseline list` shows all of them.",
    ),
    "TRT632": Code(
        "baselines of different targets",
        "The two files were recorded on different devices, whose figures are never compared.",
        "Name two files of the same target.",
    ),
    "TRT640": Code(
        "nothing to accept",
        "The last run, or the given test in it, has no result that could become a baseline.",
        "Run the tests first, with the same cache; without names, `pytest-trt baseline accept` "
        "lists what can be accepted.",
    ),
    "TRT641": Code(
        "damaged last run",
        "The file that holds the results of the last run was changed or damaged since it was "
        "written, so nothing of it is accepted.",
        "Run the tests again: each run writes the file.",
        ("file",),
    ),
    "TRT642": Code(
        "new baseline without a reason",
        "A baseline is only replaced for a reason, which is stored with it.",
        "Add --reason and a few words.",
    ),
    "TRT643": Code(
        "baseline in another folder",
        "The last run compared a test with baselines of another folder than the one in which they "
        "would be accepted.",
        "Name the folder that the run used with `pytest-trt baseline --baseline-dir`.",
        ("folder",),
    ),
    "TRT650": Code(
        "tests cannot be collected",
        "pytest could not collect the tests, so it is unknown which baselines still have a test.",
        "Fix the errors that `pytest --collect-only` reports.",
    ),
    "TRT651": Code(
        "removal not confirmed",
        "Removing baselines needs confirmation, and there is no terminal to ask on.",
        "Review them with --dry-run, then use --yes.",
    ),
    "TRT652": Code(
        "rename would overwrite a baseline",
        "`pytest-trt baseline rename` found another baseline under the new name, for example one "
        "that a run has recorded since the test was renamed. Nothing was moved.",
        "Compare the two. To keep the old one, rename again with --replace; to keep the new one, "
        "remove the old one with `pytest-trt baseline prune`.",
    ),
    "TRT653": Code(
        "artifact of CI refused",
        "An artifact has something that an upload of baselines never has: a link, a device, a "
        "name that leads out of it, the same name twice, or more than the limits of size. Nothing "
        "of it was read.",
        "Find out what made it, and upload folders of baselines as they are.",
        ("file",),
    ),
    "TRT654": Code(
        "artifact of CI cannot be read",
        "It does not exist, is damaged, or is neither a folder nor a .zip or .tar file.",
        "Download it again.",
        ("file",),
    ),
    "TRT655": Code(
        "artifacts differ",
        "Two artifacts have different baselines of the same test on the same target, so neither "
        "was collected.",
        "Name the right one with --prefer.",
        ("file", "sources"),
    ),
    "TRT656": Code(
        "newer baseline is stored",
        "The baseline of a test in an artifact was recorded before the one that is stored, and "
        "differs from it and from the last commit, so it was not collected.",
        "Keep the stored one, or name the artifact with --prefer.",
        ("file",),
    ),
    "TRT657": Code(
        "baseline without a test module",
        "A baseline file of an artifact belongs to a test module that does not exist here.",
        "Check out the commit that it was recorded with, or move it where it was recorded.",
        ("module",),
    ),
    "TRT658": Code(
        "file of an artifact is not a baseline",
        "A file is not in the folder of its target, or belongs to no baseline.",
        "Upload the folder of baselines as it is, with nothing else in it.",
        ("file",),
    ),
    "TRT659": Code(
        "nothing collected",
        "An artifact has no baselines, or all artifacts have only those of the last commit, and "
        "the working tree has others.",
        "Check that the tests in CI ran with --trt-update or --trt-update-new, and passed.",
    ),
    "TRT670": Code(
        "no stored answers",
        "trt_consistency compares with stored answers, none are stored for the test, and CI or "
        "--trt-missing-baseline=fail makes that an error.",
        "Record them with --trt-update-new, and commit both files.",
        ("file", "command"),
    ),
    "TRT671": Code(
        "no stored answers for these inputs",
        "The test ran inputs for which nothing is stored: they differ from the recorded ones in a "
        "value, a shape or a dtype.",
        "Check what makes the inputs: preprocessing (channels, layout, scale, resizing), the seed, "
        "and the data. Replace the baseline with --trt-update and a reason only if the inputs are "
        "to differ.",
        ("file",),
    ),
    "TRT672": Code(
        "stored answers were not compared",
        "Answers are stored for inputs that the test did not run.",
        "Run those inputs again, or replace the baseline with --trt-update and a reason.",
        ("file",),
    ),
    "TRT673": Code(
        "stored answers are damaged",
        "The `.npz` lacks arrays that the JSON file names, or its bytes differ from those that "
        "were stored: one of the two files was merged, edited or restored alone.",
        "Record again what is missing or damaged with --trt-update-new, also in an unfinished "
        "merge; or restore both files from one commit. Numbers that differ from the recorded ones "
        "need a reason (TRT675).",
        ("file",),
    ),
    "TRT674": Code(
        "stored answers are a Git LFS pointer",
        "The `.npz` of stored answers is in Git LFS and was not downloaded, here or at the "
        "revision that `baseline diff` reads.",
        "Install Git LFS and run `git lfs pull`; in CI let the checkout download LFS files.",
        ("file",),
    ),
    "TRT675": Code(
        "update of answers without a reason",
        "--trt-update would replace stored answers with ones that differ by more than the FP32 "
        "tolerance.",
        "Add --trt-update-reason.",
        ("file",),
    ),
    "TRT676": Code(
        "no stored errors",
        "drift= limits the growth of an engine's error, and none is stored for its architecture "
        "and precision.",
        "Record it with --trt-update-new on this kind of machine, and commit the files.",
        ("file", "engine"),
    ),
    "TRT677": Code(
        "test or model may have been renamed",
        "A test has no baseline, and one whose test, parameters or model no longer exist matches "
        "it: it has the same inputs (stored answers), the same model, options and shapes (speed), "
        "or the same names of metrics (task metrics). Nothing was recorded.",
        "If the test, its ids or the model were renamed or moved, run the `pytest-trt baseline "
        "rename` command; if it is new, record its baseline with --trt-update-new.",
        ("command",),
    ),
    "TRT678": Code(
        "compared with a sketch",
        "An output larger than --trt-answers-size is stored as a sketch, and passed a limit that "
        "a sketch can only partly check. The message shows what may be missed.",
        "If that is not enough, store the output whole with a larger --trt-answers-size.",
        ("model_file", "outputs"),
    ),
    "TRT679": Code(
        "limit cannot be checked against a sketch",
        "An output larger than --trt-answers-size is stored as a sketch, and the test has a limit "
        "that needs the whole output: a metric, or the k largest elements of a row where the "
        "sketch has fewer.",
        "Record the answers again with the --trt-answers-size that the message gives.",
        ("outputs", "metrics"),
    ),
    "TRT680": Code(
        "no baseline of a task metric",
        "No value is stored for a metric that the test recorded, and CI or "
        "--trt-missing-baseline=fail makes that an error.",
        "Record it with --trt-update-new, and commit the file.",
        ("file",),
    ),
    "TRT681": Code(
        "task metric not comparable",
        "The stored metric is of a different kind (share of trials, mean of samples, plain "
        "number) or of more samples, its trials are less than 90% of the stored ones, or "
        "lower_is_better changed.",
        "Record the metric as the baseline has it, or replace the baseline with --trt-update and "
        "a reason.",
        ("file",),
    ),
    "TRT682": Code(
        "task metric was not recorded",
        "The baseline of the test has a metric that the test did not record.",
        "Record it again, or replace the baseline with --trt-update and a reason.",
        ("file",),
    ),
    "TRT683": Code(
        "update of task metrics without a reason",
        "--trt-update would replace a stored value with one that is worse by more than the limit, "
        "also where several updates without a reason add up to that.",
        "Add --trt-update-reason.",
        ("file",),
    ),
    "TRT684": Code(
        "models with stored baselines are missing",
        "A run collected all tests of a function, and baselines of it are stored for models that "
        "no longer exist, so nothing tested them. Where a missing baseline is an error (in CI, or "
        "with --trt-missing-baseline=fail), the run fails.",
        "Restore the models; or, if they were removed on purpose, remove their baselines with "
        "`pytest-trt baseline prune`.",
        ("models",),
    ),
    "TRT685": Code(
        "stored baselines are used by no test",
        "A run collected whole folders or files of tests, and none of them uses a baseline that is "
        "stored for them: the file was deleted, or skipped as a whole; the test was renamed or "
        "removed; or it no longer has this model, precision or check. Where a missing baseline is "
        "an error (in CI, or with --trt-missing-baseline=fail), the run fails.",
        "Restore the tests; move the baselines of renamed ones with `pytest-trt baseline rename`; "
        "or remove those of removed ones with `pytest-trt baseline prune`. Mark tests with skipif "
        "in place of skipping a file.",
        ("tests",),
    ),
    "TRT686": Code(
        "required models have no test",
        "A file that a pattern of --trt-require-models matches is the model of no collected test "
        "that needs an engine (of `report merge --require-models`: of none with a verdict), or a "
        "pattern matches no file.",
        "Let a test name the model, or list it in trt_untested_models with a reason.",
        ("models", "patterns"),
    ),
    "TRT687": Code(
        "entry for a model that has a test or was removed",
        "trt_untested_models gives a reason for a model that a collected test now names, or for a "
        "file that no longer exists. A later model of this name would need no test. It is checked "
        "in runs of all tests, which then fail.",
        "Remove the line from trt_untested_models, or correct its path.",
        ("entries",),
    ),
    "TRT660": Code(
        "no baseline",
        "No baseline is stored for the test on this device, and CI, --trt-missing-baseline=fail or "
        "--trt-selftest makes that an error.",
        "Record it with --trt-update-new on this kind of machine, and commit the file.",
        ("file", "command"),
    ),
    "TRT661": Code(
        "not comparable with the baseline",
        "The baseline was measured in another mode, with other shapes or options, or with "
        "rounds too short for a limit.",
        "Measure what the baseline measured, or replace it with --trt-update and a reason.",
        ("reason",),
    ),
    "TRT662": Code(
        "update needs a reason",
        "--trt-update would accept a speed beyond a limit of the test, and no reason was given.",
        "Make the engine faster, or give --trt-update-reason.",
        ("model",),
    ),
    "TRT663": Code(
        "baseline not updated",
        "An update was requested, and the measurement was disturbed, or no test with a baseline "
        "ran: the baseline is unchanged.",
        "Run again on an idle host; --trt-update-anyway stores figures of an overloaded host.",
        ("cause",),
    ),
    "TRT664": Code(
        "baseline of an overloaded host",
        "The host was overloaded while the first baseline was measured. Only interleaved runs can "
        "be compared with it.",
        "Measure it again on an idle host.",
    ),
    "TRT665": Code(
        "fewer runs recorded",
        "A fresh process failed to measure, so fewer runs than requested were recorded.",
        "Fix what the message names, and add runs with --trt-update.",
    ),
    "TRT666": Code(
        "calibration dropped",
        "The baseline of a new engine does not inherit the calibration of the previous one.",
        "Run --trt-calibrate.",
    ),
    "TRT667": Code(
        "calibrated on an overloaded host",
        "Part of the measured noise is the host's, so later verdicts are less sensitive.",
        "Calibrate again on an idle host.",
    ),
    # 7xx device and host
    "TRT701": Code(
        "requested architecture not available",
        "--trt-arch names an architecture without a GPU on this machine and without a backend "
        "that cross-builds for it.",
        "Run on a machine with such a GPU, or name an architecture that is available.",
        ("arch",),
    ),
    "TRT702": Code(
        "requested device not available",
        "--trt-device does not name exactly one GPU of this machine, or contradicts --trt-arch.",
        "Name a GPU by its CUDA number or UUID.",
        ("device",),
    ),
    "TRT703": Code(
        "backend does not support the architecture",
        "The backend has no engines for the requested architecture.",
        "Use another backend, or name an architecture that it supports.",
        ("backend", "arch"),
    ),
    "TRT704": Code(
        "backend name already registered",
        "Two plugins registered an additional backend of the same name.",
        "Remove one of the plugins, or rename its backend.",
        ("backend",),
    ),
    "TRT710": Code(
        "backend unavailable",
        "The requested backend is not installed here, or there is no driver or device for it.",
        "Install it or choose another one; `pytest-trt doctor` shows what works on this machine.",
    ),
    "TRT711": Code(
        "child process cannot be started",
        "Builds, fresh timings and the doctor run in child processes of this Python; one could not "
        "be started, or ended before it reached pytest-trt's code.",
        "Start pytest with a Python executable that can import pytest_trt.",
        ("python",),
    ),
    "TRT712": Code(
        "CUDA cannot start",
        "The driver or the CUDA runtime refused to start on this device.",
        "Look up the status that the message names; `nvidia-smi` shows whether the driver works "
        "at all.",
        ("status",),
    ),
    "TRT713": Code(
        "NVML unavailable",
        "NVML, the management library of the driver, cannot be used or does not know the GPU.",
        "Read the detail lines; without NVML, clocks and other processes are not monitored.",
        ("status",),
    ),
    "TRT714": Code(
        "module not importable",
        "The module of the backend is not installed, or its import fails.",
        "Install it with the printed command; `pytest-trt doctor` finds the cause.",
        ("module",),
    ),
    "TRT720": Code(
        "GPU lost",
        "A CUDA error after which this process can no longer use any GPU, such as an illegal "
        "address.",
        "Fix the test that lost the GPU, or run it in its own process.",
    ),
    "TRT721": Code(
        "not run: the GPU was lost",
        "An earlier test in this process lost the GPU without failing, so this test fails for it.",
        "Fix the test that is named, or run it in its own process.",
        ("test",),
    ),
    "TRT730": Code(
        "measurement disturbed",
        "Other processes used the device, or it was throttled: the figures do not describe the "
        "engine.",
        "Run again when the device is idle.",
        ("reason",),
    ),
    "TRT731": Code(
        "device cannot be reserved",
        "One process of a user measures on a device at a time. Another one has held it for 30 "
        "minutes, or there is no folder for a lock that only the user can write to.",
        "End the process that the message names, or set XDG_RUNTIME_DIR to a private folder.",
        ("device",),
    ),
    "TRT740": Code(
        "host overloaded",
        "Threads waited for CPU cores, or other processes used too many of them, so timings would "
        "be inconclusive.",
        "Stop other work, or reserve cores for the tests.",
    ),
    "TRT741": Code(
        "GPU disturbed",
        "A GPU is throttled, or another process computes on it, so timings would be inconclusive.",
        "Let the GPU cool, stop the other work, or wait.",
    ),
    "TRT742": Code(
        "too few CPU cores",
        "The process may use fewer CPU cores than a benchmark needs for its own threads.",
        "Give the process more cores: taskset, cgroup or container limits.",
    ),
    "TRT743": Code(
        "GPU state unknown",
        "The driver does not report the state of a GPU, so doctor cannot tell whether speed "
        "can be measured.",
        "Follow the remedy to make NVML usable.",
    ),
    "TRT750": Code(
        "no usable GPU",
        "No GPU can be used: none is present, none is visible, or the driver does not work.",
        "Follow the remedy; without a GPU, tests run on the CPU.",
    ),
    "TRT751": Code(
        "backend not usable",
        "The module of a backend is missing or cannot be imported.",
        "Follow the remedy, or use another backend.",
        ("module",),
    ),
    "TRT752": Code(
        "backend installed inconsistently",
        "Parts of a backend have different versions, or do not fit this machine's driver, GPUs or "
        "CPU.",
        "Reinstall it with the printed command.",
        ("module",),
    ),
    "TRT760": Code(
        "cache or baseline folder",
        "The folder of the engine cache or of the baselines is not writable, nearly full, "
        "slow or damaged.",
        "Follow the remedy, or name another folder.",
        ("path",),
    ),
    "TRT770": Code(
        "plugin does not work here",
        "pytest does not start in this folder, or does not load pytest-trt.",
        "Follow the remedy; `pytest --collect-only` shows what pytest reports.",
    ),
    "TRT771": Code(
        "options cannot be satisfied",
        "The options of the project are not valid, or request what this machine does not have.",
        "Correct the options, or run on a machine that has what they request.",
    ),
    "TRT772": Code(
        "requirement not met",
        "--require names something that this machine does not have.",
        "Follow the remedy, or drop the requirement.",
        ("requirement",),
    ),
    "TRT773": Code(
        "unknown requirement",
        "--require names something that doctor cannot check.",
        "Use one of the words that the message lists.",
    ),
    # 8xx cache
    "TRT800": Code(
        "engine cache cannot be used",
        "The cache folder is not private, not writable, or has no space left; or this Python lacks "
        "sqlite3.",
        "Repair the folder, or name another one with --trt-cache-dir.",
    ),
    "TRT801": Code(
        "engine cache is not private",
        "The cache folder, one in it, or one above it belongs to another user, or others can write "
        "to it. Plans are native code, so nothing is loaded from it. That is so for a cache that a "
        "group shares, too: docs/explanation/security.md shows how users can share one.",
        "Make the folder private with the printed command, or name another one with "
        "--trt-cache-dir.",
        ("folder",),
    ),
    "TRT802": Code(
        "engine cache cannot be created or written",
        "The cache folder cannot be created, or is read-only where it has to be changed.",
        "Name a folder that you can write to with --trt-cache-dir.",
        ("folder",),
    ),
    "TRT803": Code(
        "no space left for the engine cache",
        "The disk is full or the quota is exhausted.",
        "Free space, run `pytest-trt cache clear`, or move the cache with --trt-cache-dir.",
        ("folder",),
    ),
    "TRT804": Code(
        "invalid size of the engine cache",
        "The cap on the size of the cache is zero, negative or not finite.",
        "Set --trt-cache-size to a positive size, such as 20GB.",
    ),
    "TRT814": Code(
        "engines removed from the cache",
        "The cache reached --trt-cache-size, so the least recently used engines were removed. A "
        "test that needs one builds it again.",
        "Set --trt-cache-size to more than the engines of a run take; `pytest-trt cache list` "
        "shows their sizes.",
        ("folder",),
    ),
    "TRT805": Code(
        "no such cached engine",
        "No engine in the cache has the given model name or key, or the plan is not in a cache.",
        "Run `pytest-trt cache list` to see what is cached.",
    ),
    "TRT810": Code(
        "cached engine was rebuilt",
        "An entry of the engine cache was damaged or written by another version of pytest-trt. It "
        "was replaced.",
        "No action needed if it happens once; otherwise check the disk of the cache.",
        ("entry",),
    ),
    "TRT811": Code(
        "engine is not stored",
        "The engine cache is read-only, so the engine is built again by the next run.",
        "Make the folder writable, or name another one with --trt-cache-dir.",
        ("folder",),
    ),
    "TRT812": Code(
        "cached file was replaced",
        "Reference outputs or the digest of a model in the cache did not match their seal or their "
        "key. They were computed again.",
        "No action needed if it happens once; otherwise check the disk of the cache.",
        ("file",),
    ),
    # 9xx reports
    "TRT820": Code(
        "nothing to export",
        "The cache holds no engines of a run in this folder, or the named tests were not part of "
        "the last run.",
        "Run the tests first, then name tests of that run.",
    ),
    "TRT900": Code(
        "report cannot be read",
        "A report file is missing or not readable.",
        "Name a .json report that `pytest --trt-report=report.json` wrote.",
    ),
    "TRT901": Code(
        "file cannot be written",
        "A file that --trt-report, --output or the step summary names cannot be written.",
        "Name a file in a writable folder, and check that there is space.",
    ),
    "TRT902": Code(
        "not a report",
        "A file is damaged, or is not a report that pytest-trt wrote.",
        "Name a .json report that `pytest --trt-report=report.json` wrote.",
    ),
    "TRT903": Code(
        "report of an unsupported format",
        "A report was written by a version of pytest-trt with another format.",
        "Use one version of pytest-trt for all reports.",
    ),
    "TRT904": Code(
        "run of a report has not ended",
        "A run writes its reports when it starts, marked as incomplete, and again when it ends. So "
        "it is still running, or its process was killed: no test in it has a verdict.",
        "Wait for the run, or repeat it.",
        ("started",),
    ),
    "TRT910": Code(
        "reports do not belong together",
        "Reports of the same run, of different commits, versions or models, or with two verdicts "
        "on the same test cannot be merged.",
        "Merge one report for each architecture, all of the same commit and versions.",
    ),
    "TRT911": Code(
        "file cannot be imported",
        "A file that `pytest-trt report import` names is missing, damaged, none that trtexec or "
        "Polygraphy writes, or a second one of its kind.",
        "Name files of --exportTimes, --exportLayerInfo and --exportProfile of one engine, or "
        "inputs and outputs that Polygraphy saved.",
    ),
    "TRT914": Code(
        "report cannot be exported",
        "A report has no measured speeds, or the tool whose format is to be written is not "
        "installed.",
        "Name the report of a run with trt_benchmark tests, and install the tool.",
    ),
    "TRT920": Code(
        "reports cannot be compared",
        "Two reports have nothing in common that can be compared.",
        "Compare reports of the same tests.",
    ),
    "TRT930": Code(
        "required verdicts are missing",
        "With --trt-require-arch, a test did not pass or fail on a required architecture: it was "
        "skipped, deselected, inconclusive, or never collected there.",
        "Run the tests on every required architecture, and merge the reports of several machines.",
    ),
    "TRT940": Code(
        "imported evidence",
        "A result was imported from the files of another tool. Its figures were computed from "
        "them, and nothing was judged.",
        "Compare it with other reports, or write a test whose limits judge it.",
    ),
    "TRT941": Code(
        "what imported files hold",
        "A note of `pytest-trt report import`: what was measured, and what it was compared with.",
        "Nothing to do.",
    ),
}
