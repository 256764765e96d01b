"""The API: for researchers (personal tokens) and for agents (the wire of `jobrunner.sync`)."""
