"""Distill flow-matching robot policies into one-step students that stock LeRobot runs."""

from reflow.threads import wait_asleep

wait_asleep()  # before anything imports torch
