"""Files, processes and progress: what every part of the package may use."""
