"""A package outside the suite that brings one method and one stream."""
