"""Rollouts as video."""
