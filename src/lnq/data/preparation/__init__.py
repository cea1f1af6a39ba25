"""From a case's files to what the network sees: read with all checks, cropped, resampled."""
