"""Tables of `asv_bench.reports.solvers`, as plain text or Markdown."""

import statistics


def work_table(work, results, ours, rivals, markdown):
    """Times of one kind of work, and ratios to the best setting of each rival."""
    solvers = [s for s in solvers_of(results) if any((work, s) in r.times for r in results)]
    versus = [rival for rival, names in rivals.items() if set(names) & set(solvers)]
    header = ["matrix", *(f"{solver} ms" for solver in solvers), *(f"{v} / ours" for v in versus)]
    ratios = {v: [best(r, work, rivals[v]) / r.times[work, ours] for r in results] for v in versus}
    if not versus:  # nobody else does it: against our own factorization
        header.append("/ our refactorize")
        ratios = {ours: [r.times[work, ours] / r.times["refactorize", ours] for r in results]}
    rows = [
        [
            result.name,
            *(f"{1e3 * result.times[work, solver]:.3f}" for solver in solvers),
            *(f"{values[i]:.2f}" for values in ratios.values()),
        ]
        for i, result in enumerate(results)
    ]
    means = [f"{statistics.geometric_mean(v):.2f}" if v else "-" for v in ratios.values()]
    rows.append(["geometric mean", *("" for _ in solvers), *means])
    return [title(work.capitalize(), markdown), "", *table(header, rows, markdown)]


def matrix_table(results, ours, markdown):
    """Sizes of the matrices and of our factors, and the order that we chose."""
    header = ["matrix", "n", "nnz(L)", "flops", "stored / nnz(L)", "workspace MB", "order"]
    rows = [
        [
            result.name,
            str(result.n),
            str(result.symbolic.nnz),
            f"{result.symbolic.flops:.3g}",
            f"{result.symbolic.memory.factor / 8 / result.symbolic.nnz:.2f}",
            f"{result.symbolic.memory.workspace / 1e6:.3g}",
            result.orders[ours],
        ]
        for result in results
    ]
    return [title("Matrices and our factors", markdown), "", *table(header, rows, markdown)]


def solvers_of(results):
    return list(results[0].orders) if results else []


def best(result, work, names):
    """The shortest time among the settings of a rival."""
    return min(result.times[work, name] for name in names if (work, name) in result.times)


def title(text, markdown):
    return f"### {text}" if markdown else text


def table(header, rows, markdown):
    """Lines of a table: first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    edge, between = ("| ", " | ") if markdown else ("", "  ")
    lines = [
        edge
        + between.join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + edge[::-1]
        for row in [header, *rows]
    ]
    if markdown:
        rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
        lines.insert(1, edge + between.join(rule) + edge[::-1])
    return lines
