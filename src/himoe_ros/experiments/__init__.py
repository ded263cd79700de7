"""Experiments: one configuration that trains every variant and seed, tries each policy, and tells what may be said."""
