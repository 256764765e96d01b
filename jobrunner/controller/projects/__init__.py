"""Projects, their approvals and workspaces, and the data centres (backends) that run their jobs."""
