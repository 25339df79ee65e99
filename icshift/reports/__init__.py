"""Rendering: from data frames to text. Nothing here computes, opens a file or prints."""
