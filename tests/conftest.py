"""What all tests share: the examples of property tests are the same in every run.

A run that fails must fail again. To look for new examples: `pytest --hypothesis-profile=explore`.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("repeatable")
