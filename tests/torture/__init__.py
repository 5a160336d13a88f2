"""Long runs of real processes under real faults, each with a checker of numbered invariants. The suite runs a short form of each.

python -m tests.torture.handoff --jobs 100000
python -m tests.torture.onebox --jobs 50000 --kills 10
python -m tests.torture.workers --jobs 20000 --actions 40
python -m tests.torture.memory --jobs 1000000
"""
