"""What a steering vector is: contrasts of states, label means, random controls, lengths, angles. Knows arrays only."""
