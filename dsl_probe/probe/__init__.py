"""What the motifs carry inside the model, and whether they matter."""
