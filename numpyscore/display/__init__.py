"""What one looks at: plots, figures, the report page, formulas as MathML."""
