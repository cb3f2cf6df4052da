"""What concepts of two languages have in common: CALIGN, COLAP, their chance levels, variants and kin."""
