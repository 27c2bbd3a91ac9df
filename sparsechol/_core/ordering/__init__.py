"""Fill-reducing orderings; `choose.py` has the table of them and chooses one."""
