"""Tills: an ingestion service for points of sale, small."""
