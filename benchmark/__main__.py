"""Lets `python -m benchmark` stand for `bench`."""

from benchmark.cli import main

main()
