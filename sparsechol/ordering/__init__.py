"""Fill-reducing orderings."""
