"""A policy behind a websocket: many robots, one network."""
