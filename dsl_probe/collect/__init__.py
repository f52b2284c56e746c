"""1. Traces: bring in what models wrote, with what is known of where it came from."""
