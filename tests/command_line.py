"""What the tests of the command line share."""

from __future__ import annotations

from typing import NamedTuple


def small(**changes: object) -> list[str]:
    """Flags of a training that takes well under a second."""
    values: dict[str, object] = {"encoder_widths": 16, "decoder_widths": 16, "latent_dim": 3}
    values |= {"batch_size": 32, "epochs": 2, "device": "cpu"} | changes
    return [word for n, v in values.items() for word in (f"--{n.replace('_', '-')}", str(v))]


SMALL = small()


class Result(NamedTuple):
    status: int
    out: str
    err: str


def refused(result: Result, *parts: str) -> None:
    """Status 2, one sentence, no traceback, and it says what it should."""
    assert result.status == 2, result
    assert "Traceback" not in result.err + result.out
    message = " ".join(result.err[result.err.index("Error:") :].split())
    for part in parts:
        assert part in message, message
