"""The command as `python -m judges.cli`."""

from __future__ import annotations

from judges.cli import main

if __name__ == "__main__":
    main()
