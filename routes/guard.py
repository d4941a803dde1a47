"""The only place where a request is let through or turned away: on the very route that answers it."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, Literal, Protocol

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from auth.access import Access, Action, Policy, Verdict, current_verdict
from auth.audit import audit
from auth.identity import ANONYMOUS, Identity, current_identity
from orchestration.job import Job
from routes.collection import collection_of
from routes.errors import prefers_page
from routes.http.challenge import BASIC, BEARER
from routes.http.problem import Problem, no_such_collection, no_such_job, no_such_process
from routes.resources import Resources, listed_processes, resources_of

Endpoint = Callable[[Request], Awaitable[Response]]
Threads = Literal["light", "heavy"]
"""Which of the resources' threads an endpoint runs in."""
_COLLECTION = "collection_id"
_LISTED = Verdict(allowed=True, rule="own-jobs")


class Needs(Protocol):
    """What a route needs before its endpoint is called."""

    async def admit(self, request: Request) -> Verdict:
        """Return the verdict that lets the request in. Raises the Problem that turns it away."""

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Say whether a caller without credentials may be let in, at these parameters of the path."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The route answers everybody, and shows nothing but what its caller may see."""

    async def admit(self, request: Request) -> Verdict:
        """Let everybody in."""
        del request
        return Verdict(allowed=True)

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Everybody may."""
        del resources, parameters
        return True


@dataclass(frozen=True, slots=True)
class OnResource:
    """An action on the collection or process that the path names."""

    action: Action
    parameter: str

    async def admit(self, request: Request) -> Verdict:
        """Let in whom the policy lets; what may not be seen is answered as what is not there, before anything else."""
        identity, resources = current_identity.get(), resources_of(request)
        name = request.path_params[self.parameter]
        if not _is_there(resources, name, self.parameter):
            audit(identity, Access(Action.DISCOVER, name[:80]), Verdict(allowed=False))
            raise _unknown(resources, name, self.parameter)
        if self.parameter == _COLLECTION:
            request.state.collection = resources.collections[name]
        return permit(request, Access(self.action, name))

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Ask the policy."""
        return resources.policy(ANONYMOUS, Access(self.action, parameters[self.parameter])).allowed


@dataclass(frozen=True, slots=True)
class OnJobs:
    """The list of jobs, of which everybody sees their own: it needs a caller who is known."""

    async def admit(self, request: Request) -> Verdict:
        """Let in who is known."""
        identity = current_identity.get()
        known = identity.method != ANONYMOUS.method
        verdict = _LISTED if known else Verdict(allowed=False, reason="the list of jobs needs a login")
        audit(identity, Access(Action.READ_OWN_JOBS), verdict)
        if not known:
            raise refusal(request, identity, verdict)
        return verdict

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Nobody unknown may."""
        del resources, parameters
        return False


@dataclass(frozen=True, slots=True)
class OnJob:
    """An action on the job that the path names: on one's own, or on anybody's job of a process.

    Where it is to administer, it is for administrators alone, whoever's job it is.
    """

    own: Action
    of_all: Action

    async def admit(self, request: Request) -> Verdict:
        """Let in the owner, and whom the policy lets at all jobs of the process; the job is left in the request."""
        identity, resources = current_identity.get(), resources_of(request)
        job_id: str = request.path_params["job_id"]
        job = await anyio.to_thread.run_sync(resources.store.get, job_id, limiter=resources.light)
        if job is None:
            audit(identity, Access(self.own), Verdict(allowed=False), job=job_id[:80])
            raise no_such_job(job_id)
        verdict, access = self._verdict(resources.policy, identity, job)
        audit(identity, access, verdict, job=job.id)
        if not verdict.allowed:
            raise refusal(request, identity, verdict) if _sees(resources.policy, identity, job) else no_such_job(job_id)
        request.state.job = job
        return verdict

    def _verdict(self, policy: Policy, identity: Identity, job: Job) -> tuple[Verdict, Access]:
        access = Access(Action.ADMINISTER)
        if (verdict := policy(identity, access)).allowed or self.of_all is Action.ADMINISTER:
            return verdict, access
        access = Access(self.of_all, job.order.process)
        verdict = policy(identity, access)
        if not verdict.allowed and job.order.owner == identity.owner:
            access = Access(self.own, job.order.process)
            verdict = policy(identity, access)
        return verdict, access

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Ask the policy of every process: a job that nobody known has ordered is its orderer's by its id."""
        del parameters
        names = resources.api.config["resources"]
        return any(resources.policy(ANONYMOUS, Access(self.own, name)).allowed for name in names)


def _sees(policy: Policy, identity: Identity, job: Job) -> bool:
    """Say whether the caller may know that there is the job, though not do this to it."""
    if policy(identity, Access(Action.READ_ALL_JOBS, job.order.process)).allowed:
        return True
    return job.order.owner == identity.owner and identity.method != ANONYMOUS.method


NOTHING = Nothing()
JOBS = OnJobs()
READ_JOB = OnJob(Action.READ_OWN_JOBS, Action.READ_ALL_JOBS)
UPDATE_JOB = OnJob(Action.ADMINISTER, Action.ADMINISTER)
DISMISS_JOB = OnJob(Action.DISMISS_OWN_JOBS, Action.DISMISS_ALL_JOBS)


def on_collection(action: Action) -> OnResource:
    """Return the need of an action on the collection of the path."""
    return OnResource(action, _COLLECTION)


def on_process(action: Action) -> OnResource:
    """Return the need of an action on the process of the path."""
    return OnResource(action, "process_id")


@dataclass(frozen=True, slots=True)
class ForeignEndpoint:
    """What answers, in the collection's own threads, for a provider of these kinds that is not ours."""

    endpoint: Callable[[Request], Response]
    kinds: frozenset[str]


def for_foreign(endpoint: Callable[[Request], Response], *kinds: str) -> ForeignEndpoint:
    """Return what answers for foreign providers of these kinds."""
    return ForeignEndpoint(endpoint, frozenset(kinds))


class GuardedRoute(Route):
    """A route that says what it needs; no other kind is served.

    An endpoint that works or waits is a plain function that runs in `threads`; without them it is a coroutine.
    `foreign` answers where the collection's provider of such a kind is not ours.
    """

    def __init__(
        self,
        path: str,
        endpoint: Endpoint | Callable[[Request], Response],
        *,
        needs: Needs,
        threads: Threads | None = None,
        foreign: ForeignEndpoint | None = None,
        methods: list[str] | None = None,
        include_in_schema: bool = True,
    ) -> None:
        super().__init__(
            path,
            _guarded(endpoint if threads is None else _in_threads(endpoint, threads, foreign), needs),
            methods=methods,
            include_in_schema=include_in_schema,
        )
        self.needs = needs

    def with_ids(self, ids: Collection[str]) -> "GuardedRoute":
        """Return the route for collections of these ids, which may have slashes; the longest that fits is taken.

        What the path names is decided here, once: the group is atomic, so no shorter id is tried after it.
        """
        route = copy(self)
        longest_first = "|".join(re.escape(each) for each in sorted(ids, key=len, reverse=True))
        one = f"(?P<{_COLLECTION}>(?>(?:{longest_first})(?=/|$)|[^/]+))"
        route.path_regex = re.compile(self.path_regex.pattern.replace(f"(?P<{_COLLECTION}>[^/]+)", one))
        return route


def _in_threads(endpoint: Any, threads: Threads, foreign: ForeignEndpoint | None) -> Endpoint:
    @wraps(endpoint)
    async def threaded(request: Request) -> Response:
        if foreign is not None and foreign.kinds & collection_of(request).foreign:
            return await collection_of(request).threads.run(partial(foreign.endpoint, request))
        limiter = getattr(resources_of(request), threads)
        answer: Response = await anyio.to_thread.run_sync(endpoint, request, limiter=limiter)
        return answer

    return threaded


def _guarded(endpoint: Any, needs: Needs) -> Endpoint:
    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        reset = current_verdict.set(await needs.admit(request))
        try:
            answer: Response = await endpoint(request)
            return answer
        finally:
            current_verdict.reset(reset)

    return guarded


def permit(request: Request, access: Access) -> Verdict:
    """Return the policy's verdict, noted in the audit log. Raises the refusal."""
    identity = current_identity.get()
    verdict = resources_of(request).policy(identity, access)
    audit(identity, access, verdict)
    if not verdict.allowed:
        raise refusal(request, identity, verdict)
    return verdict


def refusal(request: Request, identity: Identity, verdict: Verdict) -> Problem:
    """Return the 401 for a caller without credentials, the 403 for one who is known: what is missing.

    A browser is not challenged for a password, which is not how people sign in.
    """
    if identity.method != ANONYMOUS.method:
        return Problem(HTTPStatus.FORBIDDEN, verdict.reason)
    challenge = BEARER if prefers_page(request) else f"{BEARER}, {BASIC}"
    return Problem(HTTPStatus.UNAUTHORIZED, verdict.reason, headers={"WWW-Authenticate": challenge})


def _is_there(resources: Resources, name: str, parameter: str) -> bool:
    resource: Mapping[str, Any] = resources.api.config["resources"].get(name, {})
    return bool(resource.get("type") == parameter.removesuffix("_id"))


def _unknown(resources: Resources, name: str, parameter: str) -> Problem:
    if parameter == _COLLECTION:
        return no_such_collection(name)
    return no_such_process(name, listed_processes(resources.api))
