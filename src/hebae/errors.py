"""The one exception that is meant for the user."""


class HebaeError(ValueError):
    """A one-sentence error meant for the user; the CLI prints it and exits with status 2."""
