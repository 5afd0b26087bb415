"""Saving and taking up the whole state of a training, in one file written at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hebae.errors import HebaeError
from hebae.storage import RunFolder, require_same_architecture
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
        self.state: dict[str, Any] | None = None

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

    def check(self, model: nn.Module) -> None:
        """Read the checkpoint and see that it fits `model` and the data; change nothing.

        Raises
        ------
        HebaeError
            If it is damaged, or of another format, architecture or data.
        """
        state = self.folder.read_checkpoint()
        if state.get("format") != FORMAT:
            raise HebaeError(
                f"{self.folder.checkpoint} has format {state.get('format')}, and this version of "
                f"hebae reads {FORMAT}; resume it with the version that wrote it."
            )
        tensors = state["model"]
        if isinstance(tensors, dict) and all(isinstance(t, Tensor) for t in tensors.values()):
            require_same_architecture(model, tensors, self.folder.checkpoint)
        try:
            _require_whole(state, model, self.metrics.size)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise HebaeError(
                f"{self.folder.checkpoint} is altered ({type(error).__name__}: {error}); restore "
                "it, or train anew with --overwrite."
            ) from None
        if state["data_fingerprint"] != self.fingerprint:
            raise HebaeError(
                f"{self.folder.path} was trained on data that have changed since; resume it with "
                "the same data, or train anew with --overwrite."
            )
        self.state = state

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Put the checkpoint into `model` and the random states; cut the metrics file back to it.

        Returns the rest of the state, or None where a training is to start from the beginning.
        """
        if not self.resume:
            return None
        if self.state is None:
            self.check(model)
        state, self.state = self.state, None
        assert state is not None
        model.load_state_dict(state["model"])
        torch.set_rng_state(state["random_state"])
        if state["cuda_random_states"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_random_states"])
        self.metrics.truncate(state["metrics_size"])
        return state


def _require_whole(state: dict[str, Any], model: nn.Module, metrics_size: int) -> None:
    """Raise for a state that lacks something, or holds what training could not go on from."""
    for name in ("epoch", "batch", "steps", "metrics_size"):
        if not isinstance(state[name], int) or state[name] < 0:
            raise ValueError(f"{name} is {state[name]!r}")
    if state["metrics_size"] > metrics_size:
        raise ValueError(f"metrics.jsonl has {metrics_size} bytes of {state['metrics_size']}")
    float(state["seconds"])
    str(state["data_fingerprint"])
    len(state["cuda_random_states"])
    torch.Generator().set_state(state["random_state"])
    for name, tensor in state["model"].items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} is not finite")
    if {*state["best"]} != {"objective", "epoch", "model"}:
        raise ValueError("the best epoch is not whole")
    state["monitor"]["sums"].shape, state["monitor"]["count"], state["noise"].shape
    # Adam's fused kernel trusts the shapes it is given.
    moments = state["optimizer"]["state"]
    for index, parameter in enumerate(model.parameters()):
        for name in ("exp_avg", "exp_avg_sq"):
            if moments and moments[index][name].shape != parameter.shape:
                raise ValueError(f"{name} of weight {index} has another shape")
