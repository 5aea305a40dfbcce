"""The entry of the command line: `failpy`, or `python -m failpy`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and give its exit status.

    Args:
        arguments: Those of the process unless given.
    """
    try:
        from failpy._cli import main as run
    except ModuleNotFoundError as exc:
        if (exc.name or "failpy").partition(".")[0] == "failpy":
            raise
        sys.stderr.write(
            f"failpy: the command line needs {exc.name}, which is not installed: "
            "run pip install 'failpy[cli]'\n"
        )
        return 2
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
