"""Demonstrations and rollouts in the browser: the scene in 3-D, the cameras, states and actions side by side."""
