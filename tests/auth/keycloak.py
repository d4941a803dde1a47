"""A real Keycloak with the committed realm: one for all tests, started when the first asks for it."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.ports import free_port

REALM = Path(__file__).parents[2] / "deploy" / "keycloak" / "landcast-realm.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
HOME = Path(os.environ.get("TEST_KEYCLOAK_HOME") or CACHE / "landcast" / "keycloak-26.4.2")
# Started as often as the tests are: the first compiler alone and one thread of collection halve the time and memory.
_JAVA = "-Xms64m -Xmx512m -XX:MaxMetaspaceSize=256m -Dfile.encoding=UTF-8 -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_OPTIONS = ["--optimized", "--import-realm", "--cache=local", "--http-enabled=true", "--hostname-strict=false"]


class Keycloak:
    """A running Keycloak; `issuer` is the realm's address, `admin` calls the realm's administration API."""

    def __init__(self, url: str, *, realm: str = "landcast", admin: str, password: str) -> None:
        self.url = url
        self.realm = realm
        self.issuer = f"{url}/realms/{realm}"
        self._login = {"username": admin, "password": password}
        self._http = httpx2.Client(timeout=30, trust_env=False)
        self._admin_until = 0.0

    def admin(self, method: str, path: str = "", body: Any = None) -> Any:
        """Call the realm's administration API, such as `GET`, `/users`; return the JSON, or a new resource's id."""
        return self._ask_admin(method, f"/admin/realms/{self.realm}{path}", body)

    def add_realm(self, realm: dict[str, Any]) -> None:
        self._ask_admin("POST", "/admin/realms", {**realm, "realm": self.realm})

    def prepare(self) -> None:
        """Add a client for the tests, which gets tokens by user name and password."""
        scopes = ["basic", "profile", "email", "roles", "groups", "landcast"]
        client = {
            "clientId": "test-login",
            "publicClient": True,
            "directAccessGrantsEnabled": True,
            "standardFlowEnabled": False,
            "fullScopeAllowed": False,
            "defaultClientScopes": scopes,
            "optionalClientScopes": ["offline_access", "products", "production"],
        }
        made = self.admin("POST", "/clients", client)
        ours = self._roles("admin", "user", "gaf", "geoville")
        self.admin("POST", f"/clients/{made}/scope-mappings/realm", ours)
        # One whose tokens are for nobody of ours: it lacks the scope with the audience mapper.
        self.admin("POST", "/clients", {**client, "clientId": "test-other", "defaultClientScopes": scopes[:-1]})

    def other(self, realm: str) -> "Keycloak":
        """Add another realm like this one, with its own issuer; return it. `remove` deletes it."""
        other = Keycloak(self.url, realm=realm, admin=self._login["username"], password=self._login["password"])
        other.add_realm(_realm())
        other.prepare()
        return other

    def remove(self) -> None:
        self.admin("DELETE")
        self.close()

    def close(self) -> None:
        self._http.close()

    def add_user(self, name: str, *roles: str, groups: Collection[str] = ()) -> str:
        """Add a user whose password is their name; return their id."""
        user = {
            "username": name,
            "enabled": True,
            "email": f"{name}@example.org",
            "emailVerified": True,
            "firstName": name,
            "lastName": "Test",
            "credentials": [{"type": "password", "value": name, "temporary": False}],
            "groups": list(groups),
        }
        found: str = self.admin("POST", "/users", user)
        self.grant(found, *roles)
        return found

    def grant(self, user: str, *roles: str) -> None:
        """Give roles of the realm to the user with this id."""
        self.admin("POST", f"/users/{user}/role-mappings/realm", self._roles(*roles))

    def withdraw(self, user: str, *roles: str) -> None:
        self.admin("DELETE", f"/users/{user}/role-mappings/realm", self._roles(*roles))

    def _roles(self, *names: str) -> list[Any]:
        return [self.admin("GET", f"/roles/{name}") for name in names]

    def client(self, client_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.admin("GET", f"/clients?clientId={client_id}")[0]
        return found

    def service_account(self, client_id: str) -> str:
        """Return the id of a client's service account."""
        return str(self.admin("GET", f"/clients/{self.client(client_id)['id']}/service-account-user")["id"])

    def tokens(self, user: str, scope: str = "openid", *, client: str = "test-login") -> dict[str, Any]:
        """Log in; return the response of the token endpoint: access_token, id_token, refresh_token, …"""
        login = {"grant_type": "password", "client_id": client, "username": user, "password": user, "scope": scope}
        return self.token_endpoint(**login)

    def token(self, user: str, scope: str = "openid", *, client: str = "test-login") -> str:
        return str(self.tokens(user, scope, client=client)["access_token"])

    def service_token(self, scope: str = "products production", *, client: str = "landcast-script") -> str:
        secret = self.client(client)["secret"]
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": scope}
        return str(self.token_endpoint(**form)["access_token"])

    def token_endpoint(self, **form: str) -> dict[str, Any]:
        answer = self._http.post(f"{self.issuer}/protocol/openid-connect/token", data=form)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def rotate_keys(self, *, keep: bool = True) -> None:
        """Sign with a new key from now on; tokens of the old ones stay valid, unless `keep=False`."""
        old = [one for one in self.admin("GET", "/components?type=org.keycloak.keys.KeyProvider") if _signs(one)]
        priority = max(int(one["config"].get("priority", ["0"])[0]) for one in old) + 100
        self.admin(
            "POST",
            "/components",
            {
                "name": f"rsa-{uuid.uuid4()}",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": [str(priority)], "algorithm": ["RS256"], "keySize": ["2048"]},
            },
        )
        for one in [] if keep else old:
            self.admin("DELETE", f"/components/{one['id']}")

    def publish(self, key: RSAPrivateKey) -> str:
        """Publish a key of the test as a key of the realm with the lowest priority; return its `kid`."""
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        made = self.admin(
            "POST",
            "/components",
            {
                "name": f"rsa-{uuid.uuid4()}",
                "providerId": "rsa",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": ["1"], "algorithm": ["RS256"], "privateKey": [pem]},
            },
        )
        return next(str(one["kid"]) for one in self.admin("GET", "/keys")["keys"] if one["providerId"] == made)

    def public_key(self, kid: str) -> str:
        """Return a public key of the realm as PEM."""
        found = next(one for one in self.admin("GET", "/keys")["keys"] if one["kid"] == kid)
        return f"-----BEGIN PUBLIC KEY-----\n{found['publicKey']}\n-----END PUBLIC KEY-----\n"

    def _ask_admin(self, method: str, path: str, body: Any) -> Any:
        if time.monotonic() > self._admin_until:
            self._log_in()
        answer = self._http.request(method, f"{self.url}{path}", json=body)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        made = answer.headers.get("location", "").rpartition("/")[2]
        return made or (answer.json() if answer.content else None)

    def _log_in(self) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", **self._login}
        answer = self._http.post(f"{self.url}/realms/master/protocol/openid-connect/token", data=form)
        answer.raise_for_status()
        self._http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        self._admin_until = time.monotonic() + 30


class OwnKeycloak(Keycloak):
    """A Keycloak that the tests start, kill and restart; its state is in `folder`."""

    def __init__(self, folder: Path) -> None:
        if not (HOME / "bin" / "kc.sh").exists():
            pytest.fail(f"no Keycloak in {HOME}: run deploy/test-services.sh")
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}", admin="admin", password=uuid.uuid4().hex)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        for path in HOME.iterdir():
            if path.name != "data":
                (folder / path.name).symlink_to(path)
        (folder / "data" / "import").mkdir(parents=True)
        (folder / "data" / "import" / REALM.name).write_bytes(REALM.read_bytes())

    def start(self) -> float:
        """Start it and wait until it answers; return the duration in seconds."""
        begin = time.monotonic()
        command = [str(HOME / "bin" / "kc.sh"), f"-Dkc.home.dir={self._folder}", "start", *_OPTIONS]
        environment = {
            **os.environ,
            "JAVA_OPTS": _JAVA,
            "KC_BOOTSTRAP_ADMIN_USERNAME": self._login["username"],
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self._login["password"],
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--http-host=127.0.0.1", f"--http-port={self.port}"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # kc.sh starts Java as its child: both end by their process group
            )
        self._wait_until_it_answers(self._process)
        return time.monotonic() - begin

    def kill(self) -> None:
        """Kill it, as a lack of memory or a power failure would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._admin_until = 0

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]") -> None:
        until = time.monotonic() + 180
        while time.monotonic() < until and process.poll() is None:
            try:
                if self._http.get(self.issuer).status_code == httpx2.codes.OK:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        log = (self._folder / "log").read_text()[-3000:]
        self.kill()
        pytest.fail(f"Keycloak did not start: {log}")


@contextmanager
def start_keycloak(folder: Path) -> Iterator[Keycloak]:
    """Start one in the folder, or use that of TEST_KEYCLOAK_URL with a realm that is removed at the end."""
    if url := os.environ.get("TEST_KEYCLOAK_URL"):
        yield from _borrow_keycloak(url)
        return
    keycloak = OwnKeycloak(folder)
    try:
        keycloak.start()
        keycloak.prepare()
        yield keycloak
    finally:
        keycloak.kill()
        keycloak.close()


def _borrow_keycloak(url: str) -> Iterator[Keycloak]:
    login = {"admin": os.environ["TEST_KEYCLOAK_ADMIN"], "password": os.environ["TEST_KEYCLOAK_PASSWORD"]}
    keycloak = Keycloak(url.rstrip("/"), realm=f"landcast-{uuid.uuid4().hex[:8]}", **login)
    keycloak.add_realm(_realm())
    try:
        keycloak.prepare()
        yield keycloak
    finally:
        keycloak.remove()


def _realm() -> dict[str, Any]:
    """Return the committed realm for the administration API, which does not substitute variables."""
    text = REALM.read_text().replace("${LANDCAST_SERVER_URL:http://127.0.0.1:5000}", "http://127.0.0.1:5000")
    found: dict[str, Any] = json.loads(text)
    return found


def _signs(component: dict[str, Any]) -> bool:
    return component["providerId"] in {"rsa-generated", "rsa"}
