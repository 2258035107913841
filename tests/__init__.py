"""The tests, mirroring ``reflow``. A package, because another distribution installs one named ``tests``."""
