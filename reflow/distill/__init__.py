"""Training: the module, its callbacks, averages, the optimizer, and what is delivered at the end."""
