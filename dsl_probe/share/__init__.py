"""4. Is it one language across domains, models and regimes."""
