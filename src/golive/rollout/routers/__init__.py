"""Routers: one file per technology that can split traffic. Import the one you use on purpose."""
