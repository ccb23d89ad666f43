"""What the scripts of this folder share: a table of what attacks did, and limits of time.

A script gives a function for each attack, which makes its attempts and counts in an `Outcomes` what
became of them, and calls `main`. All but the attempts must be zero::

    python tests/attacks/kills.py            as the tests do, some seconds
    python tests/attacks/kills.py --long     every place, every byte, hundreds of moments
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

#: Seconds after which an attempt hangs, however busy the machine is.
HANG_S = 120

_SHOWN = 5


@dataclass
class Outcomes:
    """What became of the attempts of one attack.

    Attributes:
        attempts: How many there were.
        trusted: Damaged or foreign content was used.
        lost: What was whole is missing, or cannot be made again.
        tracebacks: An exception that is no message of ours.
        hangs: It did not end.
        leftovers: Files that nobody removed, or that git showed.
        notes: The first few of them, in words.
    """

    attempts: int = 0
    trusted: int = 0
    lost: int = 0
    tracebacks: int = 0
    hangs: int = 0
    leftovers: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers, attempts first."""
        return astuple(self)[:-1]

    def add(self, what: str, note: str) -> None:
        """Count an attempt that succeeded: "trusted", "lost" and so on."""
        setattr(self, what, getattr(self, what) + 1)
        if len(self.notes) < _SHOWN:
            self.notes.append(f"{what}: {note}")


@dataclass(frozen=True)
class Attack:
    """What an attack gets.

    Attributes:
        folder: An empty folder.
        is_long: Whether to try everything.
        chance: The source of all that is random.
        outcomes: Where to count.
    """

    folder: Path
    is_long: bool
    chance: random.Random
    outcomes: Outcomes

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Count an attempt, and the exception or the hang that it ends with."""
        self.outcomes.attempts += 1
        before = signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(HANG_S)
        try:
            yield
        except _HangError:
            self.outcomes.add("hangs", name)
        except Exception:
            self.outcomes.add("tracebacks", f"{name}: {traceback.format_exc(limit=-3)}")
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


class _HangError(BaseException):
    pass


def _hangs(*_: object) -> None:
    raise _HangError


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked process, and return how it ended: 0, a status, or minus a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(
    attacks: Mapping[str, Callable[[Attack], None]], arguments: list[str] | None = None
) -> int:
    """Run attacks and print the table; the exit status is 1 if one of them succeeded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="try everything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(attacks)}")
    given = parser.parse_args(arguments)
    titles = [one.name for one in fields(Outcomes)][:-1]
    print(f"{'':<24}{''.join(f'{title:>12}' for title in titles)}", flush=True)
    failed = False
    for name, attack in attacks.items():
        if given.only and name not in given.only:
            continue
        outcomes = Outcomes()
        with tempfile.TemporaryDirectory() as folder:
            attack(Attack(Path(folder), given.long, random.Random(given.seed), outcomes))
        print(f"{name:<24}{''.join(f'{count:>12,}' for count in outcomes.counts)}", flush=True)
        for note in outcomes.notes:
            print(f"    {note}", file=sys.stderr, flush=True)
        failed = failed or any(outcomes.counts[1:])
    return int(failed)
