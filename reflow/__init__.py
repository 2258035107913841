"""Distill flow-matching robot policies into one-step students that stock LeRobot runs."""
