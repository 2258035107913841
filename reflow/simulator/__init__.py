"""Environments, the one player of episodes, their journal, and the one pool of processes."""
