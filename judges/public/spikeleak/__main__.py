"""The command `spikeleak`, as `python -m spikeleak` too."""

from __future__ import annotations


def main() -> None:
    """Run the command; see `judges.cli.main`."""
    from judges.cli import main as command

    command()


if __name__ == "__main__":
    main()
