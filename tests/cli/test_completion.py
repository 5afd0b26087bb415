"""Shell completion: the scripts know every command and flag."""

import shutil
import subprocess

import pytest

from hebae.config import Settings
from hebae.methods import METHODS

COMMANDS = ("train", "compare", "sweep", "evaluate", "encode", "export", "show", "completion")


@pytest.mark.long
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_script_names_commands_flags_and_methods(hebae, shell):
    result = hebae("completion", shell)
    assert (result.status, result.err) == (0, "")
    for name in (*COMMANDS, *METHODS):
        assert name in result.out
    for name in Settings.model_fields:
        assert name.replace("_", "-") in result.out


def test_bash_completes(hebae, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = hebae("completion", "bash").out
    assert all(f"--{name.replace('_', '-')}" in script for name in Settings.model_fields)
    (tmp_path / "hebae.bash").write_text(script)
    (tmp_path / "runs").mkdir()
    program = """
source hebae.bash
complete_words() {
    COMP_WORDS=(hebae "$@"); COMP_CWORD=$#; COMPREPLY=()
    _hebae hebae "${COMP_WORDS[$#]}" "${COMP_WORDS[$# - 1]}"
    echo "${COMPREPLY[*]}"
}
complete_words tr
complete_words train --latent-d
complete_words train --method wae
complete_words train --logger mlf
complete_words data p
complete_words show ru
"""
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = ["train", "--latent-dim", "wae wae-gan", "mlflow", "prepare", "runs"]
    assert done.stdout.splitlines() == expected
