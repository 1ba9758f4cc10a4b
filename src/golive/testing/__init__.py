"""
What users, and golive itself, test with: contract suites for adapters, fakes that pass them, virtual time, simulator.

Import the module you need; nothing is loaded here.
"""
