"""What a query may ask."""

from collections.abc import Collection

from starlette.requests import Request

from routes.http.problem import bad_parameter


def allow_parameters(request: Request, *names: str, repeatable: Collection[str] = (), one_form: bool = False) -> None:
    """Raise the 400 Problem for a parameter that is not among `names`, or is given twice.

    `f` is one of them, unless there is only `one_form`. Those in `repeatable` are allowed, and allowed more than once.
    """
    allowed = {*names, *repeatable, *(() if one_form else ("f",))}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if name not in allowed:
            raise bad_parameter(name, values[0], f"unknown parameter; allowed: {', '.join(sorted(allowed)) or 'none'}")
        if len(values) > 1 and name not in repeatable:
            raise bad_parameter(name, ", ".join(values), "allowed once")


def read_list(request: Request, name: str) -> str | None:
    """Return the values of a list with commas between them, None without the parameter.

    Some clients that are made from the definition repeat the parameter for each value, though it says `explode: false`.
    """
    values = request.query_params.getlist(name)
    return ",".join(values) if values else None
