"""`soar`, which is `python -m soar`: Ctrl-C is one line as early as can be, while the commands are imported, too."""

import sys


def main() -> int:
    """Run one command and return its exit status; see `soar.cli`."""
    try:
        from soar.cli import main as run

        return run()
    except KeyboardInterrupt:  # before `soar.cli` has handlers
        sys.stderr.write("\nInterrupted.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
