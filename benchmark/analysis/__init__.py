"""What finished runs still show: other metrics and conditions, redundancy, single adapters removed."""
