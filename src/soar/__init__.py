"""SOAR: robots that improve their instruction-following policy from data that they collect on their own."""

__version__ = "0.1.0"
