"""What a student is worth beside its teacher: offline, in the simulator, and the folder of the results."""
