"""Executes runs one after another in this process."""

from __future__ import annotations

from benchmark.running.events import Callback
from benchmark.running.job import Job, Outcomes
from benchmark.running.worker import run_job


def in_process(jobs: list[Job], callback: Callback) -> Outcomes:
    """Run one job after another here."""
    for index, job in enumerate(jobs):
        yield index, run_job(job, callback)
