"""`python -m gptcore` is the command `gptcore`."""

from gptcore.streams import run


def main() -> None:
    """Run the command; the modules that it needs are imported once signals are handled."""
    run("gptcore.cli.main")


if __name__ == "__main__":
    main()
