"""Machine code that numba has made once, run again without numba.

Loading numba takes 0.2 s, and as long again what it sets up before it finds a function in its cache: longer than
many a job shop is worked on. Code that allocates nothing and raises nothing needs neither. So it is entered through a
function of C's types, whose object code is kept beside the source; from then on llvmlite alone loads it, in 0.04 s.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.files.errors import InputError
from planner.files.whole import write_whole

if TYPE_CHECKING:
    from llvmlite.binding import TargetMachine

BARE: dict[str, Any] = {"nogil": True, "_nrt": False, "error_model": "numpy"}
"""Options of numba: no reference counts, which took half of the time, and nothing raised."""

DIGEST = 32
"""Bytes before the object code in a file: the hash of the sources and of the code."""


class Compiled:
    """A function that numba compiles as a part of another; called from Python, it runs as it is written."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        """Run it in the interpreter."""
        return self.function(*arguments)

    @cached_property
    def _dispatcher(self) -> Any:
        import numba

        njit: Any = numba.njit  # which knows more options than it declares
        return njit(**BARE, no_cpython_wrapper=True, no_cfunc_wrapper=True)(self.function)

    @property
    def _numba_type_(self) -> Any:
        """What numba asks of the names that a function uses."""
        return self._dispatcher._numba_type_


class Entry:
    """A C function of ``arguments`` 64-bit integers, which gives one; it is loaded where it is first called.

    ``make`` gives it as ``numba.cfunc`` does; ``sources``: the files that its code depends on.
    """

    def __init__(self, name: str, arguments: int, make: Callable[[], Any], sources: Sequence[Path]) -> None:
        self.name, self.make, self.sources = name, make, sources
        self.prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * arguments)
        self._alive: list[Any] = []  # what owns the code

    def __call__(self, *arguments: int) -> int:
        """Run it, without the interpreter's lock."""
        return self._function(*arguments)

    @property
    def is_ready(self) -> bool:
        """Whether it need not be compiled before it runs."""
        return "_function" in self.__dict__ or self._kept is not None

    @cached_property
    def _function(self) -> Callable[..., int]:
        if self._kept is not None:
            return self._loaded(self._kept)
        made = self.make()
        self._keep(made)
        self._alive.append(made)
        return self.prototype(made.address)

    def _loaded(self, code: bytes) -> Callable[..., int]:
        from llvmlite import binding

        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), self._machine)
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._alive.append(engine)
        return self.prototype(engine.get_function_address(self.name))

    @cached_property
    def _machine(self) -> TargetMachine:
        """This processor."""
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        return binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3, jit=True
        )

    @cached_property
    def _kept(self) -> bytes | None:
        """Object code of these very sources for this processor."""
        for folder in _folders():
            try:
                content = (folder / self._file).read_bytes()
            except OSError:
                continue
            if content[:DIGEST] == self._digest(content[DIGEST:]):
                return content[DIGEST:]
        return None

    def _keep(self, made: Any) -> None:
        """Write the object code where it is found the next time, if anywhere."""
        code = _alone(self._machine, made, self.name)
        if code is None:
            return
        for folder in _folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(folder / self._file, self._digest(code) + code)
            except (OSError, InputError):
                continue
            return

    def _digest(self, code: bytes) -> bytes:
        known = hashlib.sha256(code)
        for source in (Path(__file__), *self.sources):
            known.update(source.read_bytes())
        return known.digest()

    @property
    def _file(self) -> str:
        from llvmlite import __version__, binding

        processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        target = (__version__, self._machine.triple, *processor)
        return f"{self.name}-{hashlib.sha256(' '.join(target).encode()).hexdigest()[:16]}.o"


def _folders() -> tuple[Path, ...]:
    """Where object code is kept: beside this file, else with the user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    own = Path(__file__).parent / "__pycache__"
    return (own, cache / "planner") if cache.is_absolute() else (own,)


def _alone(machine: TargetMachine, made: Any, name: str) -> bytes | None:
    """The object code of a function of numba's and of all that it calls; None where it needs anything else.

    Numba's code for errors goes once everything else is known to be internal: nothing is ever raised.
    """
    from llvmlite import binding

    module = binding.parse_assembly(made.inspect_llvm())
    for function in module.functions:
        if not function.is_declaration and function.name != made.native_name:
            function.linkage = "internal"
    module.get_function(made.native_name).name = name
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    if any(f.is_declaration and not f.name.startswith("llvm.") for f in module.functions):
        return None  # what is missing would end the process when it is loaded
    return bytes(machine.emit_object(module))
