"""What several methods are built from; no file here is a method."""
