"""What a notebook needs: run, load results, look at them, and register a method or a stream of its own.

`import benchmark as bench` offers these names. They are the objects behind the commands; torch, pandas and
matplotlib are imported when something runs, is tabled or is drawn.
"""
