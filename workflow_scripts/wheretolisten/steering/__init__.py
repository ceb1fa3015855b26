"""What a steering vector is: contrasts of states, means over labels, their lengths and angles. Knows arrays only."""
