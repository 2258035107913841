"""What every process of the faults has imported before it begins."""

from importlib import import_module

from reflow.quiet import hush

hush()
for command in ("train", "pairs"):
    import_module(f"reflow.{command}")
