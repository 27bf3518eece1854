"""For those who teach and learn: cases with known answers, a reader's score, and the network taken apart."""
