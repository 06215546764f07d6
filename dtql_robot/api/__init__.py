"""The functions that join data, training, simulators and evaluation: what a user calls, and what the commands call."""
