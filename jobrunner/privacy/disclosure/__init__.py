"""The disclosure rulebook engine: reads files a job made and returns findings. It never changes a file."""
