"""Recorded demonstrations back in the simulator: observations drawn from states, and playback of actions."""
