"""Calls of the analyzer, a WebAssembly module that answers protobuf messages.

Compiling the module takes 20 seconds and 1 GB, so that a cache keeps what comes out, about 75 MB: of each release of
the two libraries one file, in ``GEMINI_BATCH_GOOGLESQL_CACHE`` or in the user's cache folder.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import functools
import importlib.util
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

MISSING = (
    ""
    if importlib.util.find_spec("zetasql") and importlib.util.find_spec("wasmtime")
    else "Google's SQL analyzer is not installed: see CONTRIBUTING.md"
)
"""Why there is no analyzer; empty where there is one."""


class RefusedError(Exception):
    """GoogleSQL does not take the statement; the message says why and where."""


def cache_folder() -> Path:
    """Return the folder for compiled modules and verdicts, after making it. Nobody else may write there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "airflow-gemini-batch-tests")
    folder = Path(os.environ.get("GEMINI_BATCH_GOOGLESQL_CACHE") or cache)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022:
        raise PermissionError(f"{folder}: others may write to the cache of compiled code. Name another one")
    return folder


def compiled_module(folder: Path) -> Path:
    """Return the compiled module, after compiling it when it is not there. One process compiles, others wait."""
    import wasmtime
    from zetasql.wasi import get_wasm_path

    file = folder / f"zetasql-{version('zetasql')}-wasmtime-{version('wasmtime')}-{sys.platform}.cwasm"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            part = file.with_suffix(".part")
            part.write_bytes(wasmtime.Module.from_file(_engine(), get_wasm_path()).serialize())
            part.replace(file)
    return file


def _engine() -> Any:
    import wasmtime

    config = wasmtime.Config()
    config.shared_memory = True
    return wasmtime.Engine(config)


class Service:
    """One instance of the module.

    :param folder: the cache, see :func:`cache_folder`.
    """

    def __init__(self, folder: Path) -> None:
        import tzdata
        import wasmtime

        wasi = wasmtime.WasiConfig()
        wasi.preopen_dir(str(Path(tzdata.__file__).parent / "zoneinfo"), "/usr/share/zoneinfo")
        engine = _engine()
        self._store = wasmtime.Store(engine)
        self._store.set_wasi(wasi)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        module = wasmtime.Module.deserialize_file(engine, str(compiled_module(folder)))
        self._exports: Any = linker.instantiate(self._store, module).exports(self._store)
        if "_initialize" in self._exports:
            self._exports["_initialize"](self._store)

    def call(self, method: str, request: Any) -> bytes:
        """Send a message to a method of ZetaSqlLocalService and return the answer, not read yet.

        Raises :class:`RefusedError`.
        """
        data = request.SerializeToString()
        given, size = self._call("wasm_malloc", max(len(data), 1)), self._call("wasm_malloc", 4)
        try:
            # The memory moves when it grows, hence a new address for each access.
            ctypes.memmove(self._address + given, data, len(data))
            answer = self._call(f"ZetaSqlLocalService_{method}", given, len(data), size)
            if answer == 0:
                message = self._read(
                    self._call("wasm_get_last_error"), self._call("wasm_get_last_error_size")
                )
                raise RefusedError(message.decode())
            content = self._read(answer, int.from_bytes(self._read(size, 4), "little"))
            self._call("wasm_free", answer)
            return content
        finally:
            self._call("wasm_free", given)
            self._call("wasm_free", size)

    def _call(self, name: str, *arguments: int) -> int:
        return self._exports[name](self._store, *arguments)

    @property
    def _address(self) -> int:
        return ctypes.addressof(self._exports["memory"].data_ptr().contents)

    def _read(self, place: int, size: int) -> bytes:
        return ctypes.string_at(self._address + place, size)


@functools.cache
def service() -> Service:
    """Return the one instance of this process."""
    return Service(cache_folder())


# While the interpreter ends, wasmtime could not free it any more.
atexit.register(service.cache_clear)


def fields(message: bytes) -> dict[int, list[Any]]:
    """Return the fields of a message by number, those within fields unread.

    The library refuses resolved statements, which are nested deeper than it goes.
    """
    from google.protobuf import empty_pb2, unknown_fields

    found: dict[int, list[Any]] = {}
    for one in unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(message)):
        found.setdefault(one.field_number, []).append(one.data)
    return found
