"""Scripts that make the small backbones shipped with the suite."""
