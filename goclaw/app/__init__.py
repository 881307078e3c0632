"""Wires the house: settings, stores, tree, door. The only room that knows everyone."""
