"""The policy, as hand-written tables of callers and their rights."""

from pathlib import Path
from typing import Any

import pytest

from auth.access import UNLIMITED, Access, Action, Limits
from auth.identity import ANONYMOUS, LOCAL, Identity
from auth.keys.key import KeyIdentity, KeyScope
from auth.policy import OPEN, GrantPolicy
from auth.policy_file import COLLECTIONS, PolicyNames, policy_of, read_policy
from auth.policy_problems import InvalidPolicy
from processes.loading import shipped_names

KNOWN = PolicyNames.of({}, shipped_names())
EXAMPLE = Path("deploy/policy.yml")
ISSUER = "https://sso.example.org/realms/land"


def known(name: str, *roles: str, **members: Any) -> Identity:
    return Identity(f"{ISSUER}|{name}", subject=name, roles=frozenset(roles), method="token", **members)


NOBODY_ELSE = known("nemo")
USER, ADMIN, GAF, GEOVILLE = (known(role, role) for role in ("user", "admin", "gaf", "geoville"))


def by_key(scope: KeyScope, *roles: str) -> Identity:
    return KeyIdentity(f"{ISSUER}|u", subject="u", roles=frozenset(roles), method="key", key_id="k", key_scope=scope)


def policy(**grants: Any) -> GrantPolicy:
    return policy_of({"grants": grants}, KNOWN)


def may(decide: GrantPolicy, identity: Identity, action: str, resource: str | None = None) -> bool:
    return decide(identity, Access(Action(action), resource)).allowed


#  action, resource, and whether anonymous, known without a role, user, admin, gaf, geoville may
OLD_RULES = [
    ("read-items", "parks", "yyyyyy"),
    ("read-map", "clcplus-raster", "yyyyyy"),
    ("read-coverage", "clcplus-raster", "yyyyyy"),
    ("download", "clcplus-raster", "nyyyyy"),
    ("discover", "nations", "nyyyyy"),
    ("read-items", "nations", "nyyyyy"),
    ("discover", "extract-product", "yyyyyy"),
    ("execute", "extract-product", "nnyynn"),
    ("execute", "national-product", "nnyynn"),
    ("read-own-jobs", "extract-product", "nnyynn"),
    ("dismiss-own-jobs", "extract-product", "nnyynn"),
    ("read-all-jobs", "extract-product", "nnnynn"),
    ("discover", "apply-model", "nnnyyy"),
    ("execute", "apply-model", "nnnyyn"),
    ("execute", "apply-model-testing", "nnnyyn"),
    ("execute", "sample-extraction", "nnnyyn"),
    ("read-own-jobs", "apply-model", "nnnyyn"),
    ("read-all-jobs", "apply-model", "nnnyny"),
    ("dismiss-all-jobs", "apply-model", "nnnyny"),
    ("read-all-jobs", "echo", "nnnynn"),
    ("administer", None, "nnnynn"),
    ("read-items", "no-such-collection", "nnnnnn"),
    ("execute", "parks", "nnnnnn"),
]


@pytest.mark.parametrize(("action", "resource", "answers"), OLD_RULES)
def test_the_example_keeps_the_old_rules(action: str, resource: str | None, answers: str) -> None:
    decide = read_policy(EXAMPLE, KNOWN)
    callers = (ANONYMOUS, NOBODY_ELSE, USER, ADMIN, GAF, GEOVILLE)
    assert "".join("ny"[may(decide, caller, action, resource)] for caller in callers) == answers


def test_an_action_without_a_grant_is_refused_with_the_missing_right() -> None:
    decide = read_policy(EXAMPLE, KNOWN)
    verdict = decide(NOBODY_ELSE, Access(Action.EXECUTE, "extract-product"))
    assert not verdict.allowed
    assert verdict.reason == "execute of extract-product needs role admin or role user"


def test_only_the_local_caller_of_an_open_server_may_do_everything() -> None:
    assert may(OPEN, LOCAL, "administer")
    assert not may(OPEN, ANONYMOUS, "discover", "parks")
    assert not may(OPEN, ADMIN, "discover", "parks")


@pytest.mark.parametrize(
    "identity",
    [
        known("a", "boss"),
        known("a", scopes=frozenset({"boss"})),
        known("a", groups=frozenset({"/survey"})),
        known("b"),
        Identity(f"{ISSUER}|b", subject="b", method="session"),
    ],
)
def test_any_member_of_who_suffices(identity: Identity) -> None:
    document = {
        "roles": ["boss"],
        "grants": {
            "some": {
                "who": {"role": "boss", "group": "/survey", "user": [f"{ISSUER}|b"]},
                "may": "execute",
                "processes": "echo",
            }
        },
    }
    assert may(policy_of(document, KNOWN), identity, "execute", "echo")
    assert not may(policy_of(document, KNOWN), known("c", "/survey", "b"), "execute", "echo")


def test_a_scope_is_a_scope_and_no_role() -> None:
    decide = policy(some={"who": {"scope": "products"}, "may": "execute", "processes": "echo"})
    assert may(decide, known("a", scopes=frozenset({"products"})), "execute", "echo")
    assert not may(decide, known("a", "products"), "execute", "echo")


@pytest.mark.parametrize(
    ("scope", "action", "resource", "allowed"),
    [
        ("read", "read-items", "nations", True),
        ("read", "download", "clcplus-raster", True),
        ("read", "read-own-jobs", "echo", True),
        ("read", "execute", "echo", False),
        ("read", "dismiss-own-jobs", "echo", False),
        ("order", "execute", "echo", True),
        ("order", "dismiss-own-jobs", "echo", True),
        ("order", "read-all-jobs", "echo", False),
        ("order", "administer", None, False),
    ],
)
def test_a_key_is_limited_by_its_scope(scope: KeyScope, action: str, resource: str | None, *, allowed: bool) -> None:
    """Attack: use a key for maps, found in a QGIS project, to order or to administer."""
    decide = read_policy(EXAMPLE, KNOWN)
    assert may(decide, by_key(scope, "admin"), action, resource) is allowed


def test_a_verdict_is_cached_for_its_caller_and_access() -> None:
    decide = read_policy(EXAMPLE, KNOWN)
    access = Access(Action.READ_ITEMS, "parks")
    assert decide(USER, access) is decide(known("user", "user"), access)
    again = known("user")  # the same person, whose role is gone
    assert (may(decide, USER, "execute", "extract-product"), may(decide, again, "execute", "extract-product")) == (
        True,
        False,
    )
    one = KeyIdentity(USER.owner, subject="user", roles=USER.roles, method="key", key_id="k", key_scope="order")
    other = KeyIdentity(USER.owner, subject="user", roles=USER.roles, method="key", key_id="k", key_scope="read")
    assert (may(decide, one, "execute", "extract-product"), may(decide, other, "execute", "extract-product")) == (
        True,
        False,
    )


def test_invented_names_are_not_cached() -> None:
    """Attack: fill the memory with verdicts on long, non-existent ids."""
    decide = read_policy(EXAMPLE, KNOWN)
    may(decide, USER, "read-items", "parks")
    for number in range(10):
        assert not may(decide, USER, "read-items", f"{'x' * 1000}{number}")
    assert len(decide._verdicts) == 1


def test_the_least_restricted_grant_counts() -> None:
    everybody = {"who": "public", "may": "read-items", "collections": "parks", "rows": "iucn = 'II'"}
    decide = policy(public=everybody, users={"who": {"role": "user"}, "may": "read-items", "collections": "parks"})
    assert decide(ANONYMOUS, Access(Action.READ_ITEMS, "parks")).rows == ("iucn = 'II'",)
    assert decide(USER, Access(Action.READ_ITEMS, "parks")).rows is None
    assert decide(ANONYMOUS, Access(Action.DISCOVER, "parks")).rows is None


def test_restrictions_of_several_grants_are_combined() -> None:
    box = "POLYGON((20 50, 21 50, 21 51, 20 51, 20 50))"
    grant = {"who": "public", "may": "read-map", "collections": "clcplus-raster"}
    decide = policy(
        one={**grant, "area": {"polygon": box}}, other={**grant, "area": {"polygon": box.replace("21", "22")}}
    )
    area = decide(ANONYMOUS, Access(Action.READ_MAP, "clcplus-raster")).area
    assert area is not None
    assert area.geometry.bounds == (20, 50, 22, 51)


def test_limits_of_several_grants_are_alternatives() -> None:
    grant = {"who": {"role": "user"}, "may": "execute", "processes": "echo"}
    decide = policy(
        small={**grant, "limits": {"largest-order-km2": 10}}, few={**grant, "limits": {"open-orders": 1}}, no=grant
    )
    limits = decide(USER, Access(Action.EXECUTE, "echo")).limits
    assert limits == (Limits(km2=10), Limits(open_orders=1), UNLIMITED)


ORDER: dict[str, Any] = {"who": "public", "may": "execute", "processes": "echo"}
READ: dict[str, Any] = {"who": "public", "may": "read-items", "collections": "parks"}


@pytest.mark.parametrize(
    ("grant", "problem"),
    [
        ({"who": {"role": "boss"}, "may": "administer"}, "grants.g.who.role: 'boss' is no role; allowed: admin"),
        ({"who": "everyone", "may": "administer"}, "grants.g.who: 'everyone'; allowed: public, authenticated"),
        ({"who": {}, "may": "administer"}, "grants.g.who: {}; allowed: public"),
        ({"may": "administer"}, "grants.g.who: None; allowed: public"),
        ({"who": {"rôle": "x"}, "may": "administer"}, "grants.g.who.rôle: unknown; allowed: role"),
        ({"who": {"role": [1]}, "may": "administer"}, "grants.g.who.role: [1] is neither a string"),
        ({"who": "public", "may": "fly"}, "grants.g.may: 'fly' is no action; allowed: discover"),
        ({"who": "public"}, "grants.g.may: None is neither a string"),
        ({"who": "public", "may": []}, "grants.g.may: [] is neither a string"),
        (
            {"who": "public", "may": "read-items", "collections": "parx"},
            "grants.g.collections: 'parx' is none of clcplus-raster, ",
        ),
        (
            {"who": "public", "may": "execute", "processes": ["echo", "ekko"]},
            "grants.g.processes: 'ekko' is none of apply-model",
        ),
        ({"who": "public", "may": "execute", "collections": "*"}, "grants.g: execute needs processes"),
        ({"who": "public", "may": "read-items", "processes": "*"}, "grants.g: read-items needs collections"),
        ({"who": "public", "may": "discover"}, "grants.g: discover needs collections or processes"),
        ({"who": "public", "may": "administer", "unless": 1}, "grants.g.unless: unknown; allowed: who, may"),
        ({"who": "public", "may": "administer", "limits": 1}, "grants.g.limits: 1 is not a mapping"),
        (
            {"who": "public", "may": "administer", "limits": {"largest-order-km2": 0}},
            "grants.g.limits.largest-order-km2: 0; allowed: a number above 0",
        ),
        (
            {"who": "public", "may": "administer", "limits": {"largest-order-km2": True}},
            "grants.g.limits.largest-order-km2: True; allowed: a number above 0",
        ),
        (
            {"who": "public", "may": "administer", "limits": {"open-orders": 0.5}},
            "grants.g.limits.open-orders: 0.5; allowed: a whole number",
        ),
        (
            {"who": "public", "may": "administer", "limits": {"order-area": {"nation": "Atlantis"}}},
            "grants.g.limits.order-area: 'Atlantis' is not a nation",
        ),
        (
            {"who": "public", "may": "administer", "limits": {"order-area": {"polygon": "POINT(1 1)"}}},
            "grants.g.limits.order-area: The area is not readable",
        ),
        ({"who": "public", "may": "administer", "area": "here"}, "grants.g.area: 'here'; allowed: {nation: NAME}"),
        ({"who": "public", "may": "administer", "rows": 1}, "grants.g.rows: 1 is not a filter"),
        (5, "grants.g: must be a mapping"),
        # What stands there and would bound nothing.
        ({**ORDER, "limits": {"open-orders": None}}, "grants.g.limits.open-orders: has no value"),
        ({**ORDER, "limits": {"order-area": None}}, "grants.g.limits.order-area: has no value"),
        ({**READ, "area": None}, "grants.g.area: has no value"),
        ({**READ, "rows": None}, "grants.g.rows: has no value"),
        ({**READ, "limits": {"open-orders": 1}}, "grants.g.limits: limits apply to orders"),
        ({**ORDER, "area": {"nation": "POLAND"}}, "grants.g.area: restricts reading of collections; orders are"),
        ({**READ, "processes": "*"}, "grants.g.processes: no action in may applies to processes"),
        ({"who": "public", "may": "administer", "collections": "*"}, "grants.g.collections: no action in may applies"),
    ],
)
def test_a_mistake_is_named_and_never_ignored(grant: Any, problem: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        policy(g=grant)
    assert any(each.startswith(problem) for each in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("document", [None, [], {}, {"grants": {}}, {"grants": []}, {"grants": {"g": {}}, "x": 1}])
def test_a_document_that_is_not_a_policy_is_refused(document: Any) -> None:
    with pytest.raises(InvalidPolicy):
        policy_of(document, KNOWN)


def test_a_repeated_restriction_is_refused(tmp_path: Path) -> None:
    """Mistake: of two equal names YAML readers take the last; here that would remove the limit, or the grant."""
    order = "who: public, may: execute, processes: echo"
    for number, text in enumerate(
        (
            f"grants: {{g: {{{order}, limits: {{open-orders: 1}}, limits: {{open-orders: 9}}}}}}",
            f"grants: {{g: {{{order}, limits: {{open-orders: 1, open-orders: 9}}}}}}",
            f"grants:\n  g: {{{order}, limits: {{open-orders: 1}}}}\n  g: {{{order}}}",
        )
    ):
        path = tmp_path / f"{number}.yml"
        path.write_text(text)
        with pytest.raises(InvalidPolicy, match="is repeated"):
            read_policy(path, KNOWN)
    path.write_text(f"grants:\n  g: &g {{{order}}}\n  h: {{<<: *g, who: authenticated}}")
    assert [grant.name for grant in read_policy(path, KNOWN).grants] == ["g", "h"]


@pytest.mark.parametrize("text", ["grants: [", "\x00"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yml").write_text(text)
    with pytest.raises(InvalidPolicy):
        read_policy(tmp_path / "policy.yml", KNOWN)
    with pytest.raises(InvalidPolicy):
        read_policy(tmp_path / "none.yml", KNOWN)


def test_every_mistake_is_named_at_once() -> None:
    wrong = {"who": {"role": "boss"}, "may": "fly"}
    with pytest.raises(InvalidPolicy) as caught:
        policy(one=wrong, other=wrong)
    assert len(caught.value.problems) == 4


def test_switched_off_processes_count_as_known() -> None:
    assert "apply-model" in shipped_names()
    assert "parks" in COLLECTIONS
    policy(g={"who": "public", "may": "execute", "processes": ["sample-extraction-testing", "area-statistics"]})
