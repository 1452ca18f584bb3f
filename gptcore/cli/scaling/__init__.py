"""The subcommands of `gptcore scale`: their options, what they compute, and their answers."""
