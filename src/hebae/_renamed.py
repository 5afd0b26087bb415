"""Modules under the names they had in version 0.1.0, which work until version 0.3."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

RENAMED = {"hebae.autoencoder": "hebae.model"}
"""New names of modules by their old ones; the modules inside a renamed package follow it."""


class RenamedModules(Loader):
    """Finder and loader: an import by the old name gives the module of the new one, and warns."""

    def __init__(self, target: str = "") -> None:
        self.target = target

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer the import system: None for a name that is not an old one."""
        old = next((old for old in RENAMED if name == old or name.startswith(f"{old}.")), None)
        if old is None:
            return None
        new_name = RENAMED[old] + name.removeprefix(old)
        return ModuleSpec(name, cls(new_name))

    def create_module(self, spec: ModuleSpec) -> Any:
        """Import the module by its new name; the caller of the old name gets a warning."""
        warn(spec.name, self.target)
        self.module = importlib.import_module(self.target)
        self.identity = {n: getattr(self.module, n) for n in ("__spec__", "__loader__")}
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Take back what the import system has written over; the module itself has run before."""
        vars(module).update(self.identity)


def warn(old: str, new: str) -> None:
    """Tell the caller of this function's caller; the import system's own frames are left out."""
    message = f"{old} is now {new}; the old name goes away in version 0.3."
    warnings.warn(message, DeprecationWarning, stacklevel=3)


# First, or the path of a renamed package would lead to second copies of the modules in it.
sys.meta_path.insert(0, RenamedModules)
