"""The yardstick: this framework's training step beside the founding loop's, in one process, round by round."""
