"""What failpy costs, as ratios to what one would write without it.

    python -m benchmarks

measures every row of the table in the design page and exits with 1 when one misses its bar.
"""
