"""The processor's old address. Code that imports from here keeps working; new code imports :mod:`blocks.processor`."""

from blocks.processor import BlocksProcessorError, Driver, RankedBlock, RankedVenue, rank_blocks

__all__ = ["BlocksProcessorError", "Driver", "RankedBlock", "RankedVenue", "rank_blocks"]
