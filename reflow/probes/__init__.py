"""What a student is worth on the task: rollouts of teacher and student, and what may be said from them.

Left out: the pages that show it (`reflow.reports`), and distances between chunks (`reflow.metrics`).
"""
