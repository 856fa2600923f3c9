"""From a score to samples and densities: Langevin, annealing, reverse diffusion, flow, normaliser, diagnostics."""
