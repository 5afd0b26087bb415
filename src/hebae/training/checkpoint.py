"""Saving and taking up the whole state of a training, in one file written at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hebae.errors import HebaeError
from hebae.storage import RunFolder, load_weights
from hebae.training.callbacks import MetricsFile

__all__ = ["Checkpointer"]

FORMAT = 1


class Checkpointer:
    """Writes ``resume.pt`` and reads it back, the metrics file kept in step with it.

    A checkpoint holds weights, optimiser, random states, the position in the epoch and the sums of
    its terms, and how long ``metrics.jsonl`` was: whatever was written later is written again.

    Parameters
    ----------
    folder : RunFolder
    metrics : MetricsFile
    fingerprint : str
        Of the data: to go on with other data would be another training.
    resume : bool
        Whether to take up the folder's checkpoint.
    """

    def __init__(
        self, folder: RunFolder, metrics: MetricsFile, fingerprint: str, *, resume: bool
    ) -> None:
        self.folder = folder
        self.metrics = metrics
        self.fingerprint = fingerprint
        self.resume = resume

    def save(self, **state: Any) -> None:
        """Write a checkpoint in place of the last."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self.folder.write_checkpoint(
            {
                "format": FORMAT,
                "data_fingerprint": self.fingerprint,
                "metrics_size": self.metrics.size,
                "random_state": torch.get_rng_state(),
                "cuda_random_states": cuda,
                **state,
            }
        )

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Read the checkpoint into `model` and the random states; cut the metrics file back to it.

        Returns the rest of the state, or None where a training is to start from the beginning.

        Raises
        ------
        HebaeError
            If the checkpoint is damaged, or of another format, architecture or data.
        """
        if not self.resume:
            return None
        state = self.folder.read_checkpoint()
        if state.get("format") != FORMAT:
            raise HebaeError(
                f"{self.folder.checkpoint} has format {state.get('format')}, and this version of "
                f"hebae reads {FORMAT}; resume it with the version that wrote it."
            )
        if state["data_fingerprint"] != self.fingerprint:
            raise HebaeError(
                f"{self.folder.path} was trained on data that have changed since; resume it with "
                "the same data, or train anew with --overwrite."
            )
        load_weights(model, state["model"], self.folder.checkpoint)
        torch.set_rng_state(state["random_state"])
        if state["cuda_random_states"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_random_states"])
        self.metrics.truncate(state["metrics_size"])
        return state
