"""Scripted demonstrations."""
