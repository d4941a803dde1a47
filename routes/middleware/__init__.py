"""What stands between the server and the routes.

From the outside in, as `server.app` nests them:

1. `RequestLog`: the request's id, and one line in the log when it is over.
2. `ResponseHeaders`: what every answer carries; HEAD without a body.
3. `Compression`: JSON and pages, smaller.
4. `RequestTarget`: Host and the form of the target, the public address's path prefix, a slash at the end.
5. `Bounds`: how many requests at once, how long, how large a body.
6. `Failures`: the outermost handler; what no table knows becomes a logged 500.
7. `Authentication`: the identity.
8. `Options`: what a route allows.

Then Starlette's own: `routes.errors.HANDLERS`, the router.
"""
