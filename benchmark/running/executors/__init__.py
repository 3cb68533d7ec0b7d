"""Where runs are executed. All yield outcomes as they come, each with its job's place among the jobs."""
