"""`troth audit`: where manifests and clusters are exposed, with evidence and a way out."""

import json
import logging
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.audit.formats import FailOn, Format
from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE, OwnNamespace
from troth.cli.inputs.watched import WATCHED, WatchedNamespaces
from troth.cli.output import console, structured

if TYPE_CHECKING:
    from troth.audit.rule import Rule
    from troth.cli.audit.gather import Gathered
    from troth.cli.audit.report import Report


def audit(
    files: sources.Files = None,
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Report on this namespace alone. Also the namespace of manifests that name none.",
        ),
    ] = "",
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="ID", help="Evaluate this rule alone; repeatable."),
    ] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="Output format.")] = Format.TEXT,
    fail_on: Annotated[
        FailOn, typer.Option(help="Least severity of a finding that makes the exit code 1.")
    ] = FailOn.HIGH,
    allow_unseen: Annotated[
        bool,
        typer.Option(
            "--allow-unseen",
            help="Do not end with exit code 2 because you may not list a kind that a rule reads.",
        ),
    ] = False,
    fix: Annotated[
        str, typer.Option("--fix", metavar="FINDING", help="Print the way out of this finding.")
    ] = "",
    explain: Annotated[
        str, typer.Option("--explain", metavar="ID", help="Say what a rule finds, and end.")
    ] = "",
    list_rules: Annotated[
        bool, typer.Option("--list-rules", help="List all rules, and end.")
    ] = False,
    show_excepted: Annotated[
        bool, typer.Option("--show-excepted", help="Show the findings that somebody accepts too.")
    ] = False,
    no_exceptions: Annotated[
        bool, typer.Option("--no-exceptions", help="Report them as if nobody had accepted them.")
    ] = False,
    secret_metadata: Annotated[
        bool,
        typer.Option(
            "--secret-metadata",
            help="List the metadata of Secrets in the cluster, never their content.",
        ),
    ] = False,
    own_namespace: OwnNamespace = OWN_NAMESPACE,
    watched_namespaces: WatchedNamespaces = "",
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
) -> None:
    """Find anti-patterns in manifests and clusters, with evidence and a way out of each.

    The command reads manifests, the cluster of --kubeconfig with your own rights, or both. It
    changes nothing.

    Exit code 0 means that all was evaluated and that no finding is as severe as --fail-on, 1 that
    one is, 2 that input could not be read: a file, or a kind that a rule reads and that you may not
    list.
    """
    from troth.cli.audit.gather import gather  # noqa: PLC0415
    from troth.cli.audit.rules import named  # noqa: PLC0415

    if list_rules or explain:
        _describe_rules(explain, output)
        return
    rules = named(rule or ())
    gathered = gather(
        files,
        rules,
        datetime.now(UTC),
        namespace=namespace,
        own_namespace=own_namespace,
        kubeconfig=kubeconfig,
        context=context,
        secret_metadata=secret_metadata,
        watched_namespaces=watched_namespaces,
    )
    report = _evaluated(gathered, rules, namespace, no_exceptions=no_exceptions)
    _print_faults(report)
    if fix:
        _print_fix(gathered, report, fix, output)
        return
    command = _command(files, kubeconfig, context, namespace, watched_namespaces)
    _print(report, output, command, show_excepted=show_excepted)
    raise typer.Exit(report.exit_code(fail_on, allow_unseen=allow_unseen))


def _evaluated(
    gathered: "Gathered", rules: "Sequence[Rule]", namespace: str, *, no_exceptions: bool
) -> "Report":
    """Return the report on a namespace, or on everything if it is empty."""
    import structlog  # noqa: PLC0415

    from troth.audit.evaluation import Evaluation, Evaluator, in_order  # noqa: PLC0415
    from troth.auditor.guarded import GuardedRules  # noqa: PLC0415
    from troth.cli.audit.report import Report  # noqa: PLC0415

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    guarded = GuardedRules(rules)
    found = Evaluator(guarded.rules).evaluate(gathered.scene)
    failures = tuple(guarded.failures())
    findings, excepted = list(found.findings), list(found.excepted)
    if no_exceptions:
        findings, excepted = [*findings, *(each for each, _ in excepted)], []
    if namespace:
        findings = [each for each in findings if each.subject.ref.namespace == namespace]
        excepted = [each for each in excepted if each[0].subject.ref.namespace == namespace]
    unseen = (*found.unseen, *gathered.unseen_elsewhere(rules), *failures)
    return Report(
        Evaluation(in_order(findings), unseen, tuple(excepted)),
        gathered.manifests,
        frozenset(gathered.denied),
        failed=bool(failures),
    )


def _print(report: "Report", output: Format, command: str, *, show_excepted: bool) -> None:
    from troth.cli.audit.code_scanning import sarif_document  # noqa: PLC0415
    from troth.cli.audit.render import markdown_report, show  # noqa: PLC0415

    match output:
        case Format.TEXT:
            show(console(), report, command, excepted=show_excepted)
        case Format.MARKDOWN:
            typer.echo(markdown_report(report, excepted=show_excepted), nl=False)
        case Format.SARIF:
            typer.echo(json.dumps(sarif_document(report), indent=2))
        case _:
            typer.echo(structured(report.document(), output), nl=False)


def _print_faults(report: "Report") -> None:
    from troth.cli.quoting import quoted  # noqa: PLC0415

    shown = console(errors=True, wrap=False)
    for each in report.manifests.faults:
        shown.print(quoted(f"{each}"), style="red", markup=False)


def _print_fix(gathered: "Gathered", report: "Report", identifier: str, output: Format) -> None:
    from troth.audit.registry import RULE_BY_ID  # noqa: PLC0415
    from troth.cli.audit.fixes import fix_document, fix_text  # noqa: PLC0415

    every = [*report.evaluation.findings, *(each for each, _ in report.evaluation.excepted)]
    found = next((each for each in every if each.id.lower() == identifier.lower()), None)
    if found is None:
        sentence = f"no finding has the ID {identifier!r}; the command without --fix lists them"
        raise typer.BadParameter(sentence, param_hint="--fix")
    fix = RULE_BY_ID[found.rule].fix(gathered.scene, found)
    if output in (Format.JSON, Format.YAML):
        typer.echo(structured(fix_document(found, fix), output), nl=False)
    else:
        typer.echo(fix_text(found, fix), nl=False)


def _describe_rules(explain: str, output: Format) -> None:
    from troth.audit.registry import RULES  # noqa: PLC0415
    from troth.cli.audit.rules import explanation, rule_document, rule_named  # noqa: PLC0415

    chosen = (rule_named(explain),) if explain else RULES
    if output in (Format.JSON, Format.YAML):
        document = {"rules": [rule_document(each) for each in chosen]}
        typer.echo(structured(document, output), nl=False)
    elif explain:
        typer.echo(explanation(chosen[0]), nl=False)
    else:
        for each in chosen:
            typer.echo(f"{each.id}  {each.severity.value:8}  {each.name}: {each.title}")


def _command(
    files: Sequence[Path] | None,
    kubeconfig: Path | None,
    context: str | None,
    namespace: str,
    watched_namespaces: str,
) -> str:
    """Return the command line that shows a fix, but for the ID of the finding."""
    options = [("-f", str(each)) for each in files or ()]
    options += [("--kubeconfig", str(kubeconfig))] if kubeconfig is not None else []
    options += [("--context", context)] if context else []
    options += [("-n", namespace)] if namespace else []
    options += [(WATCHED, watched_namespaces)] if watched_namespaces else []
    words = [word for option in options for word in option]
    return shlex.join(["troth", "audit", *words, "--fix"])
