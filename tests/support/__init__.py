"""What several test modules use: data, servers, faults and an independent reckoning."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
