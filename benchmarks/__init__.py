"""What failpy costs, as ratios to what one would write without it.

    python -m benchmarks

measures every row and exits with 1 when one misses its bar. What other tools cost is shown beside.
"""
