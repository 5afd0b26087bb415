"""Tests with each supported Python, and with the oldest and the newest dependencies.

``nox --list`` names the sessions and ``nox -s lowest`` runs one; arguments after ``--`` go to
pytest, for instance ``nox -s lowest -- tests/objectives``. A session whose Python is not installed
is skipped, and says so.
"""

from __future__ import annotations

from pathlib import Path

import nox
from packaging.requirements import Requirement

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
PYTHONS = ("3.11", "3.12", "3.13")
TOOLS = ("dev", "docs", "release")
"""Extras for development. Their lower bounds are no promise to users."""

nox.options.error_on_missing_interpreters = False
nox.options.sessions = ("pinned", "lowest", "newest")


@nox.session(python=PYTHONS[0])
def pinned(session: nox.Session) -> None:
    """Test with the versions of constraints.txt, as `make test` does."""
    _test(session, "--constraint", "constraints.txt")


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Test with the newest version of every dependency."""
    _test(session, "--upgrade", "--upgrade-strategy", "eager")


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Test with the lowest version that pyproject.toml declares, for each direct dependency."""
    bounds = Path(session.create_tmp()) / "lowest.txt"
    bounds.write_text("\n".join(lowest_versions()) + "\n", encoding="utf-8")
    _test(session, "--constraint", str(bounds))


def lowest_versions() -> list[str]:
    """Return ``name==bound`` for each requirement of the package and its extras for users."""
    extras = PROJECT["optional-dependencies"]
    declared = [*PROJECT["dependencies"]]
    declared += [line for name, lines in extras.items() if name not in TOOLS for line in lines]
    found = {}
    for line in declared:
        requirement = Requirement(line)
        bounds = [one.version for one in requirement.specifier if one.operator == ">="]
        if requirement.name != PROJECT["name"]:
            found[requirement.name] = f"{requirement.name}=={bounds[0]}"
    return sorted(found.values())


def _test(session: nox.Session, *options: str) -> None:
    session.install("--editable", ".[dev]", *options)
    session.install("--no-deps", "torch-fidelity", *options)  # as in the Makefile
    session.run("python", "-m", "pip", "freeze", "--exclude-editable")
    session.env["OMP_NUM_THREADS"] = "1"
    session.run("python", "-m", "pytest", *(session.posargs or ("--numprocesses", "2")))
