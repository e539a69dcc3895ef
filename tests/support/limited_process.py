"""Run code in a process that may take so much memory besides the program itself, and no more.

The processes are forked from one that has the program loaded; loading it took most of the time of each.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import textwrap
import traceback
from pathlib import Path
from unittest import mock

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.limited_program"])
# Allocators that reserve more than they use would be held to what they reserve.
_ALLOCATORS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}


def run_limited(code: str, path: Path, allowed: int) -> str:
    """Run code and return what it prints; what the package refuses is printed as ``refused: …``.

    :param code: finds the names of ``tests/support/limited_program.py``, and the file as ``path``.
    :param allowed: bytes of address space besides those of the program.
    """
    printed = path.with_name(f"{path.name}.printed")
    arguments = (textwrap.dedent(code), str(path), allowed, str(printed))
    with mock.patch.dict(os.environ, _ALLOCATORS):  # for the process that is forked from, when it starts
        child = _FORKS.Process(target=_run, args=arguments)
        child.start()
    child.join()
    text = printed.read_text() if printed.exists() else ""
    assert child.exitcode == 0, text[-2000:]
    return text.strip()


def _run(code: str, path: str, allowed: int, printed: str) -> None:
    from tests.support import limited_program

    status = Path("/proc/self/status").read_text().splitlines()
    (size,) = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize")]
    resource.setrlimit(resource.RLIMIT_AS, (size + allowed, size + allowed))
    with open(printed, "w") as file, contextlib.redirect_stdout(file):
        try:
            names = {name: getattr(limited_program, name) for name in limited_program.__all__}
            exec(compile(code, "limited", "exec"), {**names, "path": path})
        except limited_program.GeminiBatchError as error:
            print("refused:", str(error)[:400])
        except BaseException:
            traceback.print_exc(file=file)
            raise
