"""Databases behind golive: connections with limits, schema steps, and errors that name the file and the next move."""
