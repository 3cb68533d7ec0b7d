"""What a step, a run and the suite itself cost."""
