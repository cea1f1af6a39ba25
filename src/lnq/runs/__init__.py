"""A training run from outside: how it is configured, and what it is measured on."""
