"""Distill flow-matching robot policies into one-step students that stock LeRobot runs."""

from reflow.threads import choose_waiting

choose_waiting()  # before anything imports torch
