"""The agent: fetches approved code, runs it beside the data, and tells only what the wire allows."""
