"""What finished runs can still tell: other metrics and conditions, redundancy, single adapters removed."""
