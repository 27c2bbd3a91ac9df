"""The commands of `spin`: each runs what CONTRIBUTING.md says, and shows it."""

import sys

import click
from spin.cmds.util import run

REST = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
FORWARD = {"ignore_unknown_options": True}


@click.command()
def build():
    """Build in place; what changes is built again at the next import."""
    run([sys.executable, "-m", "pip", "install", "--no-build-isolation", "-e", ".[test,cli]"])


@click.command(context_settings=FORWARD)
@REST
def test(arguments):
    """Run the fast suite, or what pytest's ARGUMENTS say."""
    run([sys.executable, "-m", "pytest", *arguments])


@click.command()
def lint():
    """Run the linters."""
    run(["bash", ".ci/lint"])


@click.command()
def docs():
    """Build the pages in doc/ into build/html."""
    run([sys.executable, "-m", "sphinx", "-W", "-b", "html", "doc", "build/html"])


@click.command(context_settings=FORWARD)
@REST
def bench(arguments):
    """Run each benchmark once, or what ARGUMENTS of `asv run` say."""
    run([sys.executable, "-m", "asv", "run", *(arguments or ("--quick",))], cwd="asv_bench")
