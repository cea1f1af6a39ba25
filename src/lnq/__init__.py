"""lnq: lymph-node segmentation from partial instance annotations (DBDMP, MELBA 2024:017)."""

__version__ = "0.1.0"
