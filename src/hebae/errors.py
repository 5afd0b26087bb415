"""The exceptions that are meant for the user."""

from __future__ import annotations

from collections.abc import Iterable


class HebaeError(ValueError):
    """A one-sentence error meant for the user; the CLI prints it and exits with its status.

    The middle of a very long one, which quotes what a damaged file holds, is left out.
    """

    status = 2

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(text if len(text) < 2500 else f"{text[:1500]} [...] {text[-500:]}")


class PeerError(HebaeError):
    """Another process of a training has ended; the CLI's exit status is 70."""

    status = 70


class FolderError(HebaeError):
    """A folder is full, forbidden or in use; the same command may succeed later."""


class UndefinedMetric(HebaeError):  # noqa: N818  a state of affairs, not a mistake
    """The quantity does not exist for this model or these data; the sentence says why."""


class MissingPackage(HebaeError):  # noqa: N818
    """An optional package is needed; the sentence says how to install it."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" if one of the known names is near; else nothing."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
