"""The controller: accounts, projects, approvals, job requests, scheduling, the API and the public feed.

It runs on the internet side. It knows what was asked and how it ended, never what the data say.
"""
