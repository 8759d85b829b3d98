"""Guides with encoders, and what they lose."""
