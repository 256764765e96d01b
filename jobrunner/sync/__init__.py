"""The wire between controller and agent: what may cross walls W1 and W2, and nothing else."""
