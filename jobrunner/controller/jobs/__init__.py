"""Job requests and jobs: one transition table, leases, offers and what agents report."""
