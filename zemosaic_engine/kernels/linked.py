"""Compiles what a kernel calls as parts of it.

Numba makes machine code of its own for every function that it compiles: optimised, generated, loaded and, unless told
otherwise, wrapped for calls from Python and from C. A function that only a kernel calls needs none of this. Here its
code is linked into that of the kernel and optimised there, all at once, as a compiler of C does with the functions of
one file. The first run on a machine waits for half of the time that it would wait otherwise.

This module builds on internals of Numba, which may change; where they are not as expected, `linked` changes nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numba
from numba.core import types

_njit: Any = numba.njit

_Compiler: Any
try:
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
    from numba.core.compiler import Compiler

    for _owner, _name in (
        (JITCPUCodegen, "_library_class"),
        (JITCodeLibrary, "_optimize_final_module"),
        (JITCodeLibrary, "_finalize_final_module"),
        (JITCodeLibrary, "_finalize_dynamic_globals"),
    ):
        getattr(_owner, _name)

    class _NoEnvironment:
        @staticmethod
        def set_env(name: str, environment: Any) -> None:
            """Do nothing: a function needs its environment for calls into Python, which parts do not make."""

    class _Part(JITCodeLibrary):
        """Code that is linked into that of its callers and never runs by itself."""

        def _optimize_final_module(self) -> None:
            pass

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()
            self._finalized = True

        @property
        def codegen(self) -> Any:
            return _NoEnvironment

        def get_pointer_to_function(self, name: str) -> int:
            return 0

    class _KernelCompiler(Compiler):
        """Makes machine code of a kernel, and parts of all functions that are compiled on the way."""

        def compile_extra(self, function: Callable[..., Any]) -> Any:
            codegen, collects = self.state.targetctx.codegen(), gc.isenabled()
            self.state.library = codegen.create_library(function.__qualname__)
            self.state.library.enable_object_caching()
            before, codegen._library_class = codegen._library_class, _Part
            gc.disable()  # millions of objects, and no garbage before the kernel is compiled
            try:
                return super().compile_extra(function)
            finally:
                codegen._library_class = before
                if collects:
                    gc.enable()

    _Compiler = _KernelCompiler
except (ImportError, AttributeError):
    _Compiler = None


def kernel_of(function: Callable[..., Any], **options: Any) -> Any:
    """A compiled function; other kernels take its code in, and Python calls it as any function."""
    if _Compiler is None or numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return _njit(**options)(function)
    kernel = _njit(pipeline_class=_Compiler, no_cfunc_wrapper=True, **options)(function)
    options.pop("cache")
    part = _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)

    def get_call_template(args: Any, kws: Any) -> Any:
        # A constant is a type of its own to Numba, and each would get a copy of the function.
        plain = tuple(types.unliteral(kind) for kind in args)
        return part.get_call_template(plain, {name: types.unliteral(kind) for name, kind in kws.items()})

    kernel.get_call_template, kernel.get_overload = get_call_template, part.get_overload
    return kernel
