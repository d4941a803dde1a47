"""The middleware between the server and the routes.

From the outside in, as `server.app` nests them, inside of `Tracing` where there is a collector of traces:

1. `Edge`: the request's id and target, the headers of every answer, and one line in the log at its end.
2. `Compression`: JSON and pages.
3. `Bounds`: how many requests at once, how long, how large a body.
4. `Failures`: the outermost handler; an unknown error is logged and answered with 500.
5. `Authentication`: the caller's identity.
6. `Options`: the allowed methods of a path.

Then Starlette's own: `routes.errors.HANDLERS`, the router.
"""
