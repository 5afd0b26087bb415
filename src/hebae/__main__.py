"""The command ``hebae``, also as ``python -m hebae``."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line, even while modules are imported."""
    try:
        from hebae.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left but the interpreter's exit


if __name__ == "__main__":
    main()
