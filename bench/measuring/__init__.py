"""How one piece of work is measured: its time, its memory, its machine, and how steady it was."""
