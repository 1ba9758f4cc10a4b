"""The one table: rows of *metric | target | alert if*, and the statistics that judge samples against them. Pure."""
