"""Where runs run. All yield outcomes as they come, each with its job's place among the jobs."""
