"""Cameras, OpenGL and image observations."""
