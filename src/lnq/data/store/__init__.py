"""From cases to a folder of preprocessed arrays: reading with all checks, cropping, resampling."""
