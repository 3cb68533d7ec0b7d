"""From answers to task scores, from a score matrix to metrics, from several runs to what they can say."""
