"""Whether a mount tells the truth: random events on a real cluster, and everything it shows beside the real programs.

python -m tests.truth --release reef --minutes 10 --seed 1        (make test-truth)
"""
