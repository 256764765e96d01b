"""The public feed: every run as it happens, without a login."""
