"""What a job costs, counted and never timed: a slow-down is caught on a machine that is busy with something else too.

Where a count is held exactly, a gain is as red as a loss: write it into the table, so that it stays.
"""
