"""Directions: contrasts of states, means by label, controls. Knows arrays and labels only."""
