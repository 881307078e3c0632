"""GoClaw: an AI agent gateway on supervised actors."""

__version__ = "0.1.0"
