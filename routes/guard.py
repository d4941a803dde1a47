"""The only place where a request is let through or turned away: on the very route that answers it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, Literal, Protocol, override

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from auth.access import Access, Action, Policy, Verdict, current_verdict
from auth.client_address import network_of
from auth.identity import ANONYMOUS, Identity, current_identity
from auth.keys.key import KeyIdentity
from auth.policy import audit
from auth.rate import TooManyRequests
from orchestration.job import Job
from routes.errors import prefers_page
from routes.http.challenge import refused_access
from routes.http.language import SCOPE_KEY
from routes.http.problem import Problem, no_such_collection, no_such_job, no_such_process
from routes.resources import Collection, Resources, listed_processes, resources_of
from sql.reading import cancellable

Endpoint = Callable[[Request], Awaitable[Response]]
Threads = Literal["light", "heavy"]
"""Which of the resources' threads an endpoint runs in."""
ReadBody = Callable[[Request], Awaitable[bytes]]
"""Reads the body of a request, and refuses one that is too large or of another type."""
_COLLECTION = "collection_id"


@dataclass(frozen=True, slots=True)
class Later:
    """What an endpoint returns for an answer that costs much: it is made in other threads, light ones pass it."""

    make: Callable[[], Response]
    threads: Literal["heavy", "large"] = "large"


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
    """An action on the resource in the path, of this `type`: a collection, a STAC collection or a process."""

    action: Action
    parameter: str
    type: str = "collection"

    async def admit(self, request: Request) -> Verdict:
        """Ask the policy; first of all, a resource that the caller may not discover is answered as an unknown one."""
        return self.permitted(request)

    def permitted(self, request: Request, choose: Callable[[Request], Action] | None = None) -> Verdict:
        """Return the verdict; `choose` names another action, by `request.state.collection` too.

        Raises Problem: 404 for a resource that is unknown to the caller, and the refusal.
        """
        identity, resources = current_identity.get(), resources_of(request)
        name: str = request.path_params[self.parameter]
        entry = resources.configured.get(name)
        is_there = entry is not None and entry["type"] == self.type
        if not is_there or not resources.policy(identity, Access(Action.DISCOVER, name)).allowed:
            audit(identity, Access(Action.DISCOVER, name[:80]), Verdict(allowed=False))
            if self.parameter == _COLLECTION:
                raise no_such_collection(name)
            raise no_such_process(name, listed_processes(resources.api))
        if self.parameter == _COLLECTION:
            request.state.collection = resources.collections[name]
        access = Access(self.action if choose is None else choose(request), name)
        verdict = resources.policy(identity, access)
        audit(identity, access, verdict)
        return _let_in(request, identity, verdict)

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Ask the policy."""
        return resources.policy(ANONYMOUS, Access(self.action, parameters[self.parameter])).allowed


@dataclass(frozen=True, slots=True)
class OnServer:
    """An action on the server itself."""

    action: Action

    async def admit(self, request: Request) -> Verdict:
        """Ask the policy. Raises the refusal."""
        identity, access = current_identity.get(), Access(self.action)
        verdict = resources_of(request).policy(identity, access)
        audit(identity, access, verdict)
        return _let_in(request, identity, verdict)

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Ask the policy."""
        del parameters
        return resources.policy(ANONYMOUS, Access(self.action)).allowed


@dataclass(frozen=True, slots=True)
class OnProcesses:
    """An action on any process: whoever may do it to one of them is let in."""

    action: Action

    async def admit(self, request: Request) -> Verdict:
        """Let in whom the policy lets at one of them, in the order of the configuration. Raises the refusal."""
        identity, resources = current_identity.get(), resources_of(request)
        for access in (Access(self.action, name) for name in resources.processes.processors):
            if resources.policy(identity, access).allowed:
                return permit(request, access)
        verdict = Verdict(allowed=False, reason="this needs the right to order")
        audit(identity, Access(self.action), verdict)
        raise refusal(request, identity, verdict)

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Ask the policy of every process."""
        del parameters
        return is_public_for_one(resources, self.action, resources.processes.processors)


@dataclass(frozen=True, slots=True)
class OnJobs:
    """The list of jobs, of which everybody sees their own: it needs a caller who is known."""

    async def admit(self, request: Request) -> Verdict:
        """Let in who is known."""
        identity = current_identity.get()
        known = identity.method != ANONYMOUS.method
        verdict = _LISTED if known else Verdict(allowed=False, reason="the list of jobs needs a login")
        audit(identity, Access(Action.READ_OWN_JOBS), verdict)
        return _let_in(request, identity, verdict)

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
        request.state.job, verdict = await self.permitted(request, request.path_params["job_id"])
        return verdict

    async def permitted(self, request: Request, job_id: str) -> tuple[Job, Verdict]:
        """Return the job and the verdict that allows the action on it. Raises the Problem that refuses it."""
        identity, resources = current_identity.get(), resources_of(request)
        job = await resources.in_light(resources.store.get, job_id)
        if job is None:
            audit(identity, Access(self.own), Verdict(allowed=False), job=job_id[:80])
            raise no_such_job(job_id)
        verdict, access = self._verdict(resources.policy, identity, job)
        audit(identity, access, verdict, job=job.id)
        if not verdict.allowed:
            raise refusal(request, identity, verdict) if _sees(resources.policy, identity, job) else no_such_job(job_id)
        if verdict.rates:
            _count(request, identity, verdict)
        return job, verdict

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
        return is_public_for_one(resources, self.own, resources.api.config["resources"])


def is_public_for_one(resources: Resources, action: Action, names: Iterable[str]) -> bool:
    """Return whether a caller without credentials may do this to one of them."""
    return any(resources.policy(ANONYMOUS, Access(action, name)).allowed for name in names)


def _sees(policy: Policy, identity: Identity, job: Job) -> bool:
    """Say whether the caller may know that there is the job, though not do this to it."""
    if policy(identity, Access(Action.READ_ALL_JOBS, job.order.process)).allowed:
        return True
    return job.order.owner == identity.owner and identity.method != ANONYMOUS.method


NOTHING = Nothing()
ADMINISTRATION = OnServer(Action.ADMINISTER)
JOBS = OnJobs()
READ_JOB = OnJob(Action.READ_OWN_JOBS, Action.READ_ALL_JOBS)
UPDATE_JOB = OnJob(Action.ADMINISTER, Action.ADMINISTER)
DISMISS_JOB = OnJob(Action.DISMISS_OWN_JOBS, Action.DISMISS_ALL_JOBS)


def on_collection(action: Action) -> OnResource:
    """Return the need of an action on the collection of the path."""
    return OnResource(action, _COLLECTION)


def on_process(action: Action) -> OnResource:
    """Return the need of an action on the process of the path."""
    return OnResource(action, "process_id", "process")


@dataclass(frozen=True, slots=True)
class ForeignEndpoint:
    """The endpoint for foreign providers of these kinds, called in the collection's own threads."""

    endpoint: Callable[[Request], Response]
    kinds: frozenset[str]


def for_foreign(endpoint: Callable[[Request], Response], *kinds: str) -> ForeignEndpoint:
    """Return the endpoint for foreign providers of these kinds."""
    return ForeignEndpoint(endpoint, frozenset(kinds))


class GuardedRoute(Route):
    """A route that says what it needs; no other kind is served.

    An endpoint that works or waits is a plain function that runs in `threads`; without them it is a coroutine.
    `body` reads the request's body first, into `request.state.body`. `foreign` answers instead if the collection's
    provider of such a kind is foreign.
    """

    def __init__(
        self,
        path: str,
        endpoint: Endpoint | Callable[[Request], Response | Later],
        *,
        needs: Needs,
        threads: Threads | None = None,
        body: ReadBody | None = None,
        foreign: ForeignEndpoint | None = None,
        methods: list[str] | None = None,
        include_in_schema: bool = True,
    ) -> None:
        answer = endpoint if threads is None else _in_threads(endpoint, threads, body, foreign)
        super().__init__(path, _guarded(answer, needs), methods=methods, include_in_schema=include_in_schema)
        self.needs = needs

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the route for the log and the metrics, and answer."""
        scope.setdefault(SCOPE_KEY, {})["route"] = self.path
        await super().handle(scope, receive, send)

    def with_ids(self, ids: Iterable[str]) -> "GuardedRoute":
        """Return the route for collections of these ids, which may have slashes; the longest that fits is taken.

        What the path names is decided here, once: the group is atomic, so no shorter id is tried after it.
        """
        route = copy(self)
        longest_first = "|".join(re.escape(each) for each in sorted(ids, key=len, reverse=True))
        one = f"(?P<{_COLLECTION}>(?>(?:{longest_first})(?=/|$)|[^/]+))"
        route.path_regex = re.compile(self.path_regex.pattern.replace(f"(?P<{_COLLECTION}>[^/]+)", one))
        return route


def _in_threads(endpoint: Any, threads: Threads, body: ReadBody | None, foreign: ForeignEndpoint | None) -> Endpoint:
    @wraps(endpoint)
    async def threaded(request: Request) -> Response:
        asked: Collection | None = getattr(request.state, "collection", None)
        if foreign is not None and asked is not None and foreign.kinds & asked.foreign:
            return await asked.threads.run(partial(foreign.endpoint, request))
        if body is not None:
            request.state.body = await body(request)
        limiter = getattr(request.app.state.resources, threads)
        call = partial(anyio.to_thread.run_sync, endpoint, request, limiter=limiter)
        of_database = request.method == "GET" and asked is not None and asked.asks_database
        answer: Response | Later = await (_while_it_listens(request, call) if of_database else call())
        if not isinstance(answer, Later):
            return answer
        limiter = getattr(request.app.state.resources, answer.threads)
        call = partial(anyio.to_thread.run_sync, answer.make, limiter=limiter)
        made: Response = await (_while_it_listens(request, call) if of_database else call())
        return made

    return threaded


async def _while_it_listens[T](request: Request, call: Callable[[], Awaitable[T]]) -> T:
    """Return what a call returns; what it asks of a database is cancelled once the client has gone."""
    with cancellable() as cancel:
        watching = asyncio.create_task(_cancel_when_gone(request, cancel))
        try:
            return await call()
        finally:
            watching.cancel()


async def _cancel_when_gone(request: Request, cancel: Callable[[], None]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    await anyio.to_thread.run_sync(cancel)


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
    return _let_in(request, identity, verdict)


def _let_in(request: Request, identity: Identity, verdict: Verdict) -> Verdict:
    if not verdict.allowed:
        raise refusal(request, identity, verdict)
    if verdict.rates:
        _count(request, identity, verdict)
    return verdict


def _count(request: Request, identity: Identity, verdict: Verdict) -> None:
    """Count the request of this caller: by key, by person, and by address for whom nobody knows. Raises Problem 429."""
    caller = identity.key_id if isinstance(identity, KeyIdentity) else identity.owner
    if identity.method == ANONYMOUS.method:
        peer = request.client.host if request.client else ""
        caller = network_of(request.app.state.authenticator.address(request.scope["headers"], peer))
    try:
        request.app.state.rates.admit(f"{identity.method}\0{caller}", verdict.rates)
    except TooManyRequests as error:
        retry = {"Retry-After": str(error.seconds)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=retry) from error


def refusal(request: Request, identity: Identity, verdict: Verdict) -> Problem:
    """Return the 401 or 403 of `refused_access` for a verdict."""
    known = identity.method != ANONYMOUS.method
    return refused_access(verdict.reason, known=known, page=prefers_page(request))
