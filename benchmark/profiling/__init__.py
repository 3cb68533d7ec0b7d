"""What a step, a cell and the suite itself cost."""
