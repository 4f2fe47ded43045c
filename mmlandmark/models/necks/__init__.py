"""Modules between backbone and head."""
