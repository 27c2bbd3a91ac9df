"""Tables beside other packages: ``python -m asv_bench.reports.solvers``, and so on."""
