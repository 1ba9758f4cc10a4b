"""The version of this distribution, in one place: the build, ``golive --version`` and ``build_info`` read it here."""

__version__ = "0.1.0"
