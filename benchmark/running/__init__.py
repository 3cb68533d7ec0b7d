"""One run from plan to result, and many of them side by side, without losing any."""
