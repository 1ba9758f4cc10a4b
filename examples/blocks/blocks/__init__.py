"""Ranks the blocks of a city, clusters of venues, for a driver: where to be for the next pick-up, and why."""
