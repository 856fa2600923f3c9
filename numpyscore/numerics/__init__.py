"""Integrals with an error estimate, boundary flux, differences."""
