"""The topics of the report, one module or folder each."""
