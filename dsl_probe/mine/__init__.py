"""2. Recover the language: units, repeats, motifs."""
