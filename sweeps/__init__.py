"""Files of runs (`bench sweep FILE`), and under `tuned/` the values that methods use in each protocol."""
