"""Measures beside CALIGN and COLAP: of the same states, without concepts."""
