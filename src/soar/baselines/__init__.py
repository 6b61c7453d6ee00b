"""The methods that the paper compares with, as learners on the same episodes: RoboFuME and DIAL; a critic that re-ranks."""
