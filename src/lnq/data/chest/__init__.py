"""What a CT shows of a chest: body, lungs, and whether its axes run as the header says."""
