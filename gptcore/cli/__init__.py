"""The command `gptcore`: `main` names the subcommands, one module for each part of the library."""
