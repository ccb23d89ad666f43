"""Paths of options that pytest took for paths of tests.

pytest looks for its root folder and ini file before plugins have added their options. A word after
an option that it does not know yet is a path of tests to it, if it exists: `--trt-cache-dir /cache`
then makes `/cache` the root, the ini file is not found, and baselines belong to another place.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from pytest_trt.plugin.options import OPTIONS


def refuse_misread_paths(config: pytest.Config) -> None:
    """Refuse a path that has changed which project is tested.

    Raises:
        pytest.UsageError: It has; the text says how to write it.
    """
    given = config.known_args_namespace
    # Workers of xdist are told the root that the first process has found.
    if given.inifilename or given.rootdir or hasattr(config, "workerinput"):
        return
    here = config.invocation_params.dir
    words = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *config.invocation_params.args]
    for flag, value in _in_two_words([str(word) for word in words]):
        path = here / value
        if not path.exists() or path.resolve().is_relative_to(here.resolve()):
            continue
        ini = config.inipath
        lost = config.rootpath != here if ini is None else not here.is_relative_to(ini.parent)
        if lost:
            raise pytest.UsageError(
                f"{flag} {value}: a path after a space is one of tests to pytest, which takes "
                f"{config.rootpath} for the project ({ini or 'no ini file'}).\n"
                f"Fix: write {flag}={value}"
            )


def _in_two_words(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    flags = {option.flag for option in OPTIONS if option.is_path}
    for flag, value in pairwise(words):
        if flag in flags:
            yield flag, value
