"""Translate trained spiking networks to neuromorphic targets exactly, or record what changed, or refuse."""
