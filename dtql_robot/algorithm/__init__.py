"""Diffusion Trusted Q-Learning itself: losses, networks, one update.  Knows no file, no simulator, no folder."""
