"""Multilayer perceptrons by hand: activations, parameters, passes and their pullbacks, directions, the sweep, models."""
