"""Tests of `icshift run`: scripts as users write them, started as users start them."""
