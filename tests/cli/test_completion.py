"""Shell completion: the scripts know every command and flag."""

import re
import shutil
import subprocess

import pytest

from hebae.cli.completion import SEVERAL
from hebae.config import Settings
from hebae.evaluation.features import NAMES
from hebae.experiments.leaderboard_plan import ENTRIES
from hebae.experiments.metrics import METRICS
from hebae.methods import METHODS
from hebae.yaml_files import preset_names

COMMANDS = ("train", "compare", "sweep", "evaluate", "encode", "export", "show", "completion")


@pytest.mark.long
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_script_names_commands_flags_and_methods(hebae, shell):
    result = hebae("completion", shell)
    assert (result.status, result.err) == (0, "")
    for name in (*COMMANDS, *METHODS, *preset_names(), *METRICS, *ENTRIES, *NAMES):
        assert name in result.out
    for name in Settings.model_fields:
        assert name.replace("_", "-") in result.out
    if shell == "zsh":
        assert "\n_hebae() {" in result.out  # which zsh calls, as the file is named _hebae
    else:
        flags = re.findall(r"__fish_hebae_last_flag --(\w+)'", result.out)
        assert set(flags) == set(SEVERAL)


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
complete_words train --logger tensorboard wandb mlf
complete_words train --preset mnist-m
complete_words train --data mnist-m
complete_words train --data ru
complete_words compare --methods = vicr
complete_words compare --methods hebae --see
complete_words leaderboard --methods vae-f
complete_words evaluate --metrics fast prec
complete_words evaluate --features pixels rand
complete_words evaluate --metrics fast --samplers normal prior two
complete_words tune --space latent_dim learn
complete_words tune --space latent_dim = 1
complete_words data p
complete_words show ru
"""
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "train",
        "--latent-dim",
        "wae wae-gan",
        "mlflow",
        "mlflow",
        "mnist-mini",
        "mnist-mini",
        "runs",
        "vicreg",
        "--seeds --seed",
        "vae-flow",
        "precision-recall",
        "random",
        "two-stage",
        "learning_rate",
        "",
        "prepare",
        "runs",
    ]
