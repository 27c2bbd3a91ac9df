"""Which inputs each output of a program may depend on, found without running it on numbers.

Sets of inputs, and what families of operations do to them; the frameworks' own rules are theirs.
"""
