"""`landcast reload`: ask the running server to reload its configuration and policy."""

import sys

import click


@click.command()
def reload() -> None:
    """Ask the server on the state folder (LANDCAST_STATE_DIR) to reload its configuration and policy.

    It waits for the answer. A configuration with a problem is refused: each problem is printed, the former
    configuration stays, and the exit status is 1. No request fails meanwhile, and running orders go on. Settings
    (environment variables) and an upgrade need a restart.
    """
    from server.control import ask_servers
    from server.settings import StateSettings

    folder = StateSettings().dir
    answers = list(ask_servers(folder))
    if not answers:
        raise click.ClickException(f"no server runs on the state folder {folder}")
    for warning in dict.fromkeys(line for each in answers for line in each.warnings):
        click.echo(f"warning: {warning}", err=True)
    problems = dict.fromkeys(line for each in answers for line in each.problems)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        click.echo("refused; the former configuration stays", err=True)
        sys.exit(1)
    click.echo("taken")
