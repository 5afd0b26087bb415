"""``hebae completion``: scripts that complete the command line in a shell.

Cyclopts writes them from the types of the flags. They lack the values that are checked elsewhere,
and every value after the first; both are added here.
"""

from __future__ import annotations

import re
from typing import Literal

from hebae.cli.app import app
from hebae.yaml_files import preset_names

SEVERAL = ("methods", "metrics", "features", "samplers", "logger", "space")
"""Flags that take several values, of which some have names."""

_BASH = """
  # Leave out the earlier values of a flag that takes several.
  local last=$((COMP_CWORD - 1))
  if [[ "${COMP_WORDS[COMP_CWORD]}" != "=" && "${COMP_WORDS[last]}" != "=" ]]; then
    while ((last > 1)) && [[ "${COMP_WORDS[last]}" != -* ]]; do ((last--)); done
    case "${COMP_WORDS[last]}" in
      FLAGS)
        COMP_WORDS=("${COMP_WORDS[@]:0:last+1}" "${COMP_WORDS[COMP_CWORD]}")
        COMP_CWORD=$((last + 1)) ;;
    esac
  fi
"""
_ZSH = """_hebae() {
  _hebae_data() { _alternative 'names:data set:(DATA)' 'files:file:_files' }

  # Leave out the earlier values of a flag that takes several; before a further flag, all but one.
  integer last=$((CURRENT - 1))
  while ((last > 2)) && [[ $words[last] != -* ]]; do ((last--)); done
  case $words[last] in
    FLAGS)
      [[ $words[CURRENT] == -* ]] && ((last++))
      if ((last < CURRENT)); then
        words=("${(@)words[1,last]}" "$words[CURRENT]")
        CURRENT=$((last + 1))
      fi ;;
  esac
"""
_FISH = """
# Whether the last flag on the command line is this one.
function __fish_hebae_last_flag
    set -l flags (string match -r -- '^-.*' (commandline -opc))
    test "$flags[-1]" = "$argv[1]"
end
"""


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script that completes commands, flags and their values in a shell.

    bash: hebae completion bash > ~/.local/share/bash-completion/completions/hebae

    zsh: hebae completion zsh > ~/.zfunc/_hebae, with ~/.zfunc in fpath before compinit

    fish: hebae completion fish > ~/.config/fish/completions/hebae.fish

    Parameters
    ----------
    shell
        The shell to write for.
    """
    script = app.generate_completion(prog_name="hebae", shell=shell)
    add = {"bash": _add_to_bash, "zsh": _add_to_zsh, "fish": _add_to_fish}[shell]
    # Not by `out`, which wraps lines.
    print(add(script, _values()))
    return 0


def _values() -> dict[str, list[str]]:
    """Return the values of flags whose type does not name them; --data also takes a path."""
    from hebae.data.loading import SOURCES
    from hebae.evaluation.features import NAMES
    from hebae.experiments.leaderboard_plan import ENTRIES
    from hebae.experiments.metrics import METRICS
    from hebae.experiments.search_space import searchable

    return {
        "preset": preset_names(),
        "data": [source.name for source in SOURCES],
        "features": list(NAMES),
        "metrics": ["all", "fast", *METRICS],
        "methods": list(ENTRIES),  # of leaderboard: the type of compare's names them
        "space": searchable(),
    }


def _add_to_bash(script: str, values: dict[str, list[str]]) -> str:
    for flag, names in values.items():
        files = " -f" if flag == "data" else ""
        reply = f"""COMPREPLY=( $(compgen{files} -W "{" ".join(names)}" -- "${{cur}}") )"""
        script = re.sub(rf"(--{flag}\)\s+)COMPREPLY=\(\)", lambda m, r=reply: m[1] + r, script)
    return script.replace("  local cur prev\n", _several(_BASH) + "  local cur prev\n")


def _add_to_zsh(script: str, values: dict[str, list[str]]) -> str:
    for flag, names in values.items():
        action = "_hebae_data" if flag == "data" else f"({' '.join(names)})"
        script = re.sub(rf"('\*--{flag}\[.*\]:{flag})'", rf"\1:{action}'", script)
    # zsh calls the function that is named like the file, which users save as _hebae.
    start = _several(_ZSH).replace("DATA", " ".join(values["data"]))
    return script.replace("_cyclopts_hebae() {\n", start)


def _several(text: str) -> str:
    return text.replace("FLAGS", "|".join(f"--{flag}" for flag in SEVERAL))


def _add_to_fish(script: str, values: dict[str, list[str]]) -> str:
    for flag, names in values.items():
        kind = "-r -F" if flag == "data" else "-x"
        script = script.replace(
            f" -l {flag} -r -d ", f" -l {flag} {kind} -a '{' '.join(names)}' -d "
        )
    flags = "|".join(SEVERAL)
    later = re.findall(rf"^complete -c hebae -n '(.*)' -l ({flags}) -x (-a '.*') -d ", script, re.M)
    lines = (
        f"complete -c hebae -n '{command}; and __fish_hebae_last_flag --{flag}' -f {choices}"
        for command, flag, choices in later
    )
    return "\n".join([script + _FISH, *lines])
